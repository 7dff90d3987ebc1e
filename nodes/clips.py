from comfy_api.v0_0_2 import InputImpl, io

from ..live_core.clips import Fit
from ..live_core.settings import settings_of
from . import host
from .fields import input_of
from .node import Node


class FitClip(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_FitClip",
            display_name="Fit Clip",
            category="LIVE",
            description=(
                "Make a video one that can be edited: its longer side, its number of frames and their spacing, width"
                " and height multiples of 8. In the place of Get Video Components; the sound stays in step."
            ),
            search_aliases=[
                "get video components",
                "resize video",
                "frame load cap",
                "every nth",
                "force rate",
                "crop to multiple",
            ],
            inputs=[
                io.Video.Input("video", tooltip="From Load Video, or Trim Video for a later part."),
                *(input_of(Fit, name, optional=True) for name in settings_of(Fit)),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Audio.Output(display_name="audio"),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def execute(cls, video, **settings) -> io.NodeOutput:
        from ..live_core.clips import chosen, fit_frames, say_what_is_lost

        fit = Fit(**settings)
        clip = (_File if isinstance(video, InputImpl.VideoFromFile) else _Components)(video)
        indices, rate = chosen(clip.times, fit)
        say_what_is_lost(clip.times, len(indices), fit, clip.bits, clip.transfer)
        images = fit_frames(clip.read, indices, clip.size, fit)
        return io.NodeOutput(host.to_images(images), clip.sound(len(indices) / rate), rate)


class _File:
    """A video file, decoded by ComfyUI a part at a time: what Get Video Components gives, at the memory of a part."""

    def __init__(self, video):
        from ..live_core.clips import read_times, reading_video

        with reading_video():
            self.source, self.size, self.bits = video.get_stream_source, video.get_dimensions(), video.get_bit_depth()
            self.times, self.transfer = read_times(self.source(), *video.get_active_trim_window())

    def read(self, first: int, end: int):
        from ..live_core.clips import Heeding, opaque, reading_video

        starts = self.times.starts
        # Between two frames, which a rounded time cannot miss.
        start = (starts[first - 1] + starts[first]) / 2 if first else 0.0
        stop = (starts[end - 1] + starts[end]) / 2 if end < len(starts) else self.times.end
        with reading_video(), Heeding(self.source()) as file:
            parts = InputImpl.VideoFromFile(
                file,
                start_time=self.times.first + start,
                duration=stop - start,
            ).get_components()
        return opaque(parts.images, parts.alpha)

    def sound(self, length: float):
        from ..live_core.clips import read_sound, reading_video

        with reading_video():
            found = read_sound(self.source(), self.times.first, length)
        return found and {"waveform": found[0][None], "sample_rate": found[1]}


class _Components:
    """A video of frames that are in memory already."""

    def __init__(self, video):
        from ..live_core import LiveError
        from ..live_core.clips import Times, opaque, reading_video

        with reading_video():
            self.parts = video.get_components()
        if not len(self.parts.images):
            raise LiveError("video: it has no frames; give a clip with at least one")
        self.images = opaque(self.parts.images, self.parts.alpha)
        self.size, self.bits, self.transfer = (self.images.shape[2], self.images.shape[1]), 8, 0
        self.times = Times.even(float(self.parts.frame_rate), len(self.images))

    def read(self, first: int, end: int):
        return self.images[first:end]

    def sound(self, length: float):
        sound = self.parts.audio
        return sound and {**sound, "waveform": sound["waveform"][..., : round(length * sound["sample_rate"])]}
