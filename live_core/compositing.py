"""Pasting the edit over the source's own pixels through a blurred mask (paper 000, section 3.5)."""
from __future__ import annotations

import torch

from . import LiveError
from .checks import check_frames, check_number, check_whole


def soften(mask: torch.Tensor, dilation: int = 0, blur: float = 0.0) -> torch.Tensor:
    """Grow a mask (f, H, W), 0..1, by `dilation` pixels on every side, then blur it with a Gaussian of `blur` pixels' sigma."""
    import kornia

    check_whole("dilation", dilation, 0)
    check_number("blur", blur, 0)
    check_frames("mask", mask)
    soft = mask.float()[:, None]
    if dilation:
        soft = torch.nn.functional.max_pool2d(soft, 2 * dilation + 1, 1, dilation)
    if blur:
        size = 2 * min(round(3 * blur), min(mask.shape[-2:]) // 2 - 1) + 1          # reflected borders must fit in the picture
        soft = kornia.filters.gaussian_blur2d(soft, (size, size), (blur, blur))
    return soft[:, 0].clamp(0, 1)


def composite(source: torch.Tensor, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``mask * edited + (1 - mask) * source``: pictures (f, H, W, 3) under a mask (f, H, W), or (1, H, W) for all frames."""
    check_pair(edited, source)
    check_mask(mask, source)
    weight = mask.to(source)[..., None]
    return source + weight * (edited.to(source) - source)


def check_mask(mask: torch.Tensor, source: torch.Tensor) -> None:
    """LiveError unless `mask` (f or 1, H, W) is finite and fits the clip `source` (f, H, W, 3)."""
    if mask.shape[-2:] != source.shape[1:3] or mask.shape[0] not in (1, source.shape[0]):
        raise LiveError(f"mask: {mask.shape[0]} frames of {mask.shape[-1]}x{mask.shape[-2]}; the clip has {source.shape[0]} frames of "
                        f"{source.shape[2]}x{source.shape[1]}, so give a mask of that size with 1 or {source.shape[0]} frames")
    check_frames("mask", mask)


def check_pair(edited: torch.Tensor, source: torch.Tensor) -> None:
    """LiveError unless both clips are finite and have the same shape."""
    if edited.shape != source.shape:
        raise LiveError(f"edited images: shape {tuple(edited.shape)} differs from the source's {tuple(source.shape)}; both must be the same clip")
    check_frames("images", source)
    check_frames("edited images", edited)
