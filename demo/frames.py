"""Frames (f, H, W, 3) uint8: as the library's pictures (f, H, W, 3), 0..1, and side by side on a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import torch

MARGIN = 150  # pixels for the names


def to_pictures(frames: np.ndarray) -> torch.Tensor:
    import torch  # two seconds that a client of the server need not wait

    return torch.from_numpy(frames).float() / 255


def to_frames(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().byte().numpy()


def read_video(path: Path) -> np.ndarray:
    """(f, H, W, 3) uint8"""
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def side_by_side(frames: np.ndarray) -> np.ndarray:
    """(H, f W, 3)"""
    return np.concatenate(list(frames), 1)


def contact_sheet(rows: dict[str, np.ndarray]) -> Image.Image:
    """One clip a row, its name to the left; all of one size."""
    strips = np.concatenate([side_by_side(frames) for frames in rows.values()])
    height = len(strips) // len(rows)
    sheet = Image.new("RGB", (MARGIN + strips.shape[1], len(strips)), "white")
    sheet.paste(Image.fromarray(strips), (MARGIN, 0))
    for i, name in enumerate(rows):
        ImageDraw.Draw(sheet).text((4, i * height + height // 2), name, fill="black")
    return sheet
