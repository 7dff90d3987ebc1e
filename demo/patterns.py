"""What fills a thing's outline: colours by name or "#rrggbb", and patterns of two colours.

A pattern is a name, ``"striped"``, or for the free ones a name, a count and a direction in degrees, ``"checks-3-45"``.
"""

from __future__ import annotations

import numpy as np

COLOURS = {
    "red": (212, 38, 38),
    "orange": (244, 128, 24),
    "yellow": (250, 212, 48),
    "green": (34, 150, 62),
    "blue": (40, 84, 222),
    "purple": (126, 52, 176),
    "pink": (246, 128, 184),
    "white": (250, 250, 250),
    "black": (28, 28, 32),
}
PATTERNS = ("striped", "banded", "two-tone", "dotted")  # outside the vocabulary: no caption names them
FREE_PATTERNS = {  # name: the counts it comes with
    "stripes": (2, 8),
    "checks": (2, 6),
    "rings": (2, 5),
    "dots": (2, 6),
    "sectors": (2, 9),
    "halves": (1, 2),
    "gradient": (1, 2),
    "core": (1, 2),
}


def rgb(colour: str) -> np.ndarray:
    """(3,) float32, 0..255."""
    if colour.startswith("#"):
        return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
    return np.array(COLOURS[colour], np.float32)


def random_colour(rng: np.random.Generator, apart_from: str | None = None) -> str:
    """Any colour, a named one two times in five; far enough from `apart_from` that a pattern of both shows."""
    while True:
        free = "#" + "".join(f"{c:02x}" for c in rng.integers(16, 251, 3))
        colour = free if rng.random() < 0.6 else str(rng.choice(list(COLOURS)))
        if apart_from is None or np.abs(rgb(colour) - rgb(apart_from)).max() > 70:
            return colour


def random_pattern(rng: np.random.Generator) -> str:
    name = str(rng.choice(list(FREE_PATTERNS)))
    return f"{name}-{rng.integers(*FREE_PATTERNS[name])}-{rng.choice((0, 90, 45, int(rng.integers(180))))}"


def pattern_weight(pattern: str, u: np.ndarray, v: np.ndarray, pixel: float) -> np.ndarray:
    """Weight 0..1 of the second colour at object coordinates (u, v), soft over a pixel, whose side there is `pixel`."""

    def soft(distance):
        return np.clip(distance / pixel + 0.5, 0, 1)

    if pattern == "striped":  # four horizontal stripes to a thing
        return soft(np.abs((v / 0.5 + 0.5) % 2 - 1) * 0.5 - 0.25)
    if pattern == "banded":  # one broad band across the middle
        return soft(0.36 - np.abs(v))
    if pattern == "two-tone":
        return soft(v - 0.05)
    if pattern == "dotted":
        return soft(0.22 - np.hypot((u + 0.39) % 0.78 - 0.39, (v + 0.39) % 0.78 - 0.39))
    name, _, rest = pattern.partition("-")
    if name not in FREE_PATTERNS:
        raise ValueError(f"unknown pattern {pattern!r}; known: {', '.join([*PATTERNS, *FREE_PATTERNS])}")
    count, degrees = (int(part) for part in rest.split("-"))
    turn = np.deg2rad(degrees)
    return _free_weight(name, count, np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u, soft)


def _free_weight(name: str, count: int, u: np.ndarray, v: np.ndarray, soft) -> np.ndarray:
    def wave(x):  # signed distance to the edges of `count` / 2 waves a unit
        half = 1 / count
        return half / 2 - np.abs(x % (2 * half) - half)

    if name == "stripes":
        return soft(wave(v))
    if name == "checks":
        a, b = wave(u), wave(v)
        return soft(np.sign(a * b) * np.minimum(np.abs(a), np.abs(b)))
    if name == "rings":
        return soft(wave(np.hypot(u, v)))
    if name == "dots":
        side = 2 / count
        return soft(0.3 * side - np.hypot(u % side - side / 2, v % side - side / 2))
    if name == "sectors":  # two of them are quarters
        return soft(wave(np.arctan2(v, u) / np.pi) * np.pi * np.hypot(u, v))
    if name == "halves":
        return soft(v)
    if name == "gradient":
        return np.clip(0.5 + 0.5 * v, 0, 1)
    return soft(0.5 - np.hypot(u, v))  # core: a disc in the middle
