"""Outlines of things, by name: closed polygons (n, 2) in object coordinates, about one unit in radius, y pointing down.

``SHAPES`` is the vocabulary. ``OTHER_SHAPES`` are held out: no training picture shows one. Beyond both, a *family* with
a seed is an outline of its own, ``"union-17"`` say. Families are ``"blob"`` and ``FREE_FAMILIES``; of the latter none
comes near a held-out outline (`resembles_held_out`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

LIKENESS = 0.9  # overlap (intersection over union) from which two outlines count as the same


def _circle(radius: float = 1.0, n: int = 40) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return radius * np.stack([np.cos(t), np.sin(t)], 1)


def _star(points: int = 5, inner: float = 0.45) -> np.ndarray:
    t = np.arange(2 * points) * np.pi / points - np.pi / 2
    r = np.where(np.arange(2 * points) % 2 == 0, 1.1, 1.1 * inner)
    return np.stack([r * np.cos(t), r * np.sin(t)], 1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2], 1) / 16


def _moon() -> np.ndarray:
    outer = np.linspace(0.25 * np.pi, 1.75 * np.pi, 32)
    inner = np.linspace(1.66 * np.pi, 0.34 * np.pi, 28)
    return np.concatenate(
        [
            1.05 * np.stack([np.cos(outer), np.sin(outer)], 1),
            np.stack([0.36 + 0.80 * np.cos(inner), 0.80 * np.sin(inner)], 1),
        ]
    ) + [0.12, 0.0]


def _fish() -> np.ndarray:
    t = np.linspace(0.12 * np.pi, 1.88 * np.pi, 30)
    body = np.stack([-0.22 + 0.80 * -np.cos(t) * -1, 0.62 * np.sin(t)], 1)
    return np.concatenate([body, [[1.15, -0.62], [0.95, 0.0], [1.15, 0.62]]])


def _polygon(*points: float) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


SHAPES = {
    "ball": _circle(),
    "box": _polygon(-0.86, -0.86, 0.86, -0.86, 0.86, 0.86, -0.86, 0.86),
    "cone": _polygon(0, -1.05, 1.0, 0.85, -1.0, 0.85),
    "star": _star(),
    "heart": _heart(),
    "cross": _polygon(
        -0.36,
        -1,
        0.36,
        -1,
        0.36,
        -0.36,
        1,
        -0.36,
        1,
        0.36,
        0.36,
        0.36,
        0.36,
        1,
        -0.36,
        1,
        -0.36,
        0.36,
        -1,
        0.36,
        -1,
        -0.36,
        -0.36,
        -0.36,
    ),
    "ring": _circle(),
    "moon": _moon(),
    "tree": _polygon(
        0,
        -1.15,
        0.62,
        -0.35,
        0.36,
        -0.35,
        0.92,
        0.5,
        0.24,
        0.5,
        0.24,
        1.1,
        -0.24,
        1.1,
        -0.24,
        0.5,
        -0.92,
        0.5,
        -0.36,
        -0.35,
        -0.62,
        -0.35,
    ),
    "fish": _fish(),
}
OTHER_SHAPES = {
    "house": _polygon(0, -1.1, 1.05, -0.15, 0.75, -0.15, 0.75, 0.95, -0.75, 0.95, -0.75, -0.15, -1.05, -0.15),
    "arrow": _polygon(1.15, 0, 0.2, -0.95, 0.2, -0.38, -1.05, -0.38, -1.05, 0.38, 0.2, 0.38, 0.2, 0.95),
    "hourglass": _polygon(-0.9, -1, 0.9, -1, 0.28, 0, 0.9, 1, -0.9, 1, -0.28, 0),
    "gem": _polygon(-0.6, -0.8, 0.6, -0.8, 1.1, -0.2, 0, 1.1, -1.1, -0.2),
}
HOLES = {"ring": _circle(0.5)}


def outline(shape: str) -> np.ndarray:
    if shape in SHAPES:
        return SHAPES[shape]
    return OTHER_SHAPES[shape] if shape in OTHER_SHAPES else _seeded(shape)


@lru_cache(4096)
def _seeded(shape: str) -> np.ndarray:
    family, seed = shape.split("-")
    rng = np.random.default_rng(int(seed))
    if family == "blob":
        return _blob(rng)
    while True:
        points = _normalised(FREE_FAMILIES[family](rng))
        if not resembles_held_out(points):
            return points


def centre_of_mass(points: np.ndarray) -> np.ndarray:
    """(x, y) of the filled polygon; the one hole there is lies around its outline's centre."""
    after = np.roll(points, -1, 0)
    cross = points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]
    return ((points + after) * cross[:, None]).sum(0) / (3 * cross.sum())


# ------------------------------------------------------------------------------------------------ families, by seed
def _blob(rng: np.random.Generator) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    r = np.ones_like(t)
    for k in range(2, 7):
        r += rng.normal() * 0.32 / k**0.5 * np.cos(k * t + rng.uniform(0, 2 * np.pi)) * rng.integers(0, 2)
    r = np.clip(r, 0.35, 1.6)
    r /= np.sqrt((r**2).mean())
    return np.stack([r * np.cos(t), r * np.sin(t)], 1)


