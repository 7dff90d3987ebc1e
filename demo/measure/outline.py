"""Whether the new thing keeps its looks from frame to frame, and how sharp its outline is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..cases import Case
from ..world import Clip
from .places import SEEN, scale

GRID, REACH = 64, 1.5  # cells a side of the cut-out, and its half side in radii
MARGIN = 0.15  # radii around the thing that belong to the cut-out: an outline that wanders shows there too
ACROSS = 4  # pixels of a picture of 128 on either side of an outline


def steadiness(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean deviation over frames, 0..1, of thing `which` cut out along its true track: position, size and angle taken
    out.

    What is cut out is the difference to the true answer, so that within the thing, which there is the same in every
    frame, it is the edit's own deviation, and around it the passing background does not count. Parts out of the picture
    or behind another thing do not count. 0 for the true answer, for one frame, and for any error that stays the same.
    """
    wrong = edited.astype(float) - case.truth.frames()
    return deviation(wrong, case.truth, which, _others(case, which))


def deviation(wrong: np.ndarray, clip: Clip, which: int, others: np.ndarray | None = None) -> float:
    """The same of any difference `wrong` (f, H, W, 3), in levels of 255, along the track of thing `which` of `clip`.
    `others` (f, H, W), 0..1: what stands in front or beside and does not count."""
    from scipy import ndimage

    alone = _alone(clip, which)
    others = np.zeros_like(alone) if others is None else others
    cut, weight, inside = [], [], np.zeros((GRID, GRID), bool)
    for i in range(len(wrong)):
        *cells, visible = _cells(clip, which, i)
        sample = partial(ndimage.map_coordinates, coordinates=cells, order=1, mode="nearest")
        cut.append(np.stack([sample(wrong[i, ..., c] / 255) for c in range(3)], -1))
        weight.append(visible & (sample(others[i]) < SEEN))
        inside |= visible & (sample(alone[i]) > 0.5)
    region = ndimage.binary_dilation(inside, iterations=round(MARGIN * GRID / (2 * REACH)))
    return around_mean(np.stack(cut), np.stack(weight) & region)


def around_mean(values: np.ndarray, counts: np.ndarray) -> float:
    """Mean deviation over frames of values (f, ..., 3) from their mean, of those where `counts` (f, ...) is true."""
    weight = counts[..., None].astype(float)
    seen = weight.sum(0)
    weight = weight * (seen > 1)  # what is seen once cannot deviate
    if not weight.any():
        return 0.0
    mean = (weight * values).sum(0) / np.maximum(seen, 1)
    return float((weight * np.abs(values - mean)).sum() / (3 * weight.sum()))


def edge(case: Case, edited: np.ndarray, which: int) -> float:
    """How sharp the outline of thing `which` is, 0..1: across the true outline, the steepest step over one pixel,
    divided by all that changes there; the mean over the outline, weighted by contrast. About 1 / width of the edge in
    pixels.

    The width does not depend on contrast, so a wrong colour is no blunt edge; but a contrast below half of the true one
    counts as that half, so that nothing at all has no sharp edge. Profiles that leave the picture or meet another thing
    do not count. 0 for a thing never in sight.
    """
    from scipy import ndimage

    truth = case.truth.frames().astype(float)
    alone = _alone(case.truth, which)
    others = _others(case, which)
    s = scale(edited)
    offsets = np.arange(-2 * ACROSS, 2 * ACROSS + 1) * s / 2  # half pixels
    steps, ranges = 0.0, 0.0
    for i in range(len(edited)):
        inside = alone[i] > 0.5
        y, x = np.nonzero(inside & ~ndimage.binary_erosion(inside, border_value=1))
        soft = ndimage.gaussian_filter(alone[i].astype(float), 1.5 * s)
        normal = np.stack([ndimage.sobel(soft, axis)[y, x] for axis in (0, 1)])
        normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-9)
        rows, columns = (p[:, None] + n[:, None] * offsets for p, n in zip((y, x), normal, strict=True))
        sample = partial(ndimage.map_coordinates, coordinates=(rows, columns), order=1, mode="nearest")
        height, width = edited.shape[1:3]
        clear = (
            (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1) & (sample(others[i]) < SEEN)
        ).all(1)
        ours, true = (
            np.stack([sample(picture[..., c].astype(float)) for c in range(3)], -1)[clear]
            for picture in (edited[i], truth[i])
        )
        steps += np.linalg.norm(ours[:, 2:] - ours[:, :-2], axis=-1).max(1, initial=0).sum()
        ranges += np.maximum(_range(ours), _range(true) / 2).sum()
    return float(steps / ranges) if ranges else 0.0


def _range(profiles: np.ndarray) -> np.ndarray:
    """(n,): the largest difference between any two points of each profile (n, points, 3)."""
    return np.linalg.norm(profiles[:, :, None] - profiles[:, None], axis=-1).max((1, 2), initial=0)


def _alone(clip: Clip, which: int) -> np.ndarray:
    """(f, H, W) 0..1: a thing with nothing in front of it."""
    return replace(clip, things=(clip.things[which],), tracks=(clip.tracks[which],)).masks(0)


def _others(case: Case, which: int) -> np.ndarray:
    """(f, H, W) 0..1: where the true answer or the source has any other thing."""
    masks = [clip.masks(k) for clip in (case.truth, case.clip) for k in range(len(clip.things)) if k != which]
    return np.max(masks, 0) if masks else np.zeros((len(case.clip), case.clip.height, case.clip.width), np.float32)


def _cells(clip: Clip, which: int, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of the picture where the cut-out's cells lie, and which of them are in it; each (GRID, GRID)."""
    track = clip.tracks[which]
    v, u = np.mgrid[-REACH : REACH : GRID * 1j, -REACH : REACH : GRID * 1j] * track.radius[frame]
    cos, sin = np.cos(track.angle[frame]), np.sin(track.angle[frame])
    # A pixel's centre is half a pixel in.
    columns = track.x[frame] + cos * u - sin * v - 0.5
    rows = track.y[frame] + sin * u + cos * v - 0.5
    return (
        rows,
        columns,
        (rows >= 0) & (rows <= clip.height - 1) & (columns >= 0) & (columns <= clip.width - 1),
    )
