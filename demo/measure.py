"""Measures of an edited clip against the true answer, which the sprite world can draw. Frames are (f, H, W, 3) uint8.

*Judge of appearance.* In each frame the edit is compared with renderings of `candidates` on the same track: the true answer,
the unedited clip, the clip with the thing gone, the true thing in another shape, in other colours and without its pattern,
and eight things drawn from the world. The thing is *shown* in a frame when the true answer is the nearest rendering, by
squared error of 4x4-pixel means in the window that holds all of them. The judge sees shapes, colours and coarse pattern, and
nothing of how the edit was made.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cases import Case
from .world import COLOURS, SHAPES, centroid, random_thing


def measure(case: Case, edited: np.ndarray) -> dict[str, float]:
    """All measures of one edited clip; keys as in report.json. Those of things are means over the swapped ones."""
    truth, which = case.truth.frames(), range(len(case.swaps))
    outside = ~touched(case)
    return {
        "object_accuracy": float(np.mean([shown(case, edited, k) for k in which])),
        "object_error": float(np.mean([object_error(case.truth.masks(k) > 0.5, truth, edited) for k in which])),
        "motion_error_px": float(np.mean([motion_error(case, edited, k) for k in which])),
        "background_psnr_db": psnr(case.clip.frames(), edited, outside),
        "temporal_consistency": temporal_consistency(edited),
    }


def touched(case: Case) -> np.ndarray:
    """(f, H, W) bool: where the true answer or the source has one of the swapped things. Nothing else may change."""
    return np.max([np.maximum(case.truth.masks(k), case.clip.masks(k)) for k in range(len(case.swaps))], 0) >= 0.01


def object_error(masks: np.ndarray, truth: np.ndarray, edited: np.ndarray) -> float:
    """Mean absolute difference, 0..1, within `masks` (f, H, W) bool, frame by frame; frames without a mask are left out."""
    return float(np.mean([np.abs(edited[i].astype(float) - truth[i])[masks[i]].mean() / 255 for i in range(len(truth)) if masks[i].any()]))


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of the pixels of `where` (f, H, W)."""
    return float(10 * np.log10(255 ** 2 / max(((a.astype(float) - b) ** 2)[where].mean(), 1e-3)))


def candidates(case: Case, which: int = 0) -> list[np.ndarray]:
    """Renderings the judge of thing `which` chooses from, the true answer first."""
    rng = np.random.default_rng(len(case.name))
    thing, first = case.swaps[which].target, case.clip.things[which]
    other_shape = str(rng.choice([s for s in SHAPES if s not in (thing.shape, first.shape)]))
    c1, c2 = (str(c) for c in rng.choice([c for c in COLOURS if c not in (thing.colour, thing.other_colour)], 2, replace=False))
    others = [first, replace(thing, shape=other_shape), replace(thing, colour=c1, other_colour=c2 if thing.pattern else None),
              replace(thing, pattern=None, other_colour=None)]
    others += [random_thing(rng, wide=bool(i % 2)) for i in range(8)]
    clips = [case.truth, case.truth.without(which)] + [case.truth.swap(which, other) for other in others if other != thing]
    return [clip.frames() for clip in clips]


def shown(case: Case, edited: np.ndarray, which: int = 0) -> np.ndarray:
    """Bool for every frame that has thing `which` in sight: whether the judge says that it is the one of the photo."""
    window = np.maximum(case.truth.masks(which), case.clip.masks(which)) > 0.01
    return nearest(candidates(case, which), edited, window)[case.truth.masks(which).max((1, 2)) > 0.5]


def nearest(renderings: list[np.ndarray], edited: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(f,) bool: whether the first rendering is the nearest to the edit, by squared error of 4x4-pixel means over the box around
    `window` (f, H, W); False where the window is empty."""
    out = np.zeros(len(edited), bool)
    for i in np.flatnonzero(window.any((1, 2))):
        rows, columns = np.where(window[i])
        box = slice(rows.min() // 4 * 4, rows.max() // 4 * 4 + 4), slice(columns.min() // 4 * 4, columns.max() // 4 * 4 + 4)
        distances = [((_means(edited[i][box]) - _means(clip[i][box])) ** 2).mean() for clip in renderings]
        out[i] = int(np.argmin(distances)) == 0
    return out


def _means(picture: np.ndarray) -> np.ndarray:
    h, w = (side // 4 for side in picture.shape[:2])
    return picture[:4 * h, :4 * w].reshape(h, 4, w, 4, 3).astype(float).mean((1, 3))


def motion_error(case: Case, edited: np.ndarray, which: int = 0) -> float:
    """Mean distance in pixels between thing `which`'s true centre and that of what differs from the clip without it (largest
    connected part, other swapped things' places left out). A frame in which nothing differs counts as half the picture's width.
    """
    from scipy import ndimage
    empty, centres, out = case.truth.without(which).frames().astype(float), case.truth.centres(which), []
    others = np.zeros(edited.shape[:3], bool)
    for k in range(len(case.swaps)):
        if k != which:
            others |= np.maximum(case.truth.masks(k), case.clip.masks(k)) >= 0.01
    for i in np.flatnonzero(case.truth.masks(which).max((1, 2)) > 0.5):
        labels, count = ndimage.label((np.abs(edited[i] - empty[i]).max(-1) > 30) & ~others[i])
        if count == 0:
            out.append(edited.shape[2] / 2)
            continue
        sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
        out.append(np.linalg.norm(centroid((labels == 1 + int(np.argmax(sizes))).astype(float)) - centres[i]))
    return float(np.mean(out))


def temporal_consistency(frames: np.ndarray) -> float:
    """Mean cosine of adjacent frames' 8x8-pixel means, each less its own mean."""
    f, h, w, _ = frames.shape
    small = frames.reshape(f, h // 8, 8, w // 8, 8, 3).astype(float).mean((2, 4)).reshape(f, -1)
    small -= small.mean(1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return float((small[1:] * small[:-1]).sum(1).mean()) if f > 1 else 1.0