def _corners(rng: np.random.Generator) -> np.ndarray:
    """Three to nine corners around the centre: on a circle (convex), or each at a distance of its own."""
    n = int(rng.integers(3, 10))
    gaps = rng.uniform(0.5, 1.5, n) if rng.random() < 0.6 else np.ones(n)
    t = rng.uniform(0, 2 * np.pi) + np.cumsum(gaps) / gaps.sum() * 2 * np.pi
    r = np.ones(n) if rng.random() < 0.4 else rng.uniform(0.4, 1.3, n)
    return np.stack([r * np.cos(t), r * np.sin(t)], 1)


def _any_star(rng: np.random.Generator) -> np.ndarray:
    return _star(int(rng.integers(3, 10)), rng.uniform(0.3, 0.8))


def _flower(rng: np.random.Generator) -> np.ndarray:
    """Rounded arms; with few and shallow ones, a rounded polygon."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    r = 1 + rng.uniform(0.08, 0.45) * np.cos(rng.integers(2, 9) * (t - np.pi / 2))
    return np.stack([r * np.cos(t), r * np.sin(t)], 1)


def _union(rng: np.random.Generator) -> np.ndarray:
    """Two to four boxes, triangles and ellipses over one centre: houses of a kind, arrows, keys, lamps, letters.

    Every part holds the centre, so each direction leaves the union once, at the distance of the farthest part's edge.
    """
    t = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    distance = np.max([_reach(_part(rng), t) for _ in range(rng.integers(2, 5))], 0)
    if rng.random() < 0.7:  # most made things are mirror images of themselves
        distance = np.maximum(distance, distance[(180 - np.arange(360)) % 360])
    return np.stack([distance * np.cos(t), distance * np.sin(t)], 1)


def _part(rng: np.random.Generator) -> np.ndarray:
    """A convex polygon that holds the origin, upright or turned by quarters most of the time."""
    kind = rng.integers(3)
    points = (SHAPES["box"], np.array([[0, -1], [0.9, 0.7], [-0.9, 0.7]]), _circle())[kind]
    points = points * rng.uniform([0.25, 0.25], [1.0, 1.0])
    turn = rng.integers(4) * np.pi / 2 + (rng.uniform(0, np.pi / 2) if rng.random() < 0.2 else 0)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    shift = rng.uniform(-0.9, 0.9, 2) * (rng.random(2) < 0.6)
    low, high = points.min(0), points.max(0)
    shift = np.clip(shift, -0.85 * high, -0.85 * low)
    if _reach(points + shift, np.linspace(0, 2 * np.pi, 60, endpoint=False)).min() > 0:
        return points + shift
    return points


def _reach(points: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """How far the convex polygon goes from the origin in each direction; 0 where the origin lies outside."""
    after = np.roll(points, -1, 0)
    edge = after - points
    normal = np.stack([edge[:, 1], -edge[:, 0]], 1)
    normal *= np.sign((normal * (points - points.mean(0))).sum(1))[:, None]
    offset = (normal * points).sum(1)
    if (offset <= 1e-6).any():
        return np.zeros(len(angles))
    towards = normal @ np.stack([np.cos(angles), np.sin(angles)])
    return (offset[:, None] / np.maximum(towards, 1e-9)).min(0)


FREE_FAMILIES = {"corners": _corners, "arms": _any_star, "flower": _flower, "union": _union}


def _normalised(points: np.ndarray) -> np.ndarray:
    """Centred on its mass, with a disc's area of radius 0.9, no point farther out than 1.4."""
    points = points - centre_of_mass(points)
    points = points * 0.9 / np.sqrt(_area(points) / np.pi)
    return points * min(1.0, 1.4 / np.hypot(*points.T).max())


def _area(points: np.ndarray) -> float:
    after = np.roll(points, -1, 0)
    return abs((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum()) / 2


# -------------------------------------------------------------------------------------------------- what is held out
def _filled(points: np.ndarray) -> np.ndarray:
    """(48, 48) bool: the outline centred on its mass at one area, so that size and place do not tell outlines apart."""
    points = (points - centre_of_mass(points)) / np.sqrt(_area(points))
    canvas = Image.new("1", (48, 48))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in 24 + 24 * points], fill=1)
    return np.asarray(canvas)


@lru_cache(1)
def _held_out() -> np.ndarray:
    """(k, 48, 48) bool: every held-out outline, turned by quarters and mirrored."""
    upright = [_filled(points) for points in OTHER_SHAPES.values()]
    return np.stack([np.rot90(side, k) for mask in upright for side in (mask, mask[:, ::-1]) for k in range(4)])


def resembles_held_out(points: np.ndarray) -> bool:
    mask, held_out = _filled(points), _held_out()
    overlap = (mask & held_out).sum((1, 2)) / (mask | held_out).sum((1, 2))
    return bool(overlap.max() > LIKENESS)
