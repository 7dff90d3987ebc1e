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
    """All measures of one edited clip; keys as in report.json."""
    truth, source = case.truth.frames(), case.clip.frames()
    true_masks, source_masks = case.truth.masks(0), case.clip.masks(0)
    outside = (np.maximum(true_masks, source_masks) < 0.01)[..., None].repeat(3, -1)
    error = (edited.astype(float) - source) ** 2
    return {
        "object_accuracy": float(np.mean(shown(case, edited))),
        "object_error": float(np.mean([np.abs(edited[i].astype(float) - truth[i])[true_masks[i] > 0.5].mean() / 255 for i in range(len(truth))])),
        "motion_error_px": motion_error(case, edited),
        "background_psnr_db": float(10 * np.log10(255 ** 2 / max(error[outside].mean(), 1e-3))),
        "temporal_consistency": temporal_consistency(edited),
    }


def candidates(case: Case) -> list[np.ndarray]:
    """Renderings the judge chooses from, the true answer first."""
    rng = np.random.default_rng(len(case.name))
    thing, first = case.target, case.clip.things[0]
    other_shape = str(rng.choice([s for s in SHAPES if s not in (thing.shape, first.shape)]))
    c1, c2 = (str(c) for c in rng.choice([c for c in COLOURS if c not in (thing.colour, thing.other_colour)], 2, replace=False))
    others = [replace(thing, shape=other_shape), replace(thing, colour=c1, other_colour=c2 if thing.pattern else None), replace(thing, pattern=None, other_colour=None)]
    others += [random_thing(rng, wide=bool(i % 2)) for i in range(8)]
    clips = [case.truth, case.clip, case.clip.without(0)] + [case.clip.swap(0, other) for other in others if other != thing]
    return [clip.frames() for clip in clips]


def shown(case: Case, edited: np.ndarray) -> np.ndarray:
    """(f,) bool: in which frames the judge says that the reference thing is there."""
    window = np.maximum(case.truth.masks(0), case.clip.masks(0)) > 0.01
    renderings = candidates(case)
    out = []
    for i in range(len(edited)):
        rows, columns = np.where(window[i])
        box = slice(rows.min() // 4 * 4, rows.max() // 4 * 4 + 4), slice(columns.min() // 4 * 4, columns.max() // 4 * 4 + 4)
        small = [_means(clip[i][box]) for clip in renderings]
        distances = [((_means(edited[i][box]) - s) ** 2).mean() for s in small]
        out.append(int(np.argmin(distances)) == 0)
    return np.array(out)


def _means(picture: np.ndarray) -> np.ndarray:
    h, w = (side // 4 for side in picture.shape[:2])
    return picture[:4 * h, :4 * w].reshape(h, 4, w, 4, 3).astype(float).mean((1, 3))


def motion_error(case: Case, edited: np.ndarray) -> float:
    """Mean distance in pixels between the true centre and that of what differs from the empty scene (largest connected part).

    A frame in which nothing differs counts as half the picture's width.
    """
    from scipy import ndimage
    empty, centres, out = case.clip.without(0).frames().astype(float), case.truth.centres(0), []
    for i in range(len(edited)):
        labels, count = ndimage.label(np.abs(edited[i] - empty[i]).max(-1) > 30)
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

