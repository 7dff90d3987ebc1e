"""How much of an edit's error is size and tilt, which neither photo nor clip tells.

    python -m bench.quality.posed output/quality        # of the frames that the bench kept there

The true answer is drawn again with its first thing larger or smaller, and turned, alike in all frames and about its
centre of mass. Edit error is asked against the one that comes nearest, and divided by the same as before. Taking the
best of many lowers it for a wrong thing too, so one method is to be held to another, not to 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from demo.cases import Case
from demo.measure.errors import edit_error
from demo.measure.places import SEEN, place

from .cases import make
from .rows import Rows

FACTORS = (0.71, 0.78, 0.86, 0.93, 1.0, 1.08, 1.17, 1.28, 1.41)
TILTS = (-30, -20, -10, 0, 10, 20, 30)  # degrees


def errors(case: Case, edits: list[np.ndarray]) -> list[tuple[float, float, float, float]]:
    """For each of `edits` (f, H, W, 3), 0..255: its edit error, that against the pose that comes nearest, and this
    pose's factor and tilt."""
    where, truth = place(case, 0), case.truth.frames().astype(float)
    unedited = np.abs(case.clip.frames() - truth)[where].sum()
    own = [edit_error(case, edit, 0) for edit in edits]
    best = [(error, 1.0, 0.0) for error in own]
    for factor, tilt in product(FACTORS, TILTS):
        clip = case.truth.posed(0, factor, np.deg2rad(tilt))
        frames, here = clip.frames().astype(float), where | (clip.masks(0) >= SEEN)
        for i, edit in enumerate(edits):
            best[i] = min(best[i], (float(np.abs(edit - frames)[here].sum() / unedited), factor, float(tilt)))
    return [(error, *found) for error, found in zip(own, best, strict=True)]


def kept(folder: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """(case, variant, frames (f, H, W, 3)) of every row in a bench's folder."""
    rows = Rows(folder)
    for row in rows.read():
        strip = rows.strip(row)[0]
        yield row["case"], row["variant"], np.stack(np.split(strip, strip.shape[1] // strip.shape[0], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="where the bench kept rows and frames")
    by_case: dict[str, dict[str, np.ndarray]] = {}
    for folder in parser.parse_args().folders:
        for name, variant, frames in kept(folder):
            if variant in by_case.get(name, {}):
                parser.error(
                    f"{folder}: {variant} was measured twice in {name}, by two models or two settings; keep one"
                )
            by_case.setdefault(name, {})[variant] = frames
    found: dict[str, list] = {}
    for name, edits in by_case.items():
        kind, index = name.rsplit("-", 1)
        for variant, row in zip(edits, errors(make(kind, int(index)), list(edits.values())), strict=True):
            found.setdefault(variant, []).append(row)
    print("| variant | cases | edit error | at the best size and tilt | that size |\n|---|---|---|---|---|")
    for variant, rows in found.items():
        own, best, factor, _ = np.array(rows).T
        print(f"| {variant} | {len(rows)} | {own.mean():.3f} | {best.mean():.3f} | {factor.mean():.2f} |")


if __name__ == "__main__":
    main()
