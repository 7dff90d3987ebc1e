"""Where an edit by instruction may act: a mask, and how the clip's own latents come in around it (VIA, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .checks import check_mask_fits
from .compositing import soften
from .masks import NEARLY_ALL
from .notes import note
from .settings import check_settings, setting

BOUNDARIES = ("reversed", "rising", "none")
ORIGINS = ("inverted", "noised")


@dataclass(frozen=True)
class Local:
    """`mask` (f or 1, H, W), 0..1, at pixel size.

    With r rising from 1/N to 1 over the N steps and m the mask, the `boundary` "rising" gives the edit the weight m r,
    as the paper's text has it; "reversed" ``1 - (1 - m) r``; "none" m at every step. All end at m. Read literally the
    first is mostly the clip while shapes and colours are made, and then the edit is lost; but without a boundary, its
    appendix says, results look like the clip, so the reverse may be what was meant.
    """

    mask: torch.Tensor
    boundary: str = setting(
        "reversed",
        "reversed: inside the mask all is the edit's from the start, and outside the clip comes in over the steps."
        " rising: inside the edit's weight rises from 0 to 1, as the paper's text has it, which holds to the clip."
        " none: the mask at every step.",
        choices=BOUNDARIES,
    )
    origin: str = setting(
        "inverted",
        "The clip's latents at each step. inverted: by DDIM inversion, as in the paper, one more forward a step."
        " noised: the clip under the edit's own noise, at no cost.",
        choices=ORIGINS,
    )
    grow: int = setting(
        8,
        "Pixels by which the mask grows on every side.",
        unit="pixels",
        whole=True,
        low=0,
        page=(0, 512),
    )
    feather: float = setting(
        4.0,
        "Then it is blurred with a Gaussian of this sigma in pixels.",
        unit="pixels",
        low=0.0,
        page=(0.0, 200.0),
        step=0.5,
    )

    def __post_init__(self) -> None:
        check_settings(self)

    def on_latents(self, frames: int, pixels: tuple[int, int], cells: tuple[int, int]) -> torch.Tensor:
        """(frames, h, w): the mask by the area that it has of each cell. LiveError where it does not fit a clip of that
        many frames and `pixels` (H, W); a note for frames that stay as they are."""
        check_mask_fits(self.mask, frames, pixels)
        note_empty([i for i, frame in enumerate(self.mask) if not frame.any()], len(self.mask))
        soft = self.softened(self.mask, cells)
        if soft.mean() >= NEARLY_ALL:
            note("mask: it covers the whole picture, so nothing of the clip is held; draw a smaller mask, or give none")
        return soft.expand(frames, -1, -1)

    def softened(self, mask: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
        """A mask (f, H, W) grown and blurred, by the area that it has of each of `cells` (h, w): (f, h, w)."""
        return F.interpolate(soften(mask, self.grow, self.feather)[:, None], cells, mode="area")[:, 0]


def note_empty(empty: Sequence[int], frames: int) -> None:
    """A note where of so many `frames` of a mask those of these numbers are `empty`."""
    if len(empty) == frames:
        note("mask: it is empty, so the clip stays as it is; draw a larger mask")
    elif empty:
        which = ", ".join(str(i + 1) for i in empty[:8]) + (" and others" if len(empty) > 8 else "")
        note(f"mask: it is empty in frames {which} of {frames}, which stay as they are")
