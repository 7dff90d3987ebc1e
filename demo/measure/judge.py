"""The judge of appearance: in each frame the edit is compared with renderings of `candidates` on the same track: the
true answer, the unedited clip, the clip with the thing gone, the true thing in another shape, in other colours and
without its pattern, and eight things drawn from the world. The thing is *shown* in a frame when the true answer is the
nearest rendering, by squared error of the means of blocks of 4x4 pixels (of a picture of 128) in the window that holds
all of them. The judge sees shapes, colours and coarse pattern, and nothing of how the edit was made.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..cases import Case
from ..world import COLOURS, SHAPES, random_thing
from .places import block_means, pixels, place

BLOCK = 4  # pixels of a picture of 128


@lru_cache(2)  # a case's rows come one after the other
def candidates(case: Case, which: int = 0) -> list[np.ndarray]:
    """Renderings the judge of thing `which` chooses from, the true answer first."""
    rng = np.random.default_rng(len(case.name))
    thing, first = case.swaps[which].target, case.clip.things[which]
    other_shape = str(rng.choice([s for s in SHAPES if s not in (thing.shape, first.shape)]))
    c1, c2 = (
        str(c)
        for c in rng.choice([c for c in COLOURS if c not in (thing.colour, thing.other_colour)], 2, replace=False)
    )
    others = [
        first,
        replace(thing, shape=other_shape),
        replace(thing, colour=c1, other_colour=c2 if thing.pattern else None),
        replace(thing, pattern=None, other_colour=None),
    ]
    others += [random_thing(rng, wide=bool(i % 2)) for i in range(8)]
    clips = [case.truth, case.truth.without(which)] + [
        case.truth.swap(which, other) for other in others if other != thing
    ]
    return [clip.frames() for clip in clips]


def shown(case: Case, edited: np.ndarray, which: int = 0) -> dict[int, bool]:
    """Frame -> whether the judge says that thing `which` is the one of the photo; the frames that have it in sight."""
    right = nearest(candidates(case, which), edited, place(case, which))
    return {int(i): bool(right[i]) for i in np.flatnonzero(case.truth.masks(which).max((1, 2)) > 0.5)}


def nearest(renderings: list[np.ndarray], edited: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(f,) bool: whether the first rendering is the nearest to the edit, by squared error of block means over the box
    around `window` (f, H, W); False where the window is empty."""
    out, side = np.zeros(len(edited), bool), pixels(edited, BLOCK)
    for i in np.flatnonzero(window.any((1, 2))):
        rows, columns = np.where(window[i])
        box = tuple(slice(p.min() // side * side, (p.max() // side + 1) * side) for p in (rows, columns))
        distances = [
            ((block_means(edited[i][box], side) - block_means(clip[i][box], side)) ** 2).mean() for clip in renderings
        ]
        out[i] = int(np.argmin(distances)) == 0
    return out
