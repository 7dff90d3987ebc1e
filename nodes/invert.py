import logging

from comfy_api.v0_0_2 import io

from . import host
from .sockets import Inversion, Model


class Invert(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Invert", display_name="Invert Video (DDIM)", category="LIVE",
            description="Find the noise that the clip comes from, by DDIM inversion under its own prompt, and say how the edit gets the clip's attention.",
            search_aliases=["ddim inversion", "unsample", "attention store"],
            inputs=[Model.Input("model", tooltip="The tuned model."),
                    io.Image.Input("images", tooltip="The clip's frames."),
                    io.String.Input("prompt", multiline=True, tooltip="What the clip shows: the prompt it was tuned with."),
                    io.Int.Input("steps", default=50, min=1, max=1000, tooltip="DDIM steps, of the inversion and of the edit."),
                    io.Combo.Input("method", options=["live", "tav-ddim"], default="live", advanced=True, tooltip="The method the model was tuned for."),
                    io.Combo.Input("attention", options=["recompute", "ram", "disk"], default="recompute", advanced=True,
                                   tooltip="recompute: the edit runs the source beside it, nothing is kept. ram, disk: keep the source's queries and keys, so that many edits of one clip are faster.")],
            outputs=[Inversion.Output(display_name="inversion")])

    @classmethod
    def execute(cls, model, images, prompt, steps, method, attention) -> io.NodeOutput:
        from ..live_core.inversion import invert
        from ..live_core.methods import METHODS
        total = steps * (1 if attention == "recompute" else 2)
        folder = host.scratch_folder("live-attention-") if attention == "disk" else None
        with host.on_device(model):
            inversion = invert(model, model.encode_frames(images), prompt, METHODS[method], steps, attention, folder, host.Progress(model, total))
        logging.getLogger(__name__).info("inversion: %s", inversion.describe())
        return io.NodeOutput(inversion)
