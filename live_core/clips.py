"""A clip of any size, length and rate made one that can be edited: smaller, of fewer frames, its sound in step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from . import LiveError
from .checks import check_frames
from .files import reading
from .interrupts import heed
from .notes import note
from .pictures import cover
from .settings import check_settings, setting

if TYPE_CHECKING:
    from av import Packet

BYTES_AT_ONCE = 2**29  # of a clip's own frames, decoded at once
SLACK = 0.05  # seconds by which a piece of sound may lie beside its moment: a file's clock may be coarse
LOST_SOUND = "video: a part of its sound cannot be read and is silent; save the clip anew as mp4, or fetch it again"
HDR = {16: "PQ", 18: "HLG"}  # transfer functions of ITU-T H.273, Table 3


@dataclass(frozen=True)
class Fit:
    """How large a clip is to be, and which of its frames are taken."""

    longest_side: int = setting(
        512,
        "Pixels of the longer side at most: 512 for Stable Diffusion 1.x, 768 for 2.x. 0: as it is.",
        unit="pixels",
        whole=True,
        low=0,
        page=(0, 16384),
        step=8,
    )
    frames: int = setting(
        24,
        "How many frames at most, from the first on: 8 to 24 are usual. 0: all.",
        unit="frames",
        whole=True,
        low=0,
        page=(0, 100_000),
    )
    every_nth: int = setting(
        1,
        "2 takes every other frame, 3 every third: as many frames then cover more time, less smoothly.",
        unit="frames",
        whole=True,
        low=1,
        page=(1, 1000),
    )
    multiple: int = setting(
        8,
        "Width and height become multiples of it, by scaling and cropping less than one. 8 is the least that works.",
        unit="pixels",
        whole=True,
        low=8,
        page=(8, 256),
        step=8,
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Times:
    """When a clip's frames are shown: `starts`, seconds from its first, in order; `end`, when its last goes; `rate`,
    frames a second, the nominal one or the average; `first`, the second of its file at which the first is shown."""

    starts: tuple[float, ...]
    end: float
    rate: float
    first: float = 0.0

    @property
    def is_even(self) -> bool:
        """Whether each frame comes within half a frame of where an even rate would have it."""
        return all(abs(start * self.rate - i) < 0.5 for i, start in enumerate(self.starts))

    @classmethod
    def even(cls, rate: float, frames: int) -> Times:
        """LiveError for a rate that no clip can have."""
        if not 0 < rate < math.inf:
            raise LiveError(f"video: it has {rate:g} frames a second; give Create Video an fps above 0")
        return cls(tuple(i / rate for i in range(frames)), frames / rate, rate)


def fitted_size(width: int, height: int, fit: Fit) -> tuple[int, int]:
    """(width, height), about as wide to high, that `fit` asks for. Never larger, but for a clip smaller than one
    multiple.

    >>> fitted_size(134, 102, Fit())
    (128, 96)
    >>> fitted_size(3840, 2160, Fit(longest_side=512))
    (512, 288)
    """
    scale = min(1.0, fit.longest_side / max(width, height)) if fit.longest_side else 1.0
    width, height = (max(int(side * scale + 0.5) // fit.multiple, 1) * fit.multiple for side in (width, height))
    return width, height


def chosen(times: Times, fit: Fit) -> tuple[list[int], float]:
    """Which frames are taken, and how many a second they are. Of unevenly spaced frames those on show at even moments
    are.
    """
    count = len(times.starts)
    moments = range(0, count, fit.every_nth)
    if fit.frames:
        moments = moments[: fit.frames]
    if times.is_even:
        return list(moments), times.rate / fit.every_nth
    shown = (
        torch.searchsorted(
            torch.tensor(times.starts, dtype=torch.float64),
            torch.tensor([i / times.rate + 1e-6 for i in moments], dtype=torch.float64),
            right=True,
        )
        - 1
    )
    return shown.clamp(min=0).tolist(), times.rate / fit.every_nth


def fit_frames(
    read: Callable[[int, int], torch.Tensor], indices: list[int], size: tuple[int, int], fit: Fit
) -> torch.Tensor:
    """(f, H, W, 3), 0..1: the frames `indices` of a clip, in order, as `fit` asks. `read(first, end)` gives the clip's
    own of that range, of about `size` (width, height), and is asked for as many as memory bears."""
    at_once = max(BYTES_AT_ONCE // max(size[0] * size[1] * 12, 1), 1)
    pictures: list[torch.Tensor] = []
    missing = 0
    for _, group in groupby(indices, lambda i: i // at_once):
        part = list(group)
        frames = read(part[0], part[-1] + 1)
        if not len(frames):
            raise LiveError(
                f"video: frame {part[0]} and what follows cannot be read; save the clip anew as mp4, and open an"
                " animated picture (WebP, GIF) with Load Image, whose frames go straight to images"
            )
        missing += max(part[-1] + 1 - part[0] - len(frames), 0)
        width, height = fitted_size(frames.shape[2], frames.shape[1], fit)
        for i in part:
            heed()
            frame = frames[min(i - part[0], len(frames) - 1)][None]
            pictures.append(frame.clone() if frame.shape[1:3] == (height, width) else cover(frame, height, width))
    if missing:
        note(
            f"video: {missing} of its first {indices[-1] + 1} frames cannot be read, so those after them come too early"
            " and the last is held; save the clip anew as mp4, or fetch it again"
        )
    return torch.cat(pictures)


def opaque(images: torch.Tensor, alpha: torch.Tensor | None = None) -> torch.Tensor:
    """(f, H, W, 3): a clip's pictures (f, H, W, 3 or 4), 0..1, without how opaque they are, which `alpha` may say too;
    a note where they are not. LiveError for other channels, and for values that are not finite.
    """
    if len(images) and images.shape[-1] not in (3, 4):
        raise LiveError(f"video: {images.shape[-1]} channels; expected 3 (RGB), or 4 with transparency")
    check_frames("video", images)
    if alpha is None and images.shape[-1] == 4:
        alpha = images[..., 3]
    if alpha is not None and alpha.numel() and alpha.min() < 1:
        note(
            "video: it is transparent in places, and what lies under them is shown; put the clip on a background first"
        )
    return images[..., :3]


def say_what_is_lost(times: Times, taken: int, fit: Fit, bits: int = 8, transfer: int = 0) -> None:
    """Notes on what of a clip does not come through."""
    count = len(range(0, len(times.starts), fit.every_nth))
    if taken < count:
        note(
            f"frames: {fit.frames}, so the first {taken} of {count} are taken; 0 takes all, every_nth spreads them over"
            " the clip"
        )
    if count == 1 and len(times.starts) > 1:
        note(
            f"every_nth: {fit.every_nth}, and the clip has {len(times.starts)} frames, so only the first is taken; give"
            " less"
        )
    if not times.is_even:
        gaps = [b - a for a, b in zip(times.starts, (*times.starts[1:], times.end), strict=True)]
        note(
            f"video: its frames are unevenly spaced, {min(gaps) * 1000:.0f} to {max(gaps) * 1000:.0f} ms apart; they"
            f" are shown at an even {times.rate / fit.every_nth:.4g} a second, each moment as it was, so sound stays in"
            " step and motion may be less smooth"
        )
    note_colours(bits, transfer, "8 unless Create Video's bit_depth is set to 10, which not every player shows")


def note_colours(bits: int, transfer: int, kept: str) -> None:
    """Notes on what of a clip's colours does not come through, of which `kept` is how many bits the result has."""
    if bits > 8:
        note(f"video: {bits} bits a colour; the result has {kept}")
    if transfer in HDR:
        note(
            f"video: its colours are HDR ({HDR[transfer]}) and are read as they stand, so they come out flat; save the"
            " clip as SDR first"
        )


