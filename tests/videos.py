"""Small videos for the tests, drawn here: any moments, a sound, any pixel format."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def pictures(count: int, width: int = 128, height: int = 96) -> np.ndarray:
    """(f, H, W, 3) uint8, each frame of another grey and a slope: frame i's left edge is 20 * i."""
    slope = np.linspace(0, 40, width, dtype=np.float32)[None, :, None]
    return np.stack([np.broadcast_to(20.0 * (i % 10) + slope, (height, width, 3)) for i in range(count)]).astype(
        np.uint8
    )


def noise(count: int, width: int, height: int) -> np.ndarray:
    """(f, H, W, 3) uint8, which no codec makes small."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def write(
    path: Path,
    frames: np.ndarray,
    rate: float = 8,
    moments: list[float] | None = None,
    tone: float = 0.0,
    options: dict | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """`moments`: the seconds at which frames are shown, in the place of an even `rate`. `tone`: the length in seconds
    of a sound that grows louder from silence (AAC, 48 kHz)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), options={"crf": "1", "bf": "2", **(options or {})}
        )
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, 16000)
        sound = container.add_stream("aac", rate=48000, layout="mono") if tone else None
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = round((i / rate if moments is None else moments[i]) * 16000)
            frame.time_base = Fraction(1, 16000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            time = np.arange(round(tone * 48000)) / 48000
            frame = av.AudioFrame.from_ndarray(
                (np.sin(2 * np.pi * 440 * time) * time / tone)[None].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 48000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


def opened(video):
    """A path, or bytes of a file in memory, for reading."""
    if hasattr(video, "seek"):
        video.seek(0)
    return av.open(video if hasattr(video, "seek") else str(video))


def sound_of(video) -> tuple[np.ndarray, int] | None:
    """(samples,), samples a second, of the first channel; None without sound."""
    with opened(video) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)]), stream.rate


def rate_of(video) -> float:
    with opened(video) as container:
        return float(container.streams.video[0].average_rate)


def frames(video) -> np.ndarray:
    """(f, H, W, 3) uint8"""
    with opened(video) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
