"""Measured rows, kept in a folder: what was measured once is not measured again, and several processes may share the
work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from demo.frames import side_by_side
from live_core.pretrained import LiveModel, fingerprint_of

UNEDITED = "unedited"
NULL_TEXT_STEPS = 5  # at most so many for each DDIM step; the notebooks have 10, vid2vid-zero 1
Run = Callable[[str], tuple[dict[str, float], np.ndarray]]


def key_of(*facts) -> str:
    """Names a measurement by all that it depends on."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def weights_of(model: LiveModel) -> str:
    """Names all the weights that a measurement depends on: the base's fingerprint leaves out the autoencoder."""
    return model.fingerprint + fingerprint_of(model.vae.state_dict())


def add_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    """What every bench is told: --steps, --part, --out."""
    parser.add_argument("--steps", type=int, default=25, help="DDIM steps")
    parser.add_argument(
        "--part", type=part, default="0/1", metavar="I/N", help="every Nth case from the Ith on, to share the work"
    )
    parser.add_argument("--out", type=Path, default=Path(out))


def part(text: str) -> slice:
    """ "I/N" as a slice. Raises ValueError unless 0 <= I < N."""
    index, count = map(int, text.split("/"))
    if not 0 <= index < count:
        raise ValueError(text)
    return slice(index, None, count)


class Rows:
    """<folder>/rows.jsonl, one JSON object a line with "case", "key", "variant" and the measures; the frames of each,
    side by side, in <folder>/frames/<case>-<key>.png."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "rows.jsonl"
        (folder / "frames").mkdir(parents=True, exist_ok=True)

    def read(self) -> list[dict]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def measure(self, cases: Iterable, keys: dict[str, str], prepare: Callable[[object], Run]) -> None:
        """Add the rows that are missing, `keys` naming each variant's. `prepare(case)` gives what runs variants by name
        on that case: name -> (measures, frames (f, H, W, 3) uint8)."""
        done = {(row["case"], row["key"]) for row in self.read()}
        for case in cases:
            missing = {name: key for name, key in keys.items() if (case.name, key) not in done}
            run = prepare(case) if missing else None
            for name, key in missing.items():
                measures, frames = run(name)
                # As a table of them is kept.
                measures = {measure: float(f"{value:.7g}") for measure, value in measures.items()}
                Image.fromarray(side_by_side(frames)).save(self._picture(case.name, key))
                with self.file.open("a") as file:
                    file.write(json.dumps({"case": case.name, "key": key, "variant": name, **measures}) + "\n")
                print(f"{case.name:14} {name:24} " + "  ".join(f"{k} {v:.3f}" for k, v in measures.items()), flush=True)

    def of(self, keys: dict[str, str]) -> dict[str, dict[str, dict]]:
        """variant -> case -> row, of the variants that have any, in the order of `keys`; cases by name, whoever
        measured them first.
        """
        measured: dict[str, dict[str, dict]] = {}
        for row in sorted(self.read(), key=lambda row: row["case"]):
            measured.setdefault(row["key"], {})[row["case"]] = row
        return {name: measured[key] for name, key in keys.items() if key in measured}

    def strip(self, row: dict) -> np.ndarray:
        """The row's frames as one wide frame (1, H, f W, 3) uint8."""
        return np.asarray(Image.open(self._picture(row["case"], row["key"])))[None]

    def _picture(self, case: str, key: str) -> Path:
        return self.folder / "frames" / f"{case}-{key}.png"
