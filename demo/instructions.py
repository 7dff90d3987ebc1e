"""Edits by instruction in the sprite world: what a person would say, and the clip that is then right.

>>> from demo.world import make_clip
>>> before = make_clip(seed=7, frames=8, things=(Thing("ball", "red"),))
>>> text, after = instruct(before, "colour", np.random.default_rng(0))
>>> text, after.things[0]
('make the red ball purple', Thing(shape='ball', colour='purple', pattern=None, other_colour=None))
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .world import COLOURS, SCENES, SHAPES, Clip, Thing

# How often training sees each kind. Of the last two many answers are right; `instruct` gives one of them.
KINDS = {"object": 0.34, "colour": 0.20, "scene": 0.20, "removal": 0.10, "any-colour": 0.08, "any-object": 0.08}
VAGUE = ("any-colour", "any-object")


def instruct(clip: Clip, kind: str, rng: np.random.Generator) -> tuple[str, Clip]:
    """An instruction of `kind` (a key of `KINDS`) for one of the clip's things or its scene, and the clip that it asks
    for.

    The clip shows one or two things; of two, the instruction names one so that it is not the other.
    """
    index = int(rng.integers(len(clip.things)))
    said = _called(clip, index, rng)
    if kind == "scene":
        scene = str(rng.choice([name for name in SCENES if name != clip.scene]))
        text = str(rng.choice([f"make it {scene}", f"put it {SCENES[scene].place}"]))
        caption = clip.caption.replace(SCENES[clip.scene].place, SCENES[scene].place)
        return text, replace(clip, scene=scene, caption=caption)
    if kind == "removal":
        return f"remove {said}", clip.without(index)
    text, thing = _other(clip.things[index], said, kind, rng)
    return text, clip.swap(index, thing)


def _other(thing: Thing, said: str, kind: str, rng: np.random.Generator) -> tuple[str, Thing]:
    """The instruction that turns `thing`, `said` so, into another, and that other."""
    colour = str(rng.choice([name for name in COLOURS if name != thing.colour]))
    shape = str(rng.choice([name for name in SHAPES if name != thing.shape]))
    if kind == "object":
        article = "an" if colour[0] in "aeiou" else "a"
        text = rng.choice([f"turn {said} into {article} {colour} {shape}", f"make {said} {article} {colour} {shape}"])
        return str(text), Thing(shape, colour)
    if kind == "colour":
        return str(rng.choice([f"make {said} {colour}", f"turn {said} {colour}"])), Thing(thing.shape, colour)
    if kind == "any-colour":
        return f"change {said}'s colour", Thing(thing.shape, colour)
    if kind == "any-object":
        return f"turn {said} into something else", Thing(shape, colour)
    raise ValueError(f"kind: {kind!r}; choose {', '.join(KINDS)}")


def _called(clip: Clip, index: int, rng: np.random.Generator) -> str:
    """ "the red ball", or "the ball" where there is no other, or "the thing" where there is no word."""
    thing = clip.things[index]
    if thing.name == "thing":
        return "the thing"
    alone = all(other.shape != thing.shape for i, other in enumerate(clip.things) if i != index)
    return f"the {thing.shape}" if alone and rng.random() < 0.5 else f"the {thing.name}"
