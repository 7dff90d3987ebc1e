"""Pictures to look at: latents by a linear map to RGB, fitted to one decoded frame of the same model, curves over
frames, and rows of pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from . import LiveError
from .inspect import scaled
from .interrupts import heed
from .notes import note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP, HIGHEST = 4, 2**15  # pixels between a sheet's pictures, and of a sheet: matplotlib draws twice that


def fit_colours(latents: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """(c + 1, 3): least squares from `latents` (f, c, h, w) and a constant to `pictures` (f, H, W, 3) shrunk."""
    height, width = latents.shape[-2:]
    small = F.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).to(latents), (height, width))
    return torch.linalg.lstsq(_with_constant(latents).cpu(), small.permute(0, 2, 3, 1).reshape(-1, 3).cpu()).solution


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).float()
    return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)


def contact_sheet(seen: torch.Tensor, colours: torch.Tensor | None, most: int = 8, side: int = 128) -> np.ndarray:
    """Up to `most` of `seen`, evenly chosen, each `side` pixels high, in rows of which there are so many that the sheet
    is nearest to twice as wide as high, and never less wide: (H, W, 3) uint8. What is left is black. They are latents
    (f, c, h, w) of those `colours`, or, without, pictures (f, H, W, 3), 0..1.
    """
    rgb = seen[torch.linspace(0, len(seen) - 1, min(most, len(seen))).round().long()]
    if colours is not None:
        size = len(rgb), *rgb.shape[-2:], 3
        rgb = (_with_constant(rgb) @ colours.to(rgb.device)).clamp(0, 1).reshape(size)
    height, width = rgb.shape[1:3]
    big = F.interpolate(rgb.permute(0, 3, 1, 2), (side, max(1, round(side * width / height))), mode="bilinear")
    count, shape = len(big), big.shape[-1] / side
    rows = min(range(1, count + 1), key=lambda r: abs(math.log(-(-count // r) * shape / r / 2)))
    columns = -(-count // rows)
    big = torch.cat([big, big.new_zeros(rows * columns - count, *big.shape[1:])])
    sheet = torch.cat([torch.cat(list(row), -1) for row in big.split(columns)], -2)
    margin = max(0, 2 * sheet.shape[-2] - sheet.shape[-1])
    sheet = F.pad(sheet, (margin // 2, margin - margin // 2))
    return (sheet.permute(1, 2, 0) * 255).byte().cpu().numpy()


def plot_lines(curves: dict[str, torch.Tensor], width: int = 640, height: int = 160) -> torch.Tensor:
    """One panel a curve, values over frames: a picture (1, H, W, 3), 0..1, `height` pixels a panel."""
    from matplotlib.figure import Figure

    figure = Figure((width / 100, height / 100 * len(curves)), dpi=100, layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(curves), squeeze=False)[:, 0], curves.items(), strict=True):
        axes.plot(range(len(values)), values.float().cpu().numpy(), marker="o")
        axes.set_ylabel(_written(name), parse_math=False, usetex=False)
        axes.grid(alpha=0.3)
    axes.set_xlabel("frame")
    return _drawn(figure)


def plot_rows(
    cell: Callable[[int, int, tuple[int, int]], torch.Tensor],
    shape: tuple[int, int, int, int],
    labels: Sequence[str],
    most: int = 8,
    side: int = 160,
) -> torch.Tensor:
    """One picture (1, H', W', 3), 0..1: a row for each of r labels, which stand on the left as they are written, and in
    it up to `most` evenly chosen of f frames, their numbers on top. `cell` draws frame i of row r at a size (h, w), as
    (h, w, 3), 0..1; `shape`: (r, f, H, W). A frame is `side` pixels on its longer side, or fewer where the sheet would
    be too high."""
    from matplotlib.figure import Figure

    rows, frames, *picture = shape
    fits = HIGHEST // rows - GAP
    if fits < 8:
        raise LiveError(f"which: {rows} rows are more than a sheet can hold; choose fewer words or rows")
    if side * picture[0] / max(picture) > fits:
        note(f"which: {rows} rows, so the sheet's pictures are small; choose fewer words or rows")
    side = min(side, round(fits * max(picture) / picture[0]))
    labels = ["\n".join(_shortened(line) for line in _written(label).split("\n")) for label in labels]
    left, top = 16 + 7 * max(len(line) for label in labels for line in label.split("\n")), 24
    chosen = torch.linspace(0, frames - 1, min(most, frames)).round().long().tolist()
    height, width = (max(1, round(side * n / max(picture))) for n in picture)
    across, down = len(chosen) * (width + GAP), rows * (height + GAP)
    size = (left + across, top + down)
    figure = Figure((size[0] / 100, size[1] / 100), dpi=100)
    axes = figure.add_axes((left / size[0], 0, across / size[0], down / size[1]), xlim=(0, across), ylim=(down, 0))
    axes.set_xticks([(i + 0.5) * (width + GAP) for i in range(len(chosen))], [f"frame {i + 1}" for i in chosen])
    axes.set_yticks([(i + 0.5) * (height + GAP) for i in range(rows)], labels, parse_math=False, usetex=False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    sheet = _drawn(figure)  # without the pictures, of which matplotlib would make many copies
    for row in range(rows):
        for column, frame in enumerate(chosen):
            heed()
            x, y = left + column * (width + GAP), top + row * (height + GAP)
            sheet[0, y : y + height, x : x + width] = cell(row, frame, (height, width)).clamp(0, 1)
    return sheet


def plot_captioned(
    pictures: Sequence[torch.Tensor], captions: Sequence[str], columns: int, marked: int, side: int = 200
) -> torch.Tensor:
    """One picture (1, H', W', 3), 0..1: `pictures` (H, W, 3), 0..1, of one size, in rows of so many, each with a line
    below it; that of number `marked` is bold. A picture is `side` pixels on its longer side."""
    from matplotlib.figure import Figure

    height, width = (max(1, round(side * n / max(pictures[0].shape[:2]))) for n in pictures[0].shape[:2])
    line, wide = 22, max(width, side) + GAP
    rows = -(-len(pictures) // columns)
    size = columns * wide, rows * (height + line)
    if max(size) > HIGHEST:
        raise LiveError(f"sheet: {len(pictures)} pictures are more than a sheet can hold; make fewer")
    figure = Figure((size[0] / 100, size[1] / 100), dpi=100)
    places = [(i % columns * wide, i // columns * (height + line)) for i in range(len(pictures))]
    for i, (caption, (x, y)) in enumerate(zip(captions, places, strict=True)):
        at = (x + width / 2) / size[0], 1 - (y + height + line / 2) / size[1]
        weight = "bold" if i == marked else "normal"
        figure.text(*at, _written(caption), size=8, weight=weight, ha="center", va="center", parse_math=False)
    sheet = _drawn(figure)  # without the pictures, of which matplotlib would make many copies
    for picture, (x, y) in zip(pictures, places, strict=True):
        heed()
        sheet[0, y : y + height, x : x + width] = scaled(picture.cpu(), (height, width)).clamp(0, 1)
    return sheet


def _written(text: str) -> str:
    """`text`, with halves of characters (lone surrogates), which no font has, as they are written in Python."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shortened(line: str, most: int = 48) -> str:
    return line if len(line) <= most else line[: most - 3] + "..."


def _drawn(figure: Figure) -> torch.Tensor:
    """(1, H, W, 3), 0..1"""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[None, ..., :3].copy()).float().div_(255)
