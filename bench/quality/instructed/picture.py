"""The report's picture of edits by instruction, from the frames that a run of the bench has kept.

    python -m bench.quality.instructed.picture output/quality-instructed bench/pictures/instructed.jpg

Clips are not chosen: they are the first of every kind. Each has four of its frames as they are, as they should be, and
as each row made them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..rows import Rows
from .cases import KINDS, InstructCase, make

SHOWN = {"per-frame": "frame by frame", "swap": "gather-and-swap", "via": "VIA"}
SIDE, EVERY, COLUMNS = 104, 2, 2  # SIDE: pixels of a frame; EVERY: which frames
LABELS, TITLE, GAP = 104, 22, 14  # pixels


def block(log: Rows, case: InstructCase) -> Image.Image:
    """The instruction, and a row each of the clip, a right answer and what was made of it."""
    kept = {row["variant"]: row for row in log.read() if row["case"] == case.name}
    strips = {"clip": case.clip.frames(), "a right answer": case.after.frames()}
    for name, said in SHOWN.items():
        if name in kept:
            strips[said] = np.stack(np.split(log.strip(kept[name])[0], len(case.clip), axis=1))
    width = LABELS + SIDE * -(-len(case.clip) // EVERY)
    sheet = Image.new("RGB", (width, TITLE + SIDE * len(strips)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((LABELS, 3), case.text, fill="black", font=font)
    for row, (name, frames) in enumerate(strips.items()):
        draw.text((2, TITLE + SIDE * row + SIDE // 2 - 8), name, fill="black", font=font)
        for column, frame in enumerate(frames[::EVERY]):
            small = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (LABELS + SIDE * column, TITLE + SIDE * row))
    return sheet


def main(folder: Path, path: Path) -> None:
    blocks = [block(Rows(folder), make(kind, 0)) for kind in KINDS]
    width, height = blocks[0].width + GAP, max(each.height for each in blocks) + GAP
    sheet = Image.new("RGB", (COLUMNS * width - GAP, -(-len(blocks) // COLUMNS) * height - GAP), "white")
    for i, each in enumerate(blocks):
        sheet.paste(each, (i % COLUMNS * width, i // COLUMNS * height))
    sheet.save(path, quality=84, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
