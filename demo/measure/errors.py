"""How far an edit is from the true answer where a thing should change: over all of it, and where the old thing should have gone."""
from __future__ import annotations

import numpy as np

from ..cases import Case
from ..patterns import rgb
from ..world import RIM, Thing
from .places import left, place

VISIBLE = 30                             # levels of 255: less than this between old thing and true answer cannot be told apart
SHADES = np.linspace(RIM, 1, 4)          # a thing's colours run from its rim's to its fill's


def object_error(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean absolute difference to the true answer, 0..1, within the new thing, frame by frame; frames without it are left out."""
    truth, masks = case.truth.frames(), case.truth.masks(which) > 0.5
    return float(np.mean([np.abs(edited[i].astype(float) - truth[i])[masks[i]].mean() / 255 for i in range(len(truth)) if masks[i].any()]))


def edit_error(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean absolute difference to the true answer over all that should change, the old thing's place and the new one's, divided by
    the unedited clip's there: 0 for the true answer, 1 for the unedited clip. Pixels of all frames count alike."""
    return _relative(case, edited, place(case, which))


def residue(case: Case, edited: np.ndarray, which: int) -> float:
    """The same over what the old thing should have left (`places.left`). 0 where the new thing covers the old one in every frame."""
    return _relative(case, edited, left(case, which))


def _relative(case: Case, edited: np.ndarray, where: np.ndarray) -> float:
    truth = case.truth.frames().astype(float)
    unedited = np.abs(case.clip.frames() - truth)[where].sum()
    return float(np.abs(edited - truth)[where].sum() / unedited) if unedited else 0.0


def ghost(case: Case, edited: np.ndarray, which: int) -> float:
    """The share of the pixels that the old thing should have left, rim included, that look more like the old thing than like the
    true answer or the new thing: a ring or a corner that stands. Where the new thing is drawn too large is no ghost.

    Each pixel is read as a mixture of the true answer there and one of the old thing's colours, or one of the new thing's, fill to
    rim; it is the old thing's where that fits better and has more than half a part. Mixtures, since at the edge of a thing a
    pixel is one, and by itself may have the other thing's colour (red before snow is pink). Pixels where old thing and true answer differ by
    `VISIBLE` or less in every channel are left out; 0 where none is left.
    """
    truth, source = case.truth.frames().astype(float), case.clip.frames().astype(float)
    where = left(case, which) & (np.abs(source - truth).max(-1) > VISIBLE)
    if not where.any():
        return 0.0
    ground, seen = truth[where], edited[where].astype(float)
    of_old, part = _mixture(seen, ground, _looks(case.clip.things[which]))
    of_new, _ = _mixture(seen, ground, _looks(case.swaps[which].target))
    return float(np.mean((of_old < of_new) & (part > 0.5)))


def _looks(thing: Thing) -> np.ndarray:
    """(n, 3): the colours that a thing has, from fill to rim; between the two of a pattern, half way too."""
    colours = [rgb(name) for name in (thing.colour, thing.other_colour) if name]
    colours += [np.mean(colours, 0)] * (len(colours) - 1)
    return np.concatenate([SHADES[:, None] * colour for colour in colours])


def _mixture(seen: np.ndarray, ground: np.ndarray, looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far pixels (n, 3) are from the nearest mixture of `ground` (n, 3) and one of `looks`, and that look's part in it, 0..1."""
    directions = looks - ground[:, None]                                   # (n, looks, 3)
    offsets = (seen - ground)[:, None]
    parts = np.clip((offsets * directions).sum(-1) / np.maximum((directions ** 2).sum(-1), 1e-9), 0, 1)
    distances = np.linalg.norm(offsets - parts[..., None] * directions, axis=-1)
    best = distances.argmin(1)[:, None]
    return np.take_along_axis(distances, best, 1)[:, 0], np.take_along_axis(parts, best, 1)[:, 0]
