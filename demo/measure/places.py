"""Where a clip may change, where it may not, and what the old thing should have left. All masks are (f, H, W) bool."""

from __future__ import annotations

import numpy as np

from ..cases import Case

SIDE = 128  # of the pictures in whose pixels the measures' lengths are given
HALO = 6  # such pixels around what may change, where a soft edge is forgiven
SEEN = 0.01  # from this part of a pixel on, a thing is there: its soft rim counts


def scale(frames: np.ndarray) -> float:
    """Pixels of these frames (f, H, W, ...) to one pixel of a picture of 128."""
    return min(frames.shape[1:3]) / SIDE


def pixels(frames: np.ndarray, length: float) -> int:
    """`length` pixels of a picture of 128, in whole pixels of these frames."""
    return round(length * scale(frames))


def block_means(picture: np.ndarray, side: int) -> np.ndarray:
    """(..., H, W, 3) to means over whole blocks of side x side pixels, float."""
    height, width = (length // side for length in picture.shape[-3:-1])
    blocks = picture[..., : side * height, : side * width, :].reshape(*picture.shape[:-3], height, side, width, side, 3)
    return blocks.astype(float).mean((-4, -2))


def place(case: Case, which: int) -> np.ndarray:
    """Where the true answer or the source has thing `which`: all that should change for it."""
    return np.maximum(case.truth.masks(which), case.clip.masks(which)) >= SEEN


def touched(case: Case) -> np.ndarray:
    """Where the true answer or the source has one of the swapped things. Nothing else may change."""
    return np.any([place(case, k) for k in range(len(case.swaps))], 0)


def left(case: Case, which: int) -> np.ndarray:
    """What thing `which` should have left: the old thing was there, soft rim included, and the new one is not."""
    return (case.clip.masks(which) >= SEEN) & (case.truth.masks(which) < SEEN)


def far(case: Case) -> np.ndarray:
    """Farther than `HALO` from all that may change."""
    from scipy import ndimage

    near = touched(case)
    reach = pixels(near, HALO)
    return np.stack([ndimage.distance_transform_edt(~mask) > reach if mask.any() else ~mask for mask in near])