# ------------------------------------------------------------------------------------------------------------ files
class Heeding(BytesIO):
    """A file, or one in memory, that asks at each read whether to go on: a decoder that is another's does not. What is
    raised to stop the work comes out at the end of its `with` block, since PyAV lets only an Exception through."""

    def __init__(self, source: str | BytesIO):
        super().__init__()
        self.name = source if isinstance(source, str) else "<none>"  # decoders look at its ending
        self.opens = isinstance(source, str)
        self.bytes: BinaryIO = open(source, "rb") if isinstance(source, str) else source
        self.stop: BaseException | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.stop is not None:
            return b""
        try:
            heed()
        except BaseException as stop:
            self.stop = stop
            raise OSError("it was asked to stop") from stop
        return self.bytes.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.bytes.seek(offset, whence)

    def tell(self) -> int:
        return self.bytes.tell()

    def close(self) -> None:
        if self.opens:
            self.bytes.close()
        super().close()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self.stop is not None:
            raise self.stop


@contextmanager
def reading_video() -> Iterator[None]:
    """LiveError for what a file that is damaged, or no video, makes its readers raise."""
    from av.error import FFmpegError

    with reading("video: the file", "give a file with video in it, or save it anew as mp4"):
        try:
            yield
        except FFmpegError as error:  # of which some are no OSError, such as the end of a file in its header
            raise OSError(error.errno, error.strerror) from error


