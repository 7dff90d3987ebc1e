from comfy_api.v0_0_2 import io

from ..live_core.local import Local
from .fields import input_of
from .node import Node
from .sockets import LocalLatents


class AdaptLatents(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_LocalLatents",
            display_name="Local Latent Adaptation",
            category="LIVE",
            description=(
                "Where an edit by instruction may act: outside the mask the clip's own latents stay, inside the edit"
                " comes in step by step (VIA)."
            ),
            search_aliases=["local edit", "progressive boundary integration", "masked edit", "VIA"],
            inputs=[
                io.Mask.Input(
                    "mask", tooltip="White where the edit may act: one frame, or one for each of the clip's."
                ),
                input_of(Local, "boundary"),
                input_of(Local, "origin"),
                input_of(Local, "grow"),
                input_of(Local, "feather"),
            ],
            outputs=[LocalLatents.Output(display_name="local")],
        )

    @classmethod
    def execute(cls, mask, **settings) -> io.NodeOutput:
        return io.NodeOutput(Local(mask, **settings))
