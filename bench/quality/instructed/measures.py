"""How well an edit by instruction did what was asked, how steadily, and what it left alone.

A vague instruction has many right answers: an edit is held to that of the thing that most of its frames show.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from scipy import ndimage

from demo.measure import psnr
from demo.measure.outline import around_mean, deviation
from demo.measure.places import SEEN
from demo.training.instructed import HALO, Asked, done
from demo.training.judge import LABELS, Judge
from demo.training.run import to_tensor
from demo.world import Clip, Thing

from ..__main__ import flicker
from .cases import InstructCase

# 1: more is better; -1: less is.
MEASURES = {
    "followed": 1,
    "one_choice": 1,
    "held": 1,
    "steadiness": -1,
    "edit_error": -1,
    "rest_psnr_db": 1,
    "rest_flicker": -1,
}


def measure(case: InstructCase, judge: Judge, frames: np.ndarray) -> dict[str, float]:
    """Of `frames` (f, H, W, 3) uint8; of a thing, in the frames where it is in sight.

    `followed`: the part of them that shows what was asked, as the judge reads it. `one_choice`, of vague instructions:
    the part that shows the clip's commonest shape and colour. `held`: that shows the commonest of the right ones.
    `steadiness`: see there. `edit_error`, where one answer is right: mean difference to it over what should change,
    times the unedited clip's. `rest_psnr_db`, `rest_flicker`: where the instruction leaves the clip alone, PSNR, and by
    how many levels of 255 the change from frame to frame is another than the clip's.
    """
    pictures, sight = to_tensor(frames), case.in_sight
    asked = [Asked(case.kind, case.text, frame(case.clip, i), frame(case.after, i)) for i in sight]
    right, seen = done(judge, asked, pictures[sight]), looks(judge, frames[sight], case.kind == "scene")
    if case.kind == "removal":  # the judge has no word for nothing
        seen = [()] * len(sight)
    choice, shown = Counter(seen).most_common(1)[0]
    held = Counter(look for look, good in zip(seen, right, strict=True) if good)
    truth = case.clip.swap(0, Thing(*choice)) if case.vague else case.after
    out = {
        "followed": float(np.mean(right)),
        "held": max(held.values(), default=0) / len(sight),
        "steadiness": steadiness(case, truth, frames),
    }
    if case.vague:
        out["one_choice"] = shown / len(sight)
    else:
        out["edit_error"] = edit_error(case, frames)
    if case.kind != "scene":
        source, alone = case.clip.frames(), left_alone(case.clip, truth)
        out |= {"rest_psnr_db": psnr(source, frames, alone), "rest_flicker": flicker(frames, source, alone)}
    return out


def looks(judge: Judge, frames: np.ndarray, scenes: bool = False) -> list[tuple[str, ...]]:
    """Shape and colour of each frame's thing, and where `scenes` are asked for its scene, as the judge reads them."""
    read = {name: logits.argmax(-1).tolist() for name, logits in judge(to_tensor(frames)).items()}
    names = ("shape", "colour", *(["scene"] if scenes else []))
    return list(zip(*([LABELS[name][i] for i in read[name]] for name in names), strict=True))


def frame(clip: Clip, i: int) -> Clip:
    """One frame of a clip, as a clip."""
    tracks = (type(t)(*((values[i],) for values in (t.x, t.y, t.radius, t.angle))) for t in clip.tracks)
    return replace(clip, tracks=tuple(tracks), phase=(clip.phase[i],))


def steadiness(case: InstructCase, truth: Clip, frames: np.ndarray) -> float:
    """Mean deviation over frames, 0..1, of the difference to the true answer: of a thing cut out along its true track
    (`demo.measure.outline`), of one that is removed along the track that it had; of a scene where it stands, in frames
    in which the thing does not hide it. 0 for the true answer, and for any error that stays the same."""
    wrong = frames.astype(float) - truth.frames()
    if case.kind == "scene":
        return around_mean(wrong / 255, ~_near(case.clip.masks(0) >= SEEN))
    return deviation(wrong, truth if truth.things else case.clip, 0)


def edit_error(case: InstructCase, frames: np.ndarray) -> float:
    """Mean absolute difference to the one right answer over what should change, divided by the unedited clip's."""
    truth, source = case.after.frames().astype(float), case.clip.frames()
    where = touched(case.clip, case.after)
    if case.kind == "scene":
        where = ~_near(case.clip.masks(0) >= SEEN)
    return float(np.abs(frames - truth)[where].sum() / np.abs(source - truth)[where].sum())


def touched(before: Clip, after: Clip) -> np.ndarray:
    """(f, H, W) bool: where either shows the thing."""
    return np.max([clip.masks(0) for clip in (before, after) if clip.things], 0) >= SEEN


def left_alone(before: Clip, after: Clip) -> np.ndarray:
    """(f, H, W) bool: far from the thing in either."""
    return ~_near(touched(before, after))


def _near(where: np.ndarray) -> np.ndarray:
    """Those, and what lies within `HALO` pixels of them in the same frame."""
    return ndimage.binary_dilation(where, np.ones((1, 2 * HALO + 1, 2 * HALO + 1), bool))
