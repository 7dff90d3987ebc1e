from comfy_api.v0_0_2 import InputImpl, io

from ..live_core.clips import Fit
from ..live_core.instruct_settings import Instruction
from . import host
from .fields import input_of
from .instruct import asked_inputs, row_of
from .node import Node


class StreamInstruct(Node):
    @classmethod
    def define_schema(cls):
        model, *asked = asked_inputs()
        return io.Schema(
            node_id="LIVE_StreamInstruct",
            display_name="Edit Long Video by Instruction",
            category="LIVE",
            description=(
                "Edit by Instruction for videos of any length: frames are read, edited and written window by window, in"
                " the memory of one window. Sound, rate and the moments of frames stay; a run that was stopped, or"
                " killed, goes on from the last finished window."
            ),
            search_aliases=["long video", "minutes", "stream", "instruct pix2pix", "resume", "variable frame rate"],
            inputs=[
                model,
                io.Video.Input("video", tooltip="From Load Video, of any length, or Trim Video for a part of it."),
                input_of(Fit, "longest_side"),
                *asked,
                io.Video.Input(
                    "mask_video",
                    optional=True,
                    tooltip=(
                        "A mask for each frame as a video, of the clip's size and length: white where the edit may act."
                        " In the place of local's mask, which would lie in memory whole."
                    ),
                ),
                io.Float.Input(
                    "crf",
                    default=18.0,
                    min=0.0,
                    max=51.0,
                    step=1.0,
                    optional=True,
                    tooltip="Quality of the H.264 file, as Save Video has it: lower is better, and larger.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
        )

    @classmethod
    def execute(
        cls,
        model,
        video,
        longest_side,
        instruction,
        method,
        steps,
        seed,
        window,
        local=None,
        conditioning=None,
        engine=None,
        mask_video=None,
        crf=18.0,
        **guidance,
    ) -> io.NodeOutput:
        from dataclasses import replace
        from functools import partial
        from itertools import chain

        import torch

        from ..live_core.engine import Here
        from ..live_core.instruct import texts_of
        from ..live_core.instruct_stream import InstructedWindows, edit_task
        from ..live_core.local import Local, note_empty
        from ..live_core.masking import masks_of
        from ..live_core.streaming import Job, stream

        asked = InstructedWindows(
            Instruction(instruction, steps, seed),
            replace(row_of(method), **guidance),
            local,
            None if conditioning is None else texts_of(conditioning),
        )
        clip, sound = _footage(video, Fit(longest_side, multiple=model.pixels_per_latent))
        masks = None if local is None else masks_of(local.mask, clip)
        if mask_video is not None:
            masks = _masks(mask_video, clip)
            asked = replace(asked, local=local or Local(torch.empty(0)))  # of which only the settings are read
        windows = asked.windows(model, len(clip), window)
        total = steps * len(windows)
        progress = host.Progress(model, total)

        def run(tasks):
            first = next(tasks)  # those before it are done

            def shown(windows: float, latents) -> None:
                progress(round((first.number + windows) * steps), total, latents)

            return (engine or Here()).map(partial(edit_task, asked=asked), model, chain([first], tasks), shown)

        with host.on_device(model):
            job = Job(clip, windows, asked.key(model), masks)
            out = host.temp_folder() / "live" / f"{job.name}-{crf:g}.mp4"
            stream(job, run, host.unfinished_folder() / "videos", out, sound, crf)
        if masks is not None:
            note_empty(sorted(masks.empty), len(clip))
        return io.NodeOutput(InputImpl.VideoFromFile(str(out)))


def _footage(video, fit=None):
    """A VIDEO's frames, and its sound."""
    from fractions import Fraction

    from ..live_core.clips import reading_video
    from ..live_core.film import of_file, of_waves, silent
    from ..live_core.footage import File, Stills

    if isinstance(video, InputImpl.VideoFromFile):
        with reading_video():
            start, duration = video.get_active_trim_window()
        clip = File(video.get_stream_source, start, duration, fit)
        end = Fraction(start + duration) if duration else None
        return clip, of_file(video.get_stream_source, clip.first * clip.base, end)
    with reading_video():
        parts = video.get_components()
    clip = Stills(parts.images, Fraction(round(parts.frame_rate * 1000), 1000), fit)
    if not parts.audio:
        return clip, silent
    lasts = clip.moments[-1] * clip.base
    return clip, of_waves(parts.audio["waveform"][0], int(parts.audio["sample_rate"]), lasts)


def _masks(video, clip):
    from ..live_core import LiveError
    from ..live_core.masking import Masks

    try:
        footage, _ = _footage(video)
    except LiveError as error:
        raise LiveError(f"mask_video: {error}") from error
    return Masks(footage, clip, "mask_video")
