"""Seeded clips with an instruction each: every kind of instruction under every motion.

Settings of the pack were chosen on other clips: the demo model was trained on seeds below `demo.data.HELD_OUT`, the
score of root pairs and the adaptation's steps and rate by clips from 2,600,000,000 to 2,900,999,999.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from demo.instructions import VAGUE, instruct
from demo.world import Clip, Track, make_clip

FIRST_SEED = 3_100_000_000
KINDS = ("object", "colour", "any-colour", "any-object", "scene", "removal")
MOTIONS = ("plain", "fast", "slow", "returns")
SPEED = {"fast": 1.6, "slow": 0.35}
FAST = 0.4  # part of the width that a fast thing goes in a clip
COUNT = 7  # of each kind
OUT = 1.6  # radii beyond the picture's edge, where a thing that leaves turns back
IN_SIGHT = 0.5  # part of what is shown at most of a thing in a frame, from which on it is in sight


@dataclass(frozen=True)
class InstructCase:
    """`after`: a right answer, the only one but for vague instructions."""

    name: str
    kind: str
    motion: str
    text: str
    clip: Clip
    after: Clip

    @property
    def vague(self) -> bool:
        return self.kind in VAGUE

    @property
    def in_sight(self) -> list[int]:
        """The frames in which the thing is in sight."""
        areas = self.clip.masks(0).sum((1, 2))
        return [int(i) for i in np.flatnonzero(areas >= IN_SIGHT * areas.max())]


def make(kind: str, index: int, frames: int = 8) -> InstructCase:
    """Case `index` of a kind; motions go by turns, and begin with another for each kind."""
    seed = FIRST_SEED + 1000 * KINDS.index(kind) + index
    motion = MOTIONS[(index + KINDS.index(kind)) % len(MOTIONS)]
    clip = next(clip for clip in _clips(seed, frames, SPEED.get(motion, 1.0)) if motion != "fast" or _is_fast(clip))
    if motion == "returns":
        clip = replace(clip, tracks=(_out_and_back(clip.tracks[0], clip.width),))
    text, after = instruct(clip, kind, np.random.default_rng(seed))
    return InstructCase(f"{kind}-{index}", kind, motion, text, clip, after)


def all_cases(of_each: int = COUNT) -> list[InstructCase]:
    """The first of every kind first, so that any beginning asks every question."""
    return [make(kind, index) for index in range(of_each) for kind in KINDS]


def _clips(seed: int, frames: int, speed: float) -> Iterator[Clip]:
    """One from the seed, and others where that is not what is wanted."""
    return (make_clip(seed + 100 * i, frames, speed=speed) for i in count())


def _is_fast(clip: Clip) -> bool:
    """Whether its thing has room to be: one that begins near the edge that it runs to stops there."""
    x = clip.tracks[0].x
    return max(x) - min(x) >= FAST * clip.width


def _out_and_back(track: Track, width: int) -> Track:
    """From where the track begins out of the picture, over its nearer side, and back."""
    start, t = track.x[0], np.linspace(0, 1, len(track.x))
    beyond = OUT * max(track.radius)
    turn = width + beyond if start > width / 2 else -beyond
    gone = (0.5 - 0.5 * np.cos(2 * np.pi * t)) ** 2
    return replace(track, x=tuple(float(x) for x in start + (turn - start) * gone))
