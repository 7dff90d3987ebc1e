"""A composite's mask brought nearer to the pictures: to the edges of what changed, and to what changed at all."""

from __future__ import annotations

import torch

from . import LiveError
from .checks import check_frames, check_whole
from .compositing import check_mask, check_pair, grow
from .memory import each_frame
from .notes import note

FLAT = 1e-3  # variance of pictures, 0..1, below which the guided filter sees no edge
EXACT = 8  # pixels of radius up to which it is computed at full size
STRONG = 0.2  # difference, 0..1, that no shade of a background makes: a thing went, or came
OWN = 0.95  # the autoencoder's error is what it errs by at most in this part of a frame's pixels,
LEVEL = 1 / 255  # and at least one level


def follow_edges(mask: torch.Tensor, source: torch.Tensor, edited: torch.Tensor, radius: int) -> torch.Tensor:
    """`mask` (f or 1, H, W), 0..1, with its border moved to the edges of what changed within `radius` pixels: (f, H,
    W), zeros and ones.

    A guided filter (He, Sun and Tang, Guided Image Filtering, 2013; subsampled for a large radius: Fast Guided Filter,
    2015), and of that what is above a half. The guide is how far the clips (f, H, W, 3), 0..1, are apart, by the
    channel in which they are most so: its edges are the old thing's and the new thing's outlines, and a mask must hold
    both. Guided by the source alone, it cuts off what of the new thing stands out. 0 leaves the mask as it is. A radius
    that the picture cannot hold is made smaller, with a note. LiveError for one below 0, and for clips and a mask that
    do not fit.
    """
    from kornia.filters import guided_blur

    check_whole("edge radius", radius, 0)
    check_pair(edited, source)
    check_mask(mask, source)
    most = max(0, min(source.shape[1:3]) // 2 - 1)  # reflected borders must fit in the picture, a subsampled one too
    if radius > most:
        note(
            f"edge radius: {radius} is more than pictures of {source.shape[2]}x{source.shape[1]} hold, so it is {most};"
            " give no more than that"
        )
        radius = most
    if radius == 0:
        return mask

    def followed(mask: torch.Tensor, source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
        guide = (edited.to(source) - source).float().abs().amax(-1)[None, None]
        filtered = guided_blur(
            guide, mask.to(guide)[None, None], 2 * radius + 1, FLAT, subsample=max(1, radius // EXACT)
        )
        return (filtered[0, 0] > 0.5).float()

    return each_frame("Composite's edges", followed, mask.expand(len(source), -1, -1), source, edited)


def cover(mask: torch.Tensor, source: torch.Tensor, edited: torch.Tensor, radius: int) -> torch.Tensor:
    """`mask` (f or 1, H, W), 0..1, and what hangs together with it and changed strongly: (f, H, W), zeros and ones.

    The tips of an old thing that a mask cut off: from where the mask is above a half, up to `radius` steps from pixel
    to pixel, as long as the clips (f, H, W, 3), 0..1, are farther apart than `STRONG` (a geodesic dilation). 0 leaves
    the mask as it is. LiveError for a radius below 0, and for clips and a mask that do not fit.
    """
    check_whole("cover radius", radius, 0)
    check_pair(edited, source)
    check_mask(mask, source)
    if radius == 0:
        return mask

    def covered(mask: torch.Tensor, source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
        here = (mask.to(source) > 0.5).float()
        strong = ((edited.to(source) - source).abs().amax(-1) > STRONG).float()
        for _ in range(radius):
            wider = torch.maximum(here, grow(here, 1) * strong)
            if torch.equal(wider, here):
                break
            here = wider
        return here

    return each_frame("Composite's cover", covered, mask.expand(len(source), -1, -1), source, edited)


def changed(source: torch.Tensor, edited: torch.Tensor, reconstruction: torch.Tensor) -> torch.Tensor:
    """Where the edit changed the clip by more than the autoencoder errs: (f, H, W), 0..1. All pictures are (f, H, W,
    3), 0..1.

    `reconstruction` is the source through the autoencoder, so an edit that left a pixel alone has the reconstruction's
    there, and the source's own pixel is the better one. 0 up to the error that 95 % of a frame's pixels have at most, 1
    from twice that on; of the channel that differs most, the edit's difference blurred by a pixel. One error for a
    frame and not each pixel's own, which is largest on the old thing's outline: that would come back. LiveError where
    the clips do not fit.
    """
    from kornia.filters import gaussian_blur2d

    check_pair(edited, source)
    if reconstruction.shape != source.shape:
        raise LiveError(
            f"reconstruction: shape {tuple(reconstruction.shape)} differs from the source's {tuple(source.shape)}; give"
            " the same clip through the autoencoder"
        )
    check_frames("reconstruction", reconstruction)

    def weight(*pictures: torch.Tensor) -> torch.Tensor:
        before, after, through = (picture.to(pictures[0].device).float() for picture in pictures)
        errors = (through - before).abs().amax(-1).flatten()
        own = errors.kthvalue(1 + round(OWN * (len(errors) - 1))).values.clamp_min(LEVEL)
        difference = (after - through).abs().amax(-1)
        if min(difference.shape) > 3:  # reflected borders must fit in the picture
            difference = gaussian_blur2d(difference[None, None], (7, 7), (1.0, 1.0))[0, 0]
        return (difference / own - 1).clamp(0, 1)

    return each_frame("Composite's changes", weight, source, edited, reconstruction)
