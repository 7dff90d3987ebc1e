"""Local latent adaptation (VIA, section 4.1, eq. 6): outside a mask an edit keeps the clip's own latents, and inside it
the two are mixed, more or less as the steps go on.

The paper does not say what becomes of frames whose mask is empty, nor by which network the clip is inverted. Here such
frames stay the clip's, with a note, and the inversion is the edit's own U-Net's, under the picture and no words.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from .masks import blend
from .steering import Part, Step


class AdaptLocally(Part):
    """`mask` (f, h, w), where the latents are; `clip_at` gives the clip's latents (f, c, h, w) that a step starts from,
    the clip's own at the number of steps."""

    def __init__(self, mask: torch.Tensor, boundary: str, clip_at: Callable[[int], torch.Tensor]):
        self.mask, self.boundary, self.clip_at = mask, boundary, clip_at

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        return blend(self.clip_at(step.index + 1).to(x), x, weight_of_edit(self.mask, self.boundary, step))


def weight_of_edit(mask: torch.Tensor, boundary: str, step: Step) -> torch.Tensor:
    """(f, h, w): how much of the latents is the edit's after `step` (`local.Local`)."""
    r = (step.index + 1) / step.total
    return {"rising": mask * r, "reversed": 1 - (1 - mask) * r, "none": mask}[boundary]
