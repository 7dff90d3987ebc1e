from comfy_api.v0_0_2 import io

from ..live_core.adapt_settings import AdaptSettings, RootSettings
from ..live_core.instruct_settings import INSTRUCT_PIX2PIX, Instruction
from . import host
from .fields import input_of
from .node import Node
from .sockets import Model


class AdaptToEdit(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_AdaptToEdit",
            display_name="Adapt to Edit",
            category="LIVE",
            description=(
                "Edit a few frames under several seeds, choose the best, and let the model learn it, so that every"
                " frame becomes what that one became (VIA). The sheet shows all of them with their scores."
            ),
            search_aliases=["test-time adaptation", "VIA", "root pair", "consistent edit", "fine-tune edit"],
            inputs=[
                Model.Input("model", tooltip="An InstructPix2Pix model, from Load LIVE Model."),
                io.Image.Input("images", tooltip="The clip's frames."),
                input_of(Instruction, "text", "instruction", default=None),
                input_of(RootSettings, "candidates"),
                input_of(RootSettings, "frames"),
                input_of(RootSettings, "choice"),
                input_of(AdaptSettings, "steps"),
                input_of(AdaptSettings, "learning_rate"),
                input_of(AdaptSettings, "pairs"),
                input_of(INSTRUCT_PIX2PIX, "guidance_scale"),
                input_of(INSTRUCT_PIX2PIX, "image_guidance_scale"),
                input_of(Instruction, "steps", "edit_steps"),
                input_of(
                    Instruction,
                    "seed",
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="The first candidate's; the next ones count on from it. It also draws how pairs are moved.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Where the edit may act, for the scores alone: what changes elsewhere counts as damage. Without"
                        " one the model's own change map."
                    ),
                ),
            ],
            outputs=[Model.Output(display_name="adapted model"), io.Image.Output(display_name="sheet")],
        )

    @classmethod
    def execute(
        cls,
        model,
        images,
        instruction,
        candidates,
        frames,
        choice,
        edit_steps,
        seed,
        guidance_scale,
        image_guidance_scale,
        mask=None,
        **learning,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..live_core.adaptation import adapt
        from ..live_core.root_pairs import chosen, root_pairs, sheet

        asked = Instruction(instruction, edit_steps, seed)
        roots = RootSettings(candidates, frames, choice)
        method = replace(INSTRUCT_PIX2PIX, guidance_scale=guidance_scale, image_guidance_scale=image_guidance_scale)
        settings = AdaptSettings(seed=seed, **learning)
        with host.on_device(model):
            progress = host.Progress(model, candidates * edit_steps)
            pairs = root_pairs(model, images, asked, roots, method, mask, progress)
            root = pairs[chosen(pairs, choice)]
            losses: tuple[list[float], list[float]] = ([], [])
            progress = host.Progress(model, settings.steps, curves={"edit": losses[0]})
            tuning = adapt(model, root.before, root.after, asked, settings, progress, host.unfinished_folder(), losses)
            return io.NodeOutput(model.with_tuning(tuning), host.to_images(sheet(pairs, choice)))
