"""Whether the new thing is the photo's, whatever its size, angle and place within what a viewer forgives.

`judge.py` holds an edit to the true answer's very pixels: a star a fifth too large, or turned by some degrees, is wrong
to it. A viewer sees a star, and how far off it stands is for motion to measure. So here every candidate is scaled,
turned and shifted until it lies best on the edit. And there are more candidates, so that outline, colour and pattern
must all be right: the true thing in every other shape, in every other colour and with every other pattern, the old
thing, and nothing at all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..cases import Case
from ..outlines import OTHER_SHAPES
from ..world import COLOURS, PATTERNS, SHAPES, Thing
from .places import pixels, place

if TYPE_CHECKING:
    import torch

BLOCK = 4  # pixels of a picture of 128: means over so many on a side are compared, as the judge does
SCALES = (0.71, 0.84, 1.0, 1.19, 1.41)
ANGLES = (-30, -15, 0, 15, 30)  # degrees
SHIFTS = (-4, 0, 4)  # such pixels, across and down
MARGIN = 12  # such pixels around old and new thing that are compared too: what is drawn too large shows there


def recognised(case: Case, edited: np.ndarray, which: int) -> float:
    """The part of the frames (f, H, W, 3), 0..1, that show thing `which` to be the photo's, of those that should have
    it in sight: no other candidate can be laid nearer to the edit, by squared error of block means."""
    side, track, window = pixels(edited, BLOCK), case.truth.tracks[which], place(case, which)
    bare, layers = _candidates(case, which, side)
    sight = np.flatnonzero(case.truth.masks(which).max((1, 2)) > 0.5)
    right = []
    for i in sight:
        here = _points(window[i], pixels(edited, MARGIN), side)
        laid = _laid(here, (track.x[i], track.y[i]), pixels(edited, 1))
        behind, ours = (_at(means, here[None]) for means in (bare[i], _means(edited[i], side)))
        distances = [float((behind - ours).square().mean())]
        for layer in layers:
            colour, cover = _at(layer[i], laid).split([3, 1], 1)
            distances.append(float(((1 - cover) * behind + colour - ours).square().mean((1, 2, 3)).min()))
        right.append(int(np.argmin(distances)) == 1)  # after nothing at all the true thing comes first
    return float(np.mean(right)) if right else 0.0


def others(case: Case, which: int) -> list[Thing]:
    """What else the photo's thing might be taken for, each once."""
    thing = case.swaps[which].target
    second = thing.other_colour or next(colour for colour in ("white", "black") if colour != thing.colour)
    found = [
        *(replace(thing, shape=shape) for shape in (*SHAPES, *OTHER_SHAPES)),
        *(replace(thing, colour=colour) for colour in COLOURS if colour != thing.other_colour),
        *(replace(thing, pattern=pattern, other_colour=second) for pattern in PATTERNS),
        replace(thing, pattern=None, other_colour=None),
        case.clip.things[which],
    ]
    return [other for other in dict.fromkeys(found) if other != thing]


@lru_cache(2)  # a case's rows come one after the other
def _candidates(case: Case, which: int, side: int) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """As `_means`, frame by frame: of the clip without the thing, (1, 3, H + 1, W + 1); and of each candidate on the
    true track, the true thing first, of its colour times how much it covers, and of that: (1, 4, H + 1, W + 1)."""
    bare, layers = case.truth.without(which).frames().astype(np.float32), []
    for thing in [case.swaps[which].target, *others(case, which)]:
        clip = case.truth.swap(which, thing)  # in whose picture other things have been swapped too
        cover = clip.masks(which)[..., None].astype(np.float32)
        layer = np.concatenate([clip.frames() - (1 - cover) * bare, cover], -1)
        layers.append([_means(picture, side) for picture in layer])
    return [_means(picture, side) for picture in bare], layers


def _points(window: np.ndarray, margin: int, side: int) -> torch.Tensor:
    """(h, w, 2): the centres, x and y in pixels, of blocks that cover a `window` (H, W) and the margin around it."""
    import torch

    rows, columns = (np.flatnonzero(window.any(axis)) for axis in (1, 0))
    y, x = (
        torch.arange(max(0, found[0] - margin) + side / 2, min(length, found[-1] + margin) - side / 2 + 0.5, side)
        for found, length in zip((rows, columns), window.shape, strict=True)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def _laid(points: torch.Tensor, centre: tuple[float, float], pixel: int) -> torch.Tensor:
    """(n, h, w, 2): where in its own picture a thing about `centre` has what comes to lie on `points`, in each of its
    poses."""
    import torch

    scale, angle, *shift = torch.tensor(list(product(SCALES, ANGLES, SHIFTS, SHIFTS)), dtype=torch.float32).T
    about = torch.tensor(centre, dtype=torch.float32)
    u, v = (points[None] - about - pixel * torch.stack(shift, -1)[:, None, None]).unbind(-1)
    cos, sin = (part(angle.deg2rad())[:, None, None] / scale[:, None, None] for part in (torch.cos, torch.sin))
    return about + torch.stack([cos * u + sin * v, cos * v - sin * u], -1)


def _means(picture: np.ndarray, side: int) -> torch.Tensor:
    """(1, c, H + 1, W + 1): of a picture (H, W, c), the means over the blocks around the corners of its pixels."""
    import torch
    import torch.nn.functional as F

    whole = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    return F.avg_pool2d(F.pad(whole, [side // 2] * 4), side, 1)[..., : picture.shape[0] + 1, : picture.shape[1] + 1]


def _at(means: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w): the means at points (n, h, w, 2), in pixels; zeros outside the picture."""
    import torch
    import torch.nn.functional as F

    last = torch.tensor([means.shape[-1] - 1, means.shape[-2] - 1])
    return F.grid_sample(means.expand(len(points), -1, -1, -1), 2 * points / last - 1, align_corners=True)
