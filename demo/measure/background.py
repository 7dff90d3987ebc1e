"""Whether what should not change did, as a viewer sees it; and the one number that asks for the edit first."""

from __future__ import annotations

import numpy as np

from ..cases import Case
from .places import far

LEVELS = 5  # of 255: from here on a flat surface is visibly off


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of the pixels of `where` (f, H, W)."""
    return float(10 * np.log10(255**2 / max(((a.astype(float) - b) ** 2)[where].mean(), 1e-3)))


def far_ssim(case: Case, edited: np.ndarray, source: np.ndarray) -> np.ndarray:
    """(f,) structural similarity (Wang et al. 2004) to the source beyond the halo. Nearer, its windows would look at
    the thing: the true answer itself is then less similar than the unedited clip."""
    import torch

    from live_core import metrics

    from ..frames import to_pictures

    return metrics.ssim(to_pictures(edited), to_pictures(source), torch.from_numpy(far(case))).numpy()


def far_pixels_off(case: Case, edited: np.ndarray, source: np.ndarray) -> float:
    """The share, 0..1, of pixels off by more than 5 of 255 in any channel, beyond a halo of 6 pixels around all that
    may change.
    """
    return float((np.abs(edited.astype(int) - source).max(-1) > LEVELS)[far(case)].mean())


def gated_total(seen: list[dict[int, bool]], similar: np.ndarray) -> float:
    """The background's similarity (f,) where the judge sees the right thing, and 0 where not: mean over things and
    frames.

    Without the gate an unedited clip wins every measure of what should not change (OmniEdit-Bench's penalty by
    accuracy). `seen`: for each thing, frame -> whether the judge sees it.
    """
    return float(np.mean([np.mean([right * similar[i] for i, right in frames.items()]) for frames in seen]))
