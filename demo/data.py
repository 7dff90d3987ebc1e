"""The demo model's training pictures, drawn once and kept in a working folder as plain arrays."""
from __future__ import annotations

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .world import SIZE, make_picture

KINDS = {"one": 0.55, "two": 0.22, "wide": 0.18, "empty": 0.05}
HELD_OUT = 1_000_000_000                     # training pictures use seeds below, every evaluation seeds from here up
MAP = 16                                     # side of the masks kept for the localisation loss


@dataclass
class Pictures:
    """`images` (n, SIZE, SIZE, 3) uint8; `masks` (n, 2, MAP, MAP) 0..255: of the first and second thing; `captions`, `names`."""
    images: np.ndarray
    masks: np.ndarray
    captions: list[str]
    names: list[list[str]]                   # what the caption calls each thing: "red ball", "thing"

    def __len__(self) -> int:
        return len(self.captions)


def _draw(seed: int) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    kind = np.random.default_rng(seed).choice(list(KINDS), p=list(KINDS.values()))
    clip, caption = make_picture(seed, str(kind))
    masks = np.zeros((2, MAP, MAP), np.uint8)
    for i in range(len(clip.things)):
        masks[i] = 255 * clip.masks(i)[0].reshape(MAP, SIZE // MAP, MAP, SIZE // MAP).mean((1, 3))
    return clip.frames()[0], masks, caption, [thing.name for thing in clip.things]


def draw_pictures(seeds: range, processes: int = 1) -> Pictures:
    with ProcessPoolExecutor(processes) as pool:
        rows = list(pool.map(_draw, seeds, chunksize=64))
    images, masks, captions, names = zip(*rows)
    return Pictures(np.stack(images), np.stack(masks), list(captions), list(names))


def load_or_draw(folder: Path, count: int) -> Pictures:
    """The first `count` training pictures, memory-mapped from `folder`, drawn there when absent."""
    folder = folder / f"pictures-{count}"
    if not folder.exists():
        pictures = draw_pictures(range(count), os.cpu_count() or 1)
        draft = folder.with_suffix(".draft")
        draft.mkdir(parents=True, exist_ok=True)
        np.save(draft / "images.npy", pictures.images)
        np.save(draft / "masks.npy", pictures.masks)
        (draft / "text.json").write_text(json.dumps({"captions": pictures.captions, "names": pictures.names}))
        draft.rename(folder)
    text = json.loads((folder / "text.json").read_text())
    return Pictures(np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "masks.npy", mmap_mode="r"), text["captions"], text["names"])
