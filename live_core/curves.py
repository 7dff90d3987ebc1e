"""What is descended, drawn as it falls: for a preview that comes every few steps, so without matplotlib, which takes as
long as a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

COLOURS = ((230, 120, 60), (80, 150, 240))
BACKGROUND, LINES = (24, 24, 24), (64, 64, 64)
HEAD = 16  # pixels above the curves, for their names
MARGIN = 1.5  # times the least and the greatest mean: steps beyond are drawn at the edge


def plot_losses(curves: dict[str, Sequence[float]], total: int, width: int = 512, height: int = 128) -> Image.Image:
    """A picture of up to two curves, losses above 0 step by step, on a logarithmic scale; its right end is step `total`
    of all of them together. Faint: each step's; strong: the mean of the last twentieth of them, whose last value is
    written beside the curve's name. A curve without steps is left out.
    """
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    given = {name: np.maximum(np.asarray(losses, float), 1e-12) for name, losses in curves.items() if len(losses)}
    if not given:
        return picture
    means = {name: _means(losses, max(1, len(losses) // 20)) for name, losses in given.items()}
    lowest = math.log10(min(values.min() for values in means.values()) / MARGIN)
    highest = math.log10(max(values.max() for values in means.values()) * MARGIN)

    def high(values: np.ndarray | float) -> np.ndarray:
        part = (np.log10(values) - lowest) / (highest - lowest)
        return HEAD + (1 - np.clip(part, 0, 1)) * (height - 1 - HEAD)

    for power in range(math.ceil(lowest), math.floor(highest) + 1):
        y = float(high(10.0**power))
        draw.line((0, y, width, y), LINES)
        draw.text((width - 30, y - 12), f"1e{power}", LINES)
    done = sum(len(losses) for losses in given.values())
    for i, (name, losses) in enumerate(given.items()):
        xs = np.arange(1, len(losses) + 1) / len(losses) * done / max(total, 1) * (width - 1)
        for values, colour, wide in ((losses, tuple(c // 3 for c in COLOURS[i]), 1), (means[name], COLOURS[i], 2)):
            draw.line(list(zip(xs.tolist(), high(values).tolist(), strict=True)), colour, wide)
        draw.text((6 + 150 * i, 2), f"{name} {means[name][-1]:.3g}", COLOURS[i])
    return picture


def _means(losses: np.ndarray, of: int) -> np.ndarray:
    """At each step that of the last `of` losses, or of as many as there are."""
    sums = np.concatenate([[0.0], losses.cumsum()])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - of, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
