"""Seeded cases over the demo world, each with its true answer. A kind asks one question; only "outside" leaves the
vocabulary.

There are three sets. By the *tuned* one settings were chosen; the *fresh* one, named "fresh-<kind>-<index>", is drawn
by seeds that nobody chose anything by, and is reported apart: what holds there holds. By the *sweep* one, named
"sweep-<kind>-<index>", new settings are tried, so that the fresh one stays fresh.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from demo.cases import Case, Swap
from demo.outlines import OTHER_SHAPES
from demo.world import PATTERNS, SHAPES, Clip, Thing, make_clip, make_reference, random_thing

# First of each set: none of the training pictures, the held-out ones or the shipped cases.
SEEDS = {
    "tuned": 2_100_000_000,
    "fresh": 2_300_000_000,
    "sweep": 2_500_000_000,
}
KINDS = {"inside": 8, "outside": 8, "fast": 6, "slow": 6, "scale": 6, "exit": 6, "two": 6, "distractor": 6}
MOTION = {
    "fast": {"speed": 1.6},
    "slow": {"speed": 0.35},
    "scale": {"growth": 0.6},
    "two": {"speed": 0.6},
    "distractor": {"speed": 0.6},
}


def prefix(seeds: str) -> str:
    """What the names of a set's cases begin with."""
    return "" if seeds == "tuned" else f"{seeds}-"


def set_of(case: str) -> str:
    """The set that a case, or a kind of its cases, is of, by its name."""
    return next((seeds for seeds in SEEDS if case.startswith(f"{seeds}-")), "tuned")


def bare(case: str) -> str:
    """The name without its set's prefix."""
    return case.removeprefix(prefix(set_of(case)))


def make(kind: str, index: int, frames: int = 8) -> Case:
    """Case `index` of a kind, "inside", "fresh-inside" or "sweep-inside". The first thing is swapped; a second, in
    "two" and "distractor", must stay.
    """
    seeds, kind = set_of(kind), bare(kind)
    seed = SEEDS[seeds] + 1000 * list(KINDS).index(kind) + 10 * index
    rng = np.random.default_rng(seed)
    source = random_thing(rng)
    others = [
        thing
        for thing in (random_thing(rng) for _ in range(50))
        if thing.shape != source.shape and thing.colour != source.colour
    ]
    target = _outside(rng, others[0], index) if kind == "outside" else others[0]
    things = (source,)
    if kind == "two":
        things += (next(t for t in others if t.shape != target.shape and t.colour != target.colour),)
    if kind == "distractor":
        things += (Thing(source.shape, next(t.colour for t in others if t.colour != target.colour)),)
    clip = _apart(seed, frames, things, MOTION.get(kind, {}))
    if kind == "exit":
        clip = _leaving(clip)
    photo = make_reference(target, seed + 1)
    name = f"{prefix(seeds)}{kind}-{index}"
    return Case(name, clip, (Swap(target, photo, initial_word=target.shape if target.shape in SHAPES else "thing"),))


def all_cases(seeds: str = "tuned") -> list[Case]:
    """A set's cases, the first of every kind first, so that a part of them asks every question."""
    return [
        make(prefix(seeds) + kind, index)
        for index in range(max(KINDS.values()))
        for kind, count in KINDS.items()
        if index < count
    ]


def _outside(rng: np.random.Generator, like: Thing, index: int) -> Thing:
    """By turns a known shape with a pattern, and a shape that has no word."""
    other = str(rng.choice([c for c in ("white", "black", "yellow") if c != like.colour]))
    if index % 2 == 0:
        return Thing(like.shape, like.colour, str(rng.choice(PATTERNS)), other)
    return Thing(str(rng.choice(list(OTHER_SHAPES))), like.colour)


def _apart(seed: int, frames: int, things: tuple[Thing, ...], options: dict) -> Clip:
    """The first seed from `seed` on in which the things do not touch."""
    while True:
        clip = make_clip(seed, frames, things, **options)
        if len(things) == 1:
            return clip
        a, b = clip.tracks
        if min(np.hypot(a.x[i] - b.x[i], a.y[i] - b.y[i]) - a.radius[i] - b.radius[i] for i in range(frames)) > 2:
            return clip
        seed += 1


def _leaving(clip: Clip) -> Clip:
    """Moved sideways so that in the last frame the thing's centre is on the picture's edge."""
    track = clip.tracks[0]
    edge = clip.width if track.x[-1] > track.x[0] else 0
    return replace(clip, tracks=(replace(track, x=tuple(x + edge - track.x[-1] for x in track.x)),))
