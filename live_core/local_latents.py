"""Local latent adaptation (VIA, section 4.1, eq. 6): outside a mask an edit keeps the clip's own latents, and inside it
the two are mixed, more or less as the steps go on.

The paper does not say what becomes of frames whose mask is empty, nor by which network the clip is inverted. Here such
frames stay the clip's, with a note, and the inversion is the edit's own U-Net's, under the picture and no words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_choice, check_frames
from .compositing import soften
from .masks import blend
from .notes import note
from .steering import Part, Step

BOUNDARIES = ("rising", "reversed", "none")
ORIGINS = ("inverted", "noised")


@dataclass(frozen=True)
class Local:
    """`mask` (f or 1, H, W), 0..1, at pixel size: it is grown by `grow` pixels and blurred with a sigma of `feather`.

    `boundary`, with r rising from 1/N to 1 over the N steps and m the mask: "rising" gives the edit the weight m r, as
    the paper's text has it; "reversed" ``1 - (1 - m) r``, so that inside all is the edit's from the first step on, and
    outside the clip comes in; "none" m at every step. All end at m. Read literally the first is mostly the clip while
    shapes and colours are made, and then the edit is lost; but without a boundary, its appendix says, results look like
    the clip, so the reverse may be what was meant. `origin`: the clip's latents at each step, "inverted" by DDIM (the
    paper) or "noised" with the noise that the edit starts from.
    """

    mask: torch.Tensor
    boundary: str = "reversed"
    origin: str = "inverted"
    grow: int = 0
    feather: float = 0.0

    def __post_init__(self) -> None:
        check_choice("boundary", self.boundary, BOUNDARIES)
        check_choice("origin", self.origin, ORIGINS)

    def on_latents(self, frames: int, pixels: tuple[int, int], cells: tuple[int, int]) -> torch.Tensor:
        """(frames, h, w): the mask by the area that it has of each cell. LiveError where it does not fit a clip of that
        many frames and `pixels` (H, W); a note for frames that stay as they are."""
        if tuple(self.mask.shape[-2:]) != pixels or self.mask.shape[0] not in (1, frames):
            raise LiveError(
                f"mask: {self.mask.shape[0]} frames of {self.mask.shape[-1]}x{self.mask.shape[-2]}; the clip has"
                f" {frames} frames of {pixels[1]}x{pixels[0]}, so give a mask of that size with 1 or {frames} frames"
            )
        check_frames("mask", self.mask)
        soft = soften(self.mask, self.grow, self.feather)
        _note_empty(soft)
        return F.interpolate(soft[:, None], cells, mode="area")[:, 0].expand(frames, -1, -1)


def _note_empty(mask: torch.Tensor) -> None:
    empty = [i + 1 for i, frame in enumerate(mask) if not frame.any()]
    if len(empty) == len(mask):
        note("mask: it is empty, so the clip stays as it is; draw a larger mask")
    elif empty:
        which = ", ".join(map(str, empty[:8])) + (" and others" if len(empty) > 8 else "")
        note(f"mask: it is empty in frames {which} of {len(mask)}, which stay as they are")


class AdaptLocally(Part):
    """`mask` (f, h, w); `clip_at` gives the clip's latents (f, c, h, w) that a step starts from, the clip's own at the
    number of steps."""

    def __init__(self, mask: torch.Tensor, boundary: str, clip_at: Callable[[int], torch.Tensor]):
        self.mask, self.boundary, self.clip_at = mask, boundary, clip_at

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        return blend(self.clip_at(step.index + 1).to(x), x, weight_of_edit(self.mask.to(x), self.boundary, step))


def weight_of_edit(mask: torch.Tensor, boundary: str, step: Step) -> torch.Tensor:
    """(f, h, w): how much of the latents is the edit's after `step` (`Local`)."""
    r = (step.index + 1) / step.total
    return {"rising": mask * r, "reversed": 1 - (1 - mask) * r, "none": mask}[boundary]
