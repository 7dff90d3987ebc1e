"""Where a thing is drawn, and whether frames follow each other."""

from __future__ import annotations

import numpy as np

from ..cases import Case
from ..world import centroid
from .places import block_means, pixels, place, scale

VISIBLE = 30  # levels of 255 by which a thing is told from what is behind it


def motion_error(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean distance, in pixels of a picture of 128, between thing `which`'s true centre and that of what differs from
    the clip without it (largest connected part, other swapped things' places left out). A frame in which nothing
    differs counts as half the picture's width.
    """
    from scipy import ndimage

    empty, centres, out = case.truth.without(which).frames().astype(float), case.truth.centres(which), []
    others = np.zeros(edited.shape[:3], bool)
    for k in range(len(case.swaps)):
        if k != which:
            others |= place(case, k)
    for i in np.flatnonzero(case.truth.masks(which).max((1, 2)) > 0.5):
        labels, count = ndimage.label((np.abs(edited[i] - empty[i]).max(-1) > VISIBLE) & ~others[i])
        if count == 0:
            out.append(edited.shape[2] / 2)
            continue
        sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
        out.append(np.linalg.norm(centroid((labels == 1 + int(np.argmax(sizes))).astype(float)) - centres[i]))
    return float(np.mean(out)) / scale(edited)


def temporal_consistency(frames: np.ndarray) -> float:
    """Mean cosine of adjacent frames' means over blocks of 8x8 pixels of a picture of 128, each frame less its own
    mean.
    """
    small = block_means(frames, pixels(frames, 8)).reshape(len(frames), -1)
    small -= small.mean(1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return float((small[1:] * small[:-1]).sum(1).mean()) if len(frames) > 1 else 1.0
