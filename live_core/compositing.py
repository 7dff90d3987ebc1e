"""Pasting the edit over the source's own pixels through a blurred mask (LIVE, section 3.5)."""

from __future__ import annotations

import math

import torch

from . import LiveError
from .checks import check_frames, check_number, check_whole
from .memory import each_frame
from .notes import note


def soften(mask: torch.Tensor, dilation: int = 0, blur: float = 0.0) -> torch.Tensor:
    """Grow a mask (f, H, W), 0..1, by `dilation` pixels on every side, then blur it with a Gaussian of `blur` pixels'
    sigma, cut off where its reach leaves the picture. In main memory, frame by frame."""
    import kornia

    check_whole("dilation", dilation, 0)
    check_number("blur", blur, 0)
    check_frames("mask", mask)
    height, width = mask.shape[1:]
    reach = max(0, min(round(3 * blur), min(height, width) // 2 - 1))  # reflected borders must fit in the picture
    if reach < round(3 * blur):
        note(
            f"blur: {blur:g} reaches further than pictures of {width}x{height} hold, so it is cut off after {reach}"
            f" pixels; up to {reach / 3:.3g} is not"
        )

    def softened(frame: torch.Tensor) -> torch.Tensor:
        soft = grow(frame.float(), dilation)
        if reach:
            soft = kornia.filters.gaussian_blur2d(soft[None, None], (2 * reach + 1,) * 2, (blur, blur))[0, 0]
        return soft.clamp(0, 1)

    return each_frame("Composite's mask", softened, mask)


def grow(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    """The maximum of `mask` (H, W) over the square of `pixels` on every side: over columns, then rows, each by windows
    that double in length.
    """
    for axis in (0, 1):
        reach = min(pixels, mask.shape[axis] - 1)
        border = [mask.new_full([reach if i == axis else side for i, side in enumerate(mask.shape)], -math.inf)] * 2
        mask = torch.cat([border[0], mask, border[1]], axis)
        length = 1
        while length < 2 * reach + 1:
            further = min(length, 2 * reach + 1 - length)
            size = mask.shape[axis] - further
            mask = torch.maximum(mask.narrow(axis, 0, size), mask.narrow(axis, further, size))
            length += further
    return mask


def composite(source: torch.Tensor, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``mask * edited + (1 - mask) * source``: pictures (f, H, W, 3) under a mask (f, H, W), or (1, H, W) for all
    frames. In main memory, frame by frame."""
    check_pair(edited, source)
    check_mask(mask, source)

    def pasted(source: torch.Tensor, edited: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return source + mask.to(source)[..., None] * (edited.to(source) - source)

    return each_frame("Composite", pasted, source, edited, mask.expand(len(source), -1, -1))


def check_mask(mask: torch.Tensor, source: torch.Tensor) -> None:
    """LiveError unless `mask` (f or 1, H, W) is finite and fits the clip `source` (f, H, W, 3)."""
    if mask.shape[-2:] != source.shape[1:3] or mask.shape[0] not in (1, source.shape[0]):
        raise LiveError(
            f"mask: {mask.shape[0]} frames of {mask.shape[-1]}x{mask.shape[-2]}; the clip has {source.shape[0]} frames"
            f" of {source.shape[2]}x{source.shape[1]}, so give a mask of that size with 1 or {source.shape[0]} frames"
        )
    check_frames("mask", mask)


def check_pair(edited: torch.Tensor, source: torch.Tensor) -> None:
    """LiveError unless both clips are finite and have the same shape."""
    if edited.shape != source.shape:
        raise LiveError(
            f"edited images: shape {tuple(edited.shape)} differs from the source's {tuple(source.shape)}; both must be"
            " the same clip"
        )
    check_frames("images", source)
    check_frames("edited images", edited)
