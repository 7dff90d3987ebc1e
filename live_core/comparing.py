"""Clips and pictures beside each other, to be compared while they play."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_frames
from .interrupts import heed
from .pictures import check_pictures

GAP, ACROSS = 4, 2  # white pixels between cells; cells to a row


def side_by_side(panels: Mapping[str, torch.Tensor], longest: int) -> torch.Tensor:
    """One clip (f, h, w, 3) of all `panels`, two to a row: name -> pictures (f, H, W, 1 to 4) or masks (f, H, W), 0..1,
    on white where they are transparent; one frame stands still beside the others' f. Each fills a cell of the first
    one's proportions as far as it can; h and w are even, as video codecs want them, and at most `longest`.

    LiveError where one is no pictures, is not finite, or has another number of frames.
    """
    clips = {name: panel[..., None] if panel.ndim == 3 else panel for name, panel in panels.items()}
    frames = max(len(clip) for clip in clips.values())
    for name, clip in clips.items():
        check_pictures(name, clip)
        check_frames(name, clip)
        if len(clip) not in (1, frames):
            raise LiveError(f"{name}: {len(clip)} frames, beside a clip of {frames}; give as many, or one")
    columns, rows = min(len(clips), ACROSS), -(-len(clips) // ACROSS)
    height, width = next(iter(clips.values())).shape[1:3]
    scale = min(
        (longest - GAP * (rows - 1)) / (rows * height), (longest - GAP * (columns - 1)) / (columns * width), longest
    )
    cell = max(2, int(height * scale) // 2 * 2), max(2, int(width * scale) // 2 * 2)
    whole = torch.ones(frames, rows * cell[0] + GAP * (rows - 1), columns * cell[1] + GAP * (columns - 1), 3)
    for place, clip in enumerate(clips.values()):
        top, left = ((i * (side + GAP)) for i, side in zip(divmod(place, ACROSS), cell, strict=True))
        for i in range(frames):
            heed()
            whole[i, top : top + cell[0], left : left + cell[1]] = _within(clip[i % len(clip)], cell)
    return whole


def _within(picture: torch.Tensor, cell: tuple[int, int]) -> torch.Tensor:
    """(*cell, 3), 0..1, on white: a picture (H, W, 1 to 4) as large as it fits, in the middle."""
    planes = picture.permute(2, 0, 1)[None].float().cpu()
    scale = min(into / side for into, side in zip(cell, planes.shape[-2:], strict=True))
    height, width = (min(into, max(1, round(side * scale))) for into, side in zip(cell, planes.shape[-2:], strict=True))
    planes = F.interpolate(planes, (height, width), mode="area" if scale < 1 else "bicubic")[0].clamp(0, 1)
    colours = planes[:1] if len(planes) < 3 else planes[:3]
    opaque = planes[-1:] if len(planes) in (2, 4) else torch.ones_like(planes[:1])
    whole = torch.ones(3, *cell)
    top, left = (cell[0] - height) // 2, (cell[1] - width) // 2
    whole[:, top : top + height, left : left + width] = colours * opaque + 1 - opaque
    return whole.permute(1, 2, 0)
