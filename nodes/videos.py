"""What nodes that edit a video from file to file share: their inputs, and how windows' edits become a file."""

from comfy_api.v0_0_2 import InputImpl, io

from ..live_core.clips import Fit
from . import host
from .fields import input_of


def video_inputs() -> list[io.Input]:
    return [
        io.Video.Input("video", tooltip="From Load Video, of any length, or Trim Video for a part of it."),
        input_of(Fit, "longest_side"),
    ]


def file_inputs(in_the_place_of: str) -> list[io.Input]:
    """Where the video may be edited, a file too, and how the result is encoded."""
    return [
        io.Video.Input(
            "mask_video",
            optional=True,
            tooltip=(
                "A mask for each frame as a video, of the clip's size and length: white where the edit may act."
                f" In the place of {in_the_place_of}, which would lie in memory whole."
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
    ]


def edited(model, job, work, steps: int, sound, engine, crf: float):
    """The VIDEO of a `streaming.Job`, whose windows `work` of `live_core` edits in so many `steps` each."""
    from itertools import chain

    from ..live_core.engine import Here
    from ..live_core.local import note_empty
    from ..live_core.streaming import stream

    total = steps * len(job.windows)
    progress = host.Progress(model, total)

    def run(tasks):
        first = next(tasks)  # those before it are done

        def shown(windows: float, seen) -> None:
            progress(round((first.number + windows) * steps), total, seen)

        return (engine or Here()).map(work, model, chain([first], tasks), shown)

    out = host.temp_folder() / "live" / f"{job.name}-{crf:g}.mp4"
    stream(job, run, host.unfinished_folder() / "videos", out, sound, crf)
    if job.masks is not None:
        note_empty(sorted(job.masks.empty), len(job.clip))
    return InputImpl.VideoFromFile(str(out))


def footage(video, fit: Fit | None = None):
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


def masks(clip, mask, video):
    """Where each frame of a clip may be edited: as a mask `video` has it, else as a MASK has it; None for neither."""
    from ..live_core import LiveError
    from ..live_core.masking import Masks, masks_of

    if video is None:
        return None if mask is None else masks_of(mask, clip)
    try:
        pictures, _ = footage(video)
    except LiveError as error:
        raise LiveError(f"mask_video: {error}") from error
    return Masks(pictures, clip, "mask_video")
