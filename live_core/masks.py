"""Masks that the model finds itself: thresholded cross-attention of words (prompt-to-prompt's local blend)."""
from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from . import LiveError


def word_mask(maps: torch.Tensor, tokens: list[int], map_size: tuple[int, int], size: tuple[int, int], threshold: float, smooth: bool = False,
              grow: int = 1, neighbours: int = 0) -> torch.Tensor:
    """Where the words are: (f, *size), 0 or 1, from `maps` (f, n, L), running sums of cross-attention.

    Sum over the words' tokens, mean over `neighbours` frames on either side, maximum over `grow` cells on every side, resize, divide
    by each frame's maximum, threshold. `smooth` interpolates between map cells; otherwise they are copied, as the reference does.
    No tokens, no mask: all zeros.
    """
    heat = maps[..., tokens].sum(-1).unflatten(-1, map_size)[:, None]
    if neighbours:
        heat = torch.stack([heat[max(0, i - neighbours):i + neighbours + 1].mean(0) for i in range(len(heat))])
    if grow:
        heat = F.max_pool2d(heat, 2 * grow + 1, 1, grow)
    heat = F.interpolate(heat, size, mode="bilinear", align_corners=False) if smooth else F.interpolate(heat, size, mode="nearest")
    heat = heat / heat.amax((-1, -2), keepdim=True).clamp_min(1e-12)
    return (heat[:, 0] > threshold).float()


def blend_mask(maps: Sequence[torch.Tensor], words: Sequence[list[int]], subtract: Sequence[list[int]], map_size: tuple[int, int], size: tuple[int, int],
               threshold: float, subtract_threshold: float, smooth: bool = False, grow: int = 1, neighbours: int = 0) -> torch.Tensor:
    """Local blend's mask (f, *size), 0 or 1: where any prompt's `words` are, less where any prompt's `subtract` words are.

    `maps`, `words` and `subtract` have one entry a prompt. Subtracted words are not grown, as in prompt-to-prompt.
    """
    def anywhere(tokens, threshold, grow):
        return torch.stack([word_mask(m, t, map_size, size, threshold, smooth, grow, neighbours) for m, t in zip(maps, tokens)]).amax(0)
    return anywhere(words, threshold, grow) * (1 - anywhere(subtract, subtract_threshold, 0))


def blend(source: torch.Tensor, edit: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Latents (f, c, h, w): the edit's inside `mask` (f, h, w), the source's outside."""
    return source + mask[:, None] * (edit - source)


def edit_mask(mask: torch.Tensor, frames: int, size: tuple[int, int]) -> torch.Tensor:
    """A given mask (f or 1, H, W), 0..1, as (frames, H, W) of zeros and ones: half and more counts. LiveError when it does not fit."""
    if tuple(mask.shape[-2:]) != tuple(size) or mask.shape[0] not in (1, frames):
        raise LiveError(f"mask: {mask.shape[0]} frames of {mask.shape[-1]}x{mask.shape[-2]}; the clip has {frames} frames of {size[1]}x{size[0]}, "
                        f"so give a mask of that size with 1 or {frames} frames")
    return (mask >= 0.5).float().expand(frames, -1, -1)


def resize_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(f, H, W) to (f, *size) by the pixel nearest each centre, as blended latent diffusion does."""
    return F.interpolate(mask[:, None], size, mode="nearest-exact")[:, 0]
