"""Masks that the model finds itself: thresholded cross-attention of words (prompt-to-prompt's local blend)."""
from __future__ import annotations

import torch
import torch.nn.functional as F


def word_mask(maps: torch.Tensor, tokens: list[int], map_size: tuple[int, int], size: tuple[int, int], threshold: float, smooth: bool = False) -> torch.Tensor:
    """Where the words are: (f, *size), 0 or 1, from `maps` (f, n, L), running sums of cross-attention.

    Sum over the words' tokens, 3x3 maximum, resize, divide by each frame's maximum, threshold. `smooth` interpolates between
    map cells; otherwise they are copied, as the reference does. No tokens, no mask: all zeros.
    """
    heat = maps[..., tokens].sum(-1).unflatten(-1, map_size)[:, None]
    heat = F.max_pool2d(heat, 3, 1, 1)
    heat = F.interpolate(heat, size, mode="bilinear", align_corners=False) if smooth else F.interpolate(heat, size, mode="nearest")
    heat = heat / heat.amax((-1, -2), keepdim=True).clamp_min(1e-12)
    return (heat[:, 0] > threshold).float()
