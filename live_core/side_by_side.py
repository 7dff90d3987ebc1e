"""Clips and pictures beside each other, to be compared while they play."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_frames
from .interrupts import heed
from .pictures import check_pictures

GAP = 4  # pixels between panels, white


def side_by_side(panels: Mapping[str, torch.Tensor], height: int, longest: int) -> torch.Tensor:
    """One clip (f, h, w, 3) of all `panels`, left to right: name -> pictures (f, H, W, 1 to 4) or masks (f, H, W),
    0..1, on white where they are transparent; one frame stands still beside the others' f. All are `height` pixels
    high, or less where the whole would be wider than `longest`; h and w are even, as video codecs want them.

    LiveError where one is no pictures, is not finite, or has another number of frames.
    """
    clips = {name: panel[..., None] if panel.ndim == 3 else panel for name, panel in panels.items()}
    frames = max(len(clip) for clip in clips.values())
    for name, clip in clips.items():
        check_pictures(name, clip)
        check_frames(name, clip)
        if len(clip) not in (1, frames):
            raise LiveError(f"{name}: {len(clip)} frames, beside a clip of {frames}; give as many, or one")
    gaps = GAP * (len(clips) - 1)
    proportions = [clip.shape[2] / clip.shape[1] for clip in clips.values()]
    high = max(2, min(height, int((longest - gaps) / sum(proportions))) // 2 * 2)
    widths = [max(2, round(high * proportion / 2) * 2) for proportion in proportions]
    whole = torch.ones(frames, high, sum(widths) + gaps, 3)
    left = 0
    for clip, width in zip(clips.values(), widths, strict=True):
        for i in range(frames):
            heed()
            whole[i, :, left : left + width] = _scaled(clip[i % len(clip)], high, width)
        left += width + GAP
    return whole


def _scaled(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(height, width, 3), 0..1, of a picture (H, W, 1 to 4)."""
    planes = picture.permute(2, 0, 1)[None].float().cpu()
    mode = "area" if planes.shape[-2] > height else "bicubic"
    planes = F.interpolate(planes, (height, width), mode=mode)[0].clamp(0, 1)
    colours = planes[:1] if len(planes) < 3 else planes[:3]
    opaque = planes[-1:] if len(planes) in (2, 4) else torch.ones_like(planes[:1])
    return (colours * opaque + 1 - opaque).expand(3, -1, -1).permute(1, 2, 0)
