from comfy_api.v0_0_2 import io

from ..live_core.tune_settings import TuneSettings
from . import host
from .fields import input_of, memory_input
from .graph import prompts_after
from .node import Node
from .sockets import Concept, MethodRow, Model

EDITS = ("LIVE_Edit", "LIVE_EditLong", "LIVE_StreamEdit")  # nodes that edit by a prompt


class Tune(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Tune",
            display_name="Tune Video",
            category="LIVE",
            description=(
                "Learn one clip and one photo by turns: latent prompt, attention queries and temporal attention from"
                " the clip; the placeholder's embedding from the photo."
            ),
            search_aliases=["one-shot tuning", "tune-a-video", "latent prompt", "textual inversion"],
            inputs=[
                Model.Input("model", tooltip="From Load LIVE Model."),
                io.Image.Input("images", tooltip="The clip's frames."),
                Concept.Input(
                    "concept",
                    optional=True,
                    tooltip=(
                        "From Bind Photo to Placeholder: one photo, or several bound one after another. Without one set"
                        " photo steps to 0."
                    ),
                ),
                io.String.Input(
                    "prompt", multiline=True, tooltip='What the clip shows, such as "a man skiing in the snow".'
                ),
                input_of(TuneSettings, "clip_steps"),
                input_of(TuneSettings, "photo_steps"),
                input_of(TuneSettings, "seed", control_after_generate=io.ControlAfterGenerate.fixed),
                io.Combo.Input(
                    "method",
                    options=["live", "tav-ddim", "video-p2p"],
                    default="live",
                    advanced=True,
                    tooltip=(
                        "live: with a latent prompt. tav-ddim: Tune-A-Video, without; for fatezero-shape too."
                        " video-p2p: the same with frames tied to the first alone."
                    ),
                ),
                input_of(TuneSettings, "clip_rate"),
                input_of(TuneSettings, "latent_prompt_rate"),
                input_of(TuneSettings, "photo_rate"),
                input_of(TuneSettings, "temporal_in_photo_steps"),
                input_of(TuneSettings, "photo_latent_prompt", optional=True),
                input_of(TuneSettings, "photo_loss", optional=True),
                MethodRow.Input(
                    "row",
                    optional=True,
                    tooltip=(
                        "A method of your own, from Method: Frames and Guidance and the nodes after it, in place of"
                        " method: what its frames see is then the same in tuning, inversion and edit."
                    ),
                ),
                input_of(TuneSettings, "window"),
                memory_input("checkpointing", "in parts"),
                input_of(TuneSettings, "stop_when_learned"),
            ],
            outputs=[Model.Output(display_name="tuned model")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model,
        images,
        prompt,
        clip_steps,
        photo_steps,
        seed,
        method,
        clip_rate,
        latent_prompt_rate,
        photo_rate,
        temporal_in_photo_steps,
        photo_latent_prompt=False,
        photo_loss="log",
        row=None,
        concept=(),
        window=0,
        memory="auto",
        stop_when_learned=False,
    ) -> io.NodeOutput:
        import torch

        from ..live_core.change import check_edit_prompt
        from ..live_core.methods import METHODS
        from ..live_core.tuning import tune

        # What will stop an edit is said before the tuning it needs.
        for later in prompts_after(cls.hidden.prompt, cls.hidden.unique_id, EDITS):
            check_edit_prompt(model, model.read(later, concept), concept)
        row = METHODS[method] if row is None else row
        settings = TuneSettings(
            clip_steps,
            photo_steps,
            clip_rate,
            latent_prompt_rate,
            photo_rate,
            row.latent_prompt,
            temporal_in_photo_steps,
            photo_latent_prompt=photo_latent_prompt,
            photo_loss=photo_loss,
            frame_plan=row.frame_plan,
            seed=seed,
            window=window,
            stop_when_learned=stop_when_learned,
        )
        with host.on_device(model, memory):
            losses: tuple[list[float], list[float]] = ([], [])
            curves = {"clip": losses[0], "photo": losses[1]}
            clip = torch.cat([model.encode_frames(part) for part in images.split(window or len(images))])
            tuning = tune(
                model,
                clip,
                prompt,
                concept,
                settings,
                host.Progress(model, clip_steps + photo_steps, clip, curves=curves),
                host.unfinished_folder(),
                losses,
            )
            return io.NodeOutput(model.with_tuning(tuning))
