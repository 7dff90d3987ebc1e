"""Fresh noise for a thing that is to come.

The noise that a clip was inverted to still knows what was there: from it the old thing's outline comes again. In the
old thing's place it can be drawn anew; then the same noise for the same part of the thing in every frame, so that
frames begin alike. Samples finer than the latents' cells move and scale with the thing, and each cell adds up those
that it holds, which keeps them normal (Chang et al., "How I Warped Your Noise", ICLR 2024, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .things import Thing

FINE = 8  # samples along a cell's side


def renewed(x: torch.Tensor, things: Sequence[Thing], part: float, seed: int) -> torch.Tensor:
    """Noise `x` (f, c, h, w), of whose variance `part`, 0..1, is fresh where a thing is."""
    generator = torch.Generator().manual_seed(seed)
    for thing in things:
        fresh = moving_noise(thing, x.shape[1:], generator).to(x)
        mixed = (1 - part) ** 0.5 * x + part**0.5 * fresh
        x = torch.lerp(x, mixed, thing.mask.to(x)[:, None])
    return x


def moving_noise(thing: Thing, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """(f, c, h, w), of `shape` (c, h, w) a frame: noise of deviation 1 that moves and scales with `thing`."""
    channels, height, width = shape
    side = 2 * FINE * max(height, width)
    samples = torch.randn(channels, side, side, generator=generator)

    def places(length: int, centre: torch.Tensor, zoom: torch.Tensor) -> torch.Tensor:
        """Which sample is at each of `length` cells' fine places: over and over beyond the last."""
        fine = (torch.arange(length * FINE) + 0.5) / FINE - (centre + 1) / 2 * length
        return (fine * zoom * FINE).floor().long() % side

    frames = []
    for x, y, size in zip(thing.x.cpu(), thing.y.cpu(), thing.size.cpu(), strict=True):
        zoom = thing.size.cpu().mean() / size
        rows, columns = places(height, y, zoom), places(width, x, zoom)
        seen = samples[:, rows[:, None], columns]
        cells = seen.unflatten(1, (height, FINE)).unflatten(3, (width, FINE)).sum((2, 4))
        frames.append(cells / cells.std())  # a sample that is seen twice counts twice
    return torch.stack(frames)
