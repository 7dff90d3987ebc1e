import logging

from comfy_api.v0_0_2 import io

from ..live_core.methods import METHODS
from . import host
from .methods import CUSTOM
from .node import Node
from .sockets import Inversion, MethodRow, Model


class Invert(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Invert",
            display_name="Invert Video (DDIM)",
            category="LIVE",
            description=(
                "Find the noise that the clip comes from, by DDIM inversion, and say how the edit gets the clip's"
                " attention."
            ),
            search_aliases=["ddim inversion", "unsample", "attention store"],
            inputs=[
                Model.Input("model", tooltip="The tuned model."),
                io.Image.Input("images", tooltip="The clip's frames."),
                io.String.Input("prompt", multiline=True, tooltip="What the clip shows: the prompt it was tuned with."),
                io.Int.Input(
                    "steps", default=50, min=1, max=1000, tooltip="DDIM steps, of the inversion and of the edit."
                ),
                io.DynamicCombo.Input(
                    "method",
                    tooltip="The method of the edit; for a tuned model the one it was tuned for.",
                    options=[
                        *(io.DynamicCombo.Option(name, []) for name in METHODS),
                        io.DynamicCombo.Option(
                            CUSTOM,
                            [
                                MethodRow.Input(
                                    "row", tooltip="From Method: Frames and Guidance and the nodes after it."
                                )
                            ],
                        ),
                    ],
                ),
                io.Combo.Input(
                    "attention",
                    options=["recompute", "ram", "disk"],
                    default="recompute",
                    advanced=True,
                    tooltip=(
                        "recompute: the edit runs the source beside it, nothing is kept. ram, disk: keep the source's"
                        " attention, so that many edits of one clip are faster."
                    ),
                ),
                io.Float.Input(
                    "kept_steps",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip=(
                        "With ram and disk: the part of the steps, from the noisiest, whose attention is kept. An"
                        " edit's ratios must not reach beyond it."
                    ),
                ),
            ],
            outputs=[Inversion.Output(display_name="inversion")],
        )

    @classmethod
    def execute(cls, model, images, prompt, steps, method, attention, kept_steps) -> io.NodeOutput:
        from ..live_core.inversion import invert

        row = method["row"] if method["method"] == CUSTOM else METHODS[method["method"]]
        total = steps * (2 if attention != "recompute" and row.source == "reconstruction" else 1)
        folder = host.temp_folder() if attention == "disk" else None
        with host.on_device(model):
            inversion = invert(
                model,
                model.encode_frames(images),
                prompt,
                row,
                steps,
                attention,
                folder,
                host.Progress(model, total),
                kept_steps,
            )
        logging.getLogger(__name__).info("inversion: %s", inversion.describe())
        return io.NodeOutput(inversion)


class NullText(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_NullText",
            display_name="Null-Text Inversion",
            category="LIVE",
            description=(
                "Find, step by step, the unconditional text under which guided sampling gives the clip back. An edit"
                " guided by it keeps more of the clip."
            ),
            search_aliases=["null-text optimization", "unconditional embedding"],
            inputs=[
                Model.Input("model", tooltip="The model that the clip was inverted with."),
                Inversion.Input("inversion", tooltip="From Invert Video."),
                io.Float.Input(
                    "guidance_scale", default=7.5, min=1.01, max=100.0, step=0.1, tooltip="The edit's guidance scale."
                ),
                io.Int.Input(
                    "inner_steps",
                    default=10,
                    min=1,
                    max=500,
                    tooltip="At most so many optimisation steps for each step of the inversion.",
                ),
            ],
            outputs=[Inversion.Output(display_name="inversion")],
        )

    @classmethod
    def execute(cls, model, inversion, guidance_scale, inner_steps) -> io.NodeOutput:
        from ..live_core.null_text import find_null_text

        with host.on_device(model):
            return io.NodeOutput(
                find_null_text(model, inversion, guidance_scale, inner_steps, host.Progress(model, inversion.steps))
            )
