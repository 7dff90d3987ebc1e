"""A clip read frame by frame, each with its moment, in the memory of one.

The pictures of a file are those that ComfyUI makes of it, to the bit: an edit is the same, whether its clip came whole
or frame by frame.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from . import LiveError
from .clips import Fit, decoded, fitted_size, note_colours, opaque, reading_video
from .interrupts import heed
from .notes import note
from .pictures import cover

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.stream import VideoStream

ANEW = "save the clip anew as mp4, or fetch it again"
# Of 8 bits a colour, which ComfyUI reads as they are; others it reads as floats.
IN_BYTES = ("yuvj420p", "yuvj422p", "yuvj444p", "rgb24", "rgba", "pal8")
ALIGNED = 32  # pixels: a row that is no multiple of it is widened before it becomes floats, whose last ones vary else


class Footage(ABC):
    """`shape`: (width, height) as the clip has them, `size` as its pictures do. `moments`: when each of f frames is
    shown, the first at 0, and last when the last one goes, in units of `base` seconds. `rate`: frames a second, nominal
    or on average. `digest`: hex digits that tell its content from another's."""

    shape: tuple[int, int]
    size: tuple[int, int]
    moments: list[int]
    base: Fraction
    rate: Fraction
    digest: str

    def __len__(self) -> int:
        return len(self.moments) - 1

    @abstractmethod
    def pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, torch.Tensor]]:
        """The frames whose numbers are `wanted`, in the order of time, each with its number: (H, W, 3), 0..1."""


class Stills(Footage):
    """Pictures that are in memory already, (f, H, W, 3 or 4), 0..1, at an even rate."""

    def __init__(self, images: torch.Tensor, rate: Fraction, fit: Fit | None = None):
        if not len(images):
            raise LiveError("video: it has no frames; give a clip with at least one")
        if rate <= 0:
            raise LiveError(f"video: it has {float(rate):g} frames a second; give Create Video an fps above 0")
        self.images, self.rate, self.base = opaque(images), rate, 1 / rate
        self.moments = list(range(len(images) + 1))
        self.shape = images.shape[2], images.shape[1]
        self.size = fitted_size(*self.shape, fit) if fit else self.shape
        digest = hashlib.sha256(f"{tuple(images.shape)} {rate} {fit}".encode())
        for image in images:
            heed()
            digest.update(image.float().cpu().contiguous().numpy())
        self.digest = digest.hexdigest()

    def pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, torch.Tensor]]:
        for i in sorted(wanted):
            heed()
            yield i, fitted(self.images[i], self.size)


