from comfy_api.v0_0_2 import io

from ..live_core.instruct_settings import Instruction, Search
from . import host
from .fields import input_of
from .node import Node
from .sockets import Model


class ChangeMask(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_ChangeMask",
            display_name="Mask by Instruction",
            category="LIVE",
            description=(
                "Find where an instruction would change a clip: where an InstructPix2Pix model sees it differently with"
                " the instruction than without."
            ),
            search_aliases=["relevance map", "DiffEdit", "automatic mask", "change map"],
            inputs=[
                Model.Input("model", tooltip="An InstructPix2Pix model."),
                io.Image.Input("images", tooltip="The clip's frames."),
                input_of(Instruction, "text", "instruction", default=None),
                input_of(Search, "threshold"),
                input_of(Search, "noise_level"),
                input_of(Search, "draws"),
                input_of(
                    Instruction,
                    "seed",
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    advanced=True,
                    tooltip="Draws the noises.",
                ),
            ],
            outputs=[io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(cls, model, images, instruction, seed, **search) -> io.NodeOutput:
        from ..live_core.bases import INSTRUCT
        from ..live_core.change_map import change_mask

        model.check_base(INSTRUCT, "Mask by Instruction")
        with host.on_device(model):
            mask = change_mask(
                model,
                model.encode_frames(images),
                Instruction(instruction, seed=seed),
                Search(**search),
                host.Progress(model, len(images)),
            )
        return io.NodeOutput(host.to_images(mask))
