"""Pictures of an edit that a stranger understands at once: source, photo and edit side by side, moving; and a gallery
of all cases.

    python -m demo.show output/demo-all bench/pictures/shipped.jpg    # the gallery of what `make demo-all` left there
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cases import CASES, FPS, Case
from .frames import read_video

SIDE = 256  # pixels to a side of a panel
GAP, TITLE, WORDS = 24, 34, 26  # between panels; heights of what stands above them and below
PAPER, INK, FAINT = "white", "#1a1a1a", "#767676"
GALLERY_SIDE, NAME = 96, 18


def moving(case: Case, source: np.ndarray, edited: np.ndarray) -> list[Image.Image]:
    """One picture a frame: source, photo and edit of `case`, each with a title and its prompt; clips (f, H, W, 3)
    uint8.
    """
    return [_panels(case, before, after) for before, after in zip(source, edited, strict=True)]


def write_moving(path: Path, pictures: list[Image.Image]) -> None:
    """An animated WebP that loops, at the clips' own pace."""
    pictures[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / FPS),
        loop=0,
        quality=82,
        method=6,
    )


def _panels(case: Case, before: np.ndarray, after: np.ndarray) -> Image.Image:
    photos = _beside([swap.photo.frames()[0] for swap in case.swaps])
    what = "photo" if len(case.swaps) == 1 else "photos"
    columns = [
        ("clip", _square(before), case.prompt),
        (what, _square(photos), ", ".join(swap.placeholder for swap in case.swaps)),
        ("edit", _square(after), case.edit_prompt),
    ]
    sheet = Image.new("RGB", (len(columns) * SIDE + (len(columns) + 1) * GAP, TITLE + SIDE + WORDS), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (title, picture, words) in enumerate(columns):
        left = GAP + i * (SIDE + GAP)
        sheet.paste(picture, (left, TITLE))
        draw.text((left + SIDE / 2, TITLE / 2), title, INK, ImageFont.load_default(20), "mm")
        draw.text((left + SIDE / 2, TITLE + SIDE + WORDS / 2), words, FAINT, ImageFont.load_default(13), "mm")
        if i:
            draw.text((left - GAP / 2, TITLE + SIDE / 2), ("+", "=")[i - 1], INK, ImageFont.load_default(26), "mm")
    return sheet


def _beside(photos: list[np.ndarray]) -> np.ndarray:
    """Several photos as one square, on white."""
    if len(photos) == 1:
        return photos[0]
    half = [np.asarray(Image.fromarray(photo).resize((SIDE // 2,) * 2, Image.Resampling.LANCZOS)) for photo in photos]
    strip = np.concatenate(half, 1)
    margin = (strip.shape[1] - strip.shape[0]) // 2
    return np.pad(strip, ((margin, margin), (0, 0), (0, 0)), constant_values=255)


def _square(picture: np.ndarray, side: int = SIDE) -> Image.Image:
    return Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)


def gallery(
    rows: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], report: dict[str, dict[str, float]]
) -> Image.Image:
    """A row a case, the failures too: photos, then three frames each of clip, edit and true answer; below its name what
    was measured.

    `rows`: case -> (clip, edit, truth), each (f, H, W, 3) uint8; `report`: case -> measures of the edit.
    """
    groups = ("clip", "edit", "true answer")
    side, columns = GALLERY_SIDE, 1 + 3 * len(groups)
    width, height = columns * side + (len(groups) + 1) * GAP, len(rows) * (side + NAME + 6) + NAME
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    starts = [GAP + side + GAP + i * (3 * side + GAP) for i in range(len(groups))]
    for start, title in zip([GAP, *starts], ["photo", *groups], strict=True):
        draw.text((start, NAME / 2), title, INK, font, "lm")
    for row, (name, clips) in enumerate(rows.items()):
        top = NAME + row * (side + NAME + 6)
        sheet.paste(_square(_beside([swap.photo.frames()[0] for swap in CASES[name].swaps]), side), (GAP, top))
        for start, frames in zip(starts, clips, strict=True):
            for i, frame in enumerate((0, len(frames) // 2, len(frames) - 1)):
                sheet.paste(_square(frames[frame], side), (start + i * side, top))
        draw.text((GAP, top + side + NAME / 2), f"{name}: {_said(report[name])}", INK, font, "lm")
    return sheet


def _said(row: dict[str, float]) -> str:
    return (
        f"recognised in {row['recognised']:.0%} of frames, edit error {row['edit_error']:.2f}, ghost {row['ghost']:.2f}"
    )


def main(folder: Path, path: Path) -> None:
    """The gallery of a folder that `python -m demo.run --all` wrote, saved at `path`."""
    report = json.loads((folder / "report.json").read_text())
    names = [name for name in CASES if f"LIVE | {name}" in report]
    rows = {
        name: (
            read_video(folder / f"source-{name}.mp4"),
            read_video(folder / f"{name}-live.mp4"),
            CASES[name].truth.frames(),
        )
        for name in names
    }
    gallery(rows, {name: report[f"LIVE | {name}"] for name in names}).save(path, quality=90, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
