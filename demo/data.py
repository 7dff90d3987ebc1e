"""The demo model's training pictures, drawn once and kept in a working folder as plain arrays."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from .world import SIZE, Clip, Thing, Track, make_picture

KINDS = {"one": 0.26, "two": 0.12, "wide": 0.08, "free": 0.40, "beside": 0.10, "empty": 0.04}
HELD_OUT = 1_000_000_000  # training pictures use seeds below, every evaluation seeds from here up
CELL = 8  # pixels to a side of a latent's cell
LOOK = 48  # side of a look in pixels


@dataclass
class Pictures:
    """Pictures of size s and what training needs to know of them; the arrays may be memory-mapped.

    `images` (n, s, s, 3) uint8. `masks` (n, 2, s/8, s/8) uint8, 0..255, cell by cell: of both things. `looks`
    (n, LOOK, LOOK, 4) uint8 RGBA: the thing that the caption has no words for, else the first, seen by itself.
    """

    images: np.ndarray
    masks: np.ndarray
    looks: np.ndarray
    captions: list[str]
    names: list[list[str]]  # what the caption calls each thing: "red ball", "thing"

    def __len__(self) -> int:
        return len(self.captions)


def draw_look(thing: Thing, rng: np.random.Generator) -> np.ndarray:
    """(LOOK, LOOK, 4) uint8 RGBA: the thing alone, its place, size and angle drawn anew: a look tells none of them."""
    radius, angle = LOOK * rng.uniform(0.32, 0.37), rng.uniform(-0.3, 0.3)
    x, y = LOOK / 2 + rng.uniform(-1.5, 1.5, 2)
    track = Track((float(x),), (float(y),), (float(radius),), (float(angle),))
    clip = Clip("road", (thing,), (track,), (0.0,), "", LOOK, LOOK, scale=0.5)
    alpha = clip.masks(0)[0][..., None]
    return np.concatenate([np.where(alpha > 0, clip.frames()[0], 128), 255 * alpha], 2).astype(np.uint8)


def _draw(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str, list[str]]:
    kind = np.random.default_rng(seed).choice(list(KINDS), p=list(KINDS.values()))
    clip, caption = make_picture(seed, str(kind), size)
    cells, names = size // CELL, [thing.name for thing in clip.things]
    masks, look = np.zeros((2, cells, cells), np.uint8), np.zeros((LOOK, LOOK, 4), np.uint8)
    for i in range(len(names)):
        masks[i] = 255 * clip.masks(i)[0].reshape(cells, CELL, cells, CELL).mean((1, 3))
    if names:
        look = draw_look(clip.things[names.index("thing") if "thing" in names else 0], np.random.default_rng((seed, 1)))
    return clip.frames()[0], masks, look, caption, names


def load_or_draw(folder: Path, count: int, size: int = SIZE) -> Pictures:
    """The first `count` training pictures, memory-mapped from `folder`, drawn there on all cores when absent."""
    folder = folder / f"pictures-{size}-{count}"
    if not folder.exists():
        _draw_into(folder.with_suffix(".draft"), count, size)
        folder.with_suffix(".draft").rename(folder)
    text = json.loads((folder / "text.json").read_text())
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("images", "masks", "looks"))
    return Pictures(*arrays, text["captions"], text["names"])


def _draw_into(folder: Path, count: int, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"images": (size, size, 3), "masks": (2, size // CELL, size // CELL), "looks": (LOOK, LOOK, 4)}
    arrays = [
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (count, *shape))
        for name, shape in shapes.items()
    ]
    captions, names = [], []
    with ProcessPoolExecutor() as pool:
        for i, (*rows, caption, things) in enumerate(pool.map(partial(_draw, size=size), range(count), chunksize=64)):
            for array, row in zip(arrays, rows, strict=True):
                array[i] = row
            captions.append(caption)
            names.append(things)
    for array in arrays:
        array.flush()
    (folder / "text.json").write_text(json.dumps({"captions": captions, "names": names}))


def sheet(images: np.ndarray, columns: int) -> Image.Image:
    """(n, h, w, 3) uint8 in rows of `columns`; an incomplete last row is left out."""
    rows = [np.concatenate(list(images[i : i + columns]), 1) for i in range(0, len(images) - columns + 1, columns)]
    return Image.fromarray(np.concatenate(rows))