def decoded(packet: Packet) -> list[Any] | None:
    """The frames of a packet; None of a damaged one, which is passed over, as ComfyUI does."""
    from av.error import FFmpegError

    try:
        return list(packet.decode())
    except FFmpegError:
        return None


def read_times(file: str | BytesIO, start: float = 0.0, duration: float = 0.0) -> tuple[Times, int]:
    """When the frames of a video file are shown, from `start` seconds on, for `duration` or to the end (0), and its
    transfer function's number. Nothing is decoded.

    LiveError for a file without a frame there.
    """
    import av

    shown = {}
    try:
        with av.open(file, "r") as container:
            stream = container.streams.video[0]
            base = stream.time_base
            for packet in container.demux(stream):
                heed()
                when = packet.pts if packet.pts is not None else packet.dts
                if when is not None and base is not None and packet.size and not packet.is_discard:
                    shown[float(when * base)] = float((packet.duration or 0) * base)
            transfer, usual = stream.codec_context.color_trc, float(stream.average_rate or 1)
    except (av.error.FFmpegError, IndexError) as error:
        raise LiveError(f"video: the file has no video that can be read ({error}); save it anew as mp4") from error
    starts = sorted(t for t in shown if t >= start - 1e-6 and (not duration or t < start + duration - 1e-6))
    if not starts:
        raise LiveError(
            f"video: no frame from {start:g} s on; give a clip that has some there; an animated picture is for Load"
            " Image"
        )
    gaps = sorted(b - a for a, b in pairwise(starts))
    end = starts[-1] - starts[0] + (shown[starts[-1]] or (gaps[len(gaps) // 2] if gaps else 1 / usual))
    times = Times(tuple(t - starts[0] for t in starts), end, usual, starts[0])
    return times if times.is_even else replace(times, rate=len(starts) / end), transfer


def read_sound(file: str | BytesIO, first: float, length: float) -> tuple[torch.Tensor, int] | None:
    """(channels, samples), -1..1, and samples a second, of a file's sound from second `first` on, silent where it has
    none: what lasts `length` seconds. None without a sound track."""
    import av

    with av.open(file, "r") as container:
        stream = next((s for s in reversed(container.streams.audio) if s.codec_context is not None), None)
        if stream is None:
            return None
        resampler = av.AudioResampler(format="fltp")
        parts: list[tuple[float | None, torch.Tensor]] = []
        lost = False
        for packet in container.demux(stream):
            heed()
            frames = decoded(packet)
            lost |= frames is None
            for frame in frames or ():
                pieces = [torch.from_numpy(part.to_ndarray()) for part in resampler.resample(frame)]
                parts.append((frame.time, torch.cat(pieces, 1)))  # a resampler's own clock knows no gaps
            if frames and frames[-1].time is not None and frames[-1].time > first + length:
                break
    if lost:
        note(LOST_SOUND)
    if not parts:
        return None
    sound = torch.zeros(len(parts[0][1]), round(length * stream.rate))
    at: int | None = None  # the sample that comes next
    for time, samples in parts:
        due = round((time - first) * stream.rate) if time is not None else at or 0
        if at is None or abs(due - at) > stream.rate * SLACK:
            at = due
        kept = samples[:, max(-at, 0) :][:, : max(sound.shape[1] - max(at, 0), 0)]
        sound[:, max(at, 0) :][:, : kept.shape[1]] = kept
        at += samples.shape[1]
    return sound, stream.rate
