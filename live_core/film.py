"""A video file written frame by frame, each shown when its clip shows it, with the clip's own sound.

H.264, as ComfyUI's Save Video writes it: it takes the file over without encoding it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .clips import LOST_SOUND, decoded, reading_video
from .files import drafted
from .footage import Footage
from .interrupts import heed
from .notes import note

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet
    from av.container import InputContainer, OutputContainer

# What adds its streams to a file that is begun, and gives their packets, each with the second at which it is heard.
Sound = Callable[["OutputContainer"], Iterator[tuple[float, "Packet"]]]
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def write_film(
    path: Path, frames: Iterable[torch.Tensor], clip: Footage, sound: Sound, crf: float = 18.0, name: str = "video"
) -> None:
    """Write `frames`, (H, W, 3) uint8, one for each of `clip` and shown when it is, with `sound`. `crf`: x264's rate
    factor, 0 (nothing lost) to 51. The file appears whole or not at all (`files.drafted`)."""
    import av

    with drafted(path, name) as draft:
        try:
            _write(draft, frames, clip, sound, crf)
        except av.error.FFmpegError as error:  # FFmpeg's own is no OSError, whatever it is of
            raise OSError(error.errno, error.strerror) from error


def _write(path: Path, frames: Iterable[torch.Tensor], clip: Footage, sound: Sound, crf: float) -> None:
    import av

    width, height = clip.size
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=clip.rate, options={"crf": f"{crf:g}"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = clip.base
        stream.codec_context.max_b_frames = 0  # with them mp4 keeps uneven moments less exactly
        stream.codec_context.thread_count = 1  # or else the same frames are other bytes on another machine
        heard = _Ahead(sound(output))
        lasts = {start: end - start for start, end in pairwise(clip.moments)}

        def mux(packets: Iterable[Packet]) -> None:
            for packet in packets:
                packet.duration = lasts[packet.pts or 0]
                for earlier in heard.until(float(_when(packet))):
                    output.mux(earlier)
                output.mux(packet)

        for moment, picture in zip(clip.moments, frames, strict=False):
            heed()
            frame = av.VideoFrame.from_ndarray(picture.numpy(), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = moment, clip.base
            mux(stream.encode(frame))
        mux(stream.encode(None))
        for rest in heard.until(math.inf):
            output.mux(rest)


class _Ahead:
    """Packets of sound, of which one is held until its time has come."""

    def __init__(self, packets: Iterator[tuple[float, Packet]]):
        self.packets = packets
        self.held = next(packets, None)

    def until(self, second: float) -> Iterator[Packet]:
        while self.held is not None and self.held[0] <= second:
            yield self.held[1]
            self.held = next(self.packets, None)


def _when(timed: Packet | AudioFrame) -> Fraction:
    """The second at which it is heard or shown."""
    return (timed.pts or 0) * (timed.time_base or Fraction(0))


def silent(output: OutputContainer) -> Iterator[tuple[float, Packet]]:
    return iter(())


def of_file(source: Callable[[], str | BytesIO], first: Fraction, end: Fraction | None) -> Sound:
    """All sound tracks of a file from second `first`, which becomes 0, to second `end` or its own: as the file has
    them, packet by packet, or, of kinds that mp4 has no place for, encoded anew, with a note."""

    def sound(output: OutputContainer) -> Iterator[tuple[float, Packet]]:
        import av

        with reading_video():
            container = av.open(source(), "r")
        tracks: dict[AudioStream, Any] = {}
        for stream in container.streams.audio:
            if stream.codec_context is None:
                note("video: it has a sound track that cannot be read, which is left out; save the clip anew as mp4")
            elif stream.codec_context.name in output.supported_codecs:
                tracks[stream] = output.add_stream_from_template(stream)
            else:
                note(f"video: its sound is {stream.codec_context.name}, of which mp4 has none, so it is encoded as AAC")
                tracks[stream] = _Encoder(output, stream)
        return _packets(container, tracks, first, end)

    return sound


def _packets(
    container: InputContainer, tracks: dict[AudioStream, Any], first: Fraction, end: Fraction | None
) -> Iterator[tuple[float, Packet]]:
    with container:
        for packet in container.demux(*tracks) if tracks else ():
            heed()
            track = tracks[packet.stream]
            if isinstance(track, _Encoder):
                yield from track.packets(packet, first, end)
                continue
            if packet.dts is None or packet.pts is None:
                continue
            starts, lasts = _when(packet), (packet.duration or 0) * packet.time_base
            # A file's own beginning may lie before its first frame: what a decoder needs to begin with.
            if (end is not None and starts >= end) or (first > 0 and starts + lasts <= first):
                continue
            shift = round(first / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, track
            yield float(starts - first), packet
        for track in tracks.values():
            if isinstance(track, _Encoder):
                yield from track.rest()


class _Encoder:
    """A sound track decoded and encoded as AAC."""

    def __init__(self, output: OutputContainer, stream: AudioStream):
        from av import AudioResampler

        self.stream = output.add_stream("aac", rate=stream.rate, layout=stream.layout)
        self.resampler = AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        self.lost = False  # whether a part could not be read

    def packets(self, packet: Packet, first: Fraction, end: Fraction | None) -> Iterator[tuple[float, Packet]]:
        frames = decoded(packet)
        self.lost |= frames is None
        for frame in frames or ():
            for part in self.resampler.resample(frame):
                when = _when(part)
                if (end is not None and when >= end) or when + Fraction(part.samples, part.sample_rate) <= first:
                    continue
                part.pts = round((when - first) * part.sample_rate)
                part.time_base = Fraction(1, part.sample_rate)
                yield from self._timed(self.stream.encode(part))

    def rest(self) -> Iterator[tuple[float, Packet]]:
        if self.lost:
            note(LOST_SOUND)
        yield from self._timed(self.stream.encode(None))

    def _timed(self, packets: Iterable[Packet]) -> Iterator[tuple[float, Packet]]:
        for packet in packets:
            yield float(_when(packet)), packet


def of_waves(waves: torch.Tensor, rate: int, lasts: Fraction) -> Sound:
    """Samples (channels, n), -1..1, `rate` a second, as AAC: as many as last so many seconds."""

    def sound(output: OutputContainer) -> Iterator[tuple[float, Packet]]:
        from av import AudioFrame

        layout = LAYOUTS.get(len(waves), "stereo")
        stream = output.add_stream("aac", rate=rate, layout=layout)
        kept = waves[:, : math.ceil(rate * lasts)].float().cpu().contiguous()

        def packets() -> Iterator[tuple[float, Packet]]:
            frame = AudioFrame.from_ndarray(kept.numpy(), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for packet in (*stream.encode(frame), *stream.encode(None)):
                yield float(_when(packet)), packet

        return packets()

    return sound
