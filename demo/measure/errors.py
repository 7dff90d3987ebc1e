"""How far an edit is from the true answer where a thing should change: over all of it, and where the old thing should
have gone.
"""

from __future__ import annotations

import numpy as np

from ..cases import Case
from ..patterns import rgb
from ..world import RIM, Thing
from .places import left, place

LINE = 30  # levels of 255 from which on a line one pixel wide is seen on a flat surface
SHADES = np.linspace(RIM, 1, 4)  # a thing's colours run from its rim's to its fill's


def object_error(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean absolute difference to the true answer, 0..1, within the new thing, frame by frame; frames without it are
    left out.
    """
    truth, masks = case.truth.frames(), case.truth.masks(which) > 0.5
    return float(
        np.mean(
            [
                np.abs(edited[i].astype(float) - truth[i])[masks[i]].mean() / 255
                for i in range(len(truth))
                if masks[i].any()
            ]
        )
    )


def edit_error(case: Case, edited: np.ndarray, which: int) -> float:
    """Mean absolute difference to the true answer over all that should change, the old thing's place and the new one's,
    divided by the unedited clip's there: 0 for the true answer, 1 for the unedited clip. Pixels of all frames count
    alike."""
    return _relative(case, edited, place(case, which))


def residue(case: Case, edited: np.ndarray, which: int) -> float:
    """The same over what the old thing should have left (`places.left`). 0 where the new thing covers the old one in
    every frame.
    """
    return _relative(case, edited, left(case, which))


def _relative(case: Case, edited: np.ndarray, where: np.ndarray) -> float:
    truth = case.truth.frames().astype(float)
    unedited = np.abs(case.clip.frames() - truth)[where].sum()
    return float(np.abs(edited - truth)[where].sum() / unedited) if unedited else 0.0


def ghost(case: Case, edited: np.ndarray, which: int) -> float:
    """The share of the pixels that the old thing should have left, rim included, that look more like the old thing than
    like the true answer or the new thing: a ring or a corner that stands. Where the new thing is drawn too large is no
    ghost.

    A pixel looks like the true answer unless it is off by more than `LINE` in a channel: more, and a viewer sees a line
    one pixel wide, though its colour be nearer to the true one. If it is, it looks like the thing to which it is nearer
    when mixed with the true answer: the old one as the clip has it there, or the new one's colours, fill to rim. Mixed,
    since at the edge of a thing a pixel is, and by itself may have the other thing's colour (red before snow is pink).
    And it must look like it: what is farther from that mixture than half of what it is off is a colour of its own, as
    the autoencoder's fringes are, and a ghost of nothing. Pixels where clip and true answer differ by no more than
    `LINE` are left out; 0 where none is left.
    """
    truth, source = case.truth.frames().astype(float), case.clip.frames().astype(float)
    where = left(case, which) & _differ(source, truth)
    if not where.any():
        return 0.0
    ground, old, seen = truth[where], source[where], edited[where].astype(float)
    of_old, of_new = (
        from_mixtures(seen, ground, colours) for colours in (old[:, None], looks(case.swaps[which].target)[None])
    )
    like_old = (of_old < of_new) & (of_old < np.linalg.norm(seen - ground, axis=-1) / 2)
    return float(np.mean(_differ(seen, ground) & like_old))


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b).max(-1) > LINE


def looks(thing: Thing) -> np.ndarray:
    """(n, 3): the colours that a thing has, from fill to rim; between the two of a pattern, half way too."""
    colours = [rgb(name) for name in (thing.colour, thing.other_colour) if name]
    colours += [np.mean(colours, 0)] * (len(colours) - 1)
    return np.concatenate([SHADES[:, None] * colour for colour in colours])


def from_mixtures(seen: np.ndarray, ground: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,): from pixels (n, 3) to the nearest mixture of `ground` (n, 3) and one of `others` (n or 1, m, 3)."""
    directions, offsets = others - ground[:, None], (seen - ground)[:, None]
    parts = np.clip((offsets * directions).sum(-1) / np.maximum((directions**2).sum(-1), 1e-9), 0, 1)
    return np.linalg.norm(offsets - parts[..., None] * directions, axis=-1).min(1)