class File(Footage):
    """A video file from second `start` on, for `duration` seconds or, for 0, to its end. `source` gives its path, or
    its bytes. Its frames are counted by decoding them once: what a header says of them may be untrue.

    LiveError for a file without a frame there, or with frames of several sizes; notes for what is not read of it.
    """

    def __init__(
        self, source: Callable[[], str | BytesIO], start: float = 0.0, duration: float = 0.0, fit: Fit | None = None
    ):
        self.source, self.start, self.duration = source, start, duration
        self.first = 0  # when the first frame is shown, in the file's own time
        self._survey()
        self.size = fitted_size(*self.shape, fit) if fit else self.shape
        self.digest = hashlib.sha256(f"{_digest(source())} {start} {duration} {fit}".encode()).hexdigest()
        self.converted = _Converter()

    def _survey(self) -> None:
        import av

        shown: list[int] = []
        shapes: list[tuple[int, int]] = []
        last = 0
        with reading_video(), av.open(self.source(), "r") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise LiveError("video: the file has no picture; give a file with video in it")
            if stream.codec_context is None:
                raise LiveError(f"video: the file's pictures are of a kind that nothing here reads; {ANEW}")
            self.base = Fraction(stream.time_base or Fraction(1, 90000))
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or 1)
            told, sides = stream.frames, [each.type for each in container.streams]
            usual = max(round(1 / self.rate / self.base), 1)
            for frame in self._decoded(container, stream):
                soonest = shown[-1] + 1 if shown else None
                when = frame.pts if frame.pts is not None else (shown[-1] + usual if shown else 0)
                shown.append(when if soonest is None else max(when, soonest))
                last = frame.duration or 0
                turned = frame.rotation % 180 != 0
                shape = (frame.height, frame.width) if turned else (frame.width, frame.height)
                if shape not in shapes:
                    shapes.append(shape)
            bits = max((each.bits for each in stream.format.components), default=8) if stream.format else 8
            transfer = stream.codec_context.color_trc
        self._check(shown, shapes)
        gaps = sorted(b - a for a, b in pairwise(shown))
        end = shown[-1] + (last or (gaps[len(gaps) // 2] if gaps else usual))
        self.first, self.shape = shown[0], shapes[0]
        self.moments = [when - self.first for when in (*shown, end)]
        note_colours(bits, transfer, "8")
        if told > len(shown) and not (self.start or self.duration):
            note(
                f"video: its header tells of {told} frames and {len(shown)} can be read, so the result ends with these;"
                f" {ANEW}"
            )
        if "subtitle" in sides:
            note("video: its subtitles are not kept; add them to the result with another program")

    def _check(self, shown: list[int], shapes: list[tuple[int, int]]) -> None:
        if not shown:
            raise LiveError(
                f"video: no frame from {self.start:g} s on; give a clip that has some there; an animated picture is for"
                " Load Image"
            )
        if len(shapes) > 1:
            listed = ", ".join(f"{width}x{height}" for width, height in shapes[:4])
            raise LiveError(f"video: its frames have several sizes ({listed}); save the clip anew in one of them")

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """The clip's frames; packets that cannot be decoded are passed over, as ComfyUI does."""
        first = int(self.start / self.base)
        end = int((self.start + self.duration) / self.base) if self.duration else None
        if first:
            container.seek(first, stream=stream)
        for packet in container.demux(stream):
            heed()
            for frame in decoded(packet) or ():
                if end is not None and frame.pts is not None and frame.pts >= end:
                    return
                if frame.pts is None or frame.pts >= first:
                    yield frame

    def pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, torch.Tensor]]:
        import av

        if not wanted:
            return
        last = max(wanted)
        with reading_video(), av.open(self.source(), "r") as container:
            for i, frame in enumerate(self._decoded(container, container.streams.video[0])):
                if i in wanted:
                    yield i, fitted(self.converted(frame), self.size)
                if i == last:
                    return
        raise LiveError(
            f"video: it had {len(self)} frames and now ends before; leave the file alone while it is edited"
        )


def fitted(picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """A picture (H, W, c) of `size` (width, height), scaled and cropped in the middle where it has another."""
    width, height = size
    return picture if picture.shape[:2] == (height, width) else cover(picture[None], height, width)[0]


class _Converter:
    """A decoded frame to (H, W, 3), 0..1, turned as its file says; a note, once, where it is transparent."""

    def __init__(self) -> None:
        self.aligned: tuple[Graph, FilterContext, FilterContext] | None = None
        self.transparent = False

    def __call__(self, frame: VideoFrame) -> torch.Tensor:
        import numpy as np

        alpha = frame.format.name == "pal8" or any(each.is_alpha for each in frame.format.components)
        if frame.format.name in IN_BYTES:
            array = frame.to_ndarray(format="rgba" if alpha else "rgb24").astype(np.float32) / np.float32(255)
        else:
            width, height = frame.width, frame.height
            whole = self._align(frame) if width % ALIGNED else frame
            array = whole.to_ndarray(format="gbrapf32le" if alpha else "gbrpf32le")[:height, :width].astype(np.float32)
        if frame.rotation:
            array = np.rot90(array, k=round(frame.rotation // 90), axes=(0, 1))
        picture = torch.from_numpy(np.ascontiguousarray(array))[None]
        if alpha and not self.transparent and picture[..., 3].min() < 1:
            self.transparent = True
            opaque(picture)  # says so
        return picture[0, ..., :3]

    def _align(self, frame: VideoFrame) -> VideoFrame:
        if self.aligned is None:
            self.aligned = _aligner(frame)
        _, begin, end = self.aligned
        begin.push(frame)
        return cast("VideoFrame", end.pull())


def _aligner(frame: VideoFrame) -> tuple[Graph, FilterContext, FilterContext]:
    """A filter that widens frames like this one to multiples of `ALIGNED`, its edge's pixels going on: the graph, where
    frames go in and where they come out."""
    import av

    width, height = frame.width, frame.height
    wide, high = (-(-side // ALIGNED) * ALIGNED for side in (width, height))
    graph = av.filter.Graph()
    chain = [
        graph.add_buffer(width=width, height=height, format=frame.format, time_base=frame.time_base),
        graph.add("pad", f"{wide}:{high}:0:0"),
        graph.add("fillborders", f"left=0:right={wide - width}:top=0:bottom={high - height}:mode=smear"),
        graph.add("buffersink"),
    ]
    for one, other in pairwise(chain):
        one.link_to(other)
    graph.configure()
    return graph, chain[0], chain[-1]


def _digest(source: str | BytesIO) -> str:
    digest = hashlib.sha256()
    with (
        reading_video(),
        BytesIO(source.getbuffer()) if isinstance(source, BytesIO) else Path(source).open("rb") as file,
    ):
        while part := file.read(2**20):
            heed()
            digest.update(part)
    return digest.hexdigest()
