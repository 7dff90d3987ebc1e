"""What a thing is learned from besides its photos: crops of them, and their mirror images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from kornia.augmentation import RandomResizedCrop

CROP = (0.75**2, 1.0)  # of the area: 75 to 100 % of the sides
SEED = 0  # the same photos have the same crops each time


def random_crop(height: int, width: int) -> RandomResizedCrop:
    """A crop at random, of the proportions that it is scaled up to, and of `CROP` of the area."""
    from kornia.augmentation import RandomResizedCrop

    return RandomResizedCrop((height, width), scale=CROP, ratio=(width / height, width / height), p=1.0)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """kornia draws from the generator that all share: in the `with` block it is seeded, after it as it was."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def with_crops(
    photos: torch.Tensor, counts: torch.Tensor | None, crops: int = 0, flips: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Photos (n, H, W, 3), 0..1, then `crops` of each, drawn at random and scaled up to their size, and with `flips`
    the mirror images of all of these; and what counts in each, as `counts` (n, H, W), 0..1, has it, or None where all
    does.
    """
    opacity = torch.ones_like(photos[..., 0]) if counts is None else counts.to(photos)
    views = torch.cat([photos, opacity[..., None]], -1).permute(0, 3, 1, 2)  # n 4 H W
    if crops:
        crop = random_crop(*photos.shape[1:3])
        with seeded(SEED):
            views = torch.cat([views, crop(views.repeat(crops, 1, 1, 1))])
    if flips:
        views = torch.cat([views, views.flip(-1)])
    views = views.clamp(0, 1).permute(0, 2, 3, 1)
    return views[..., :3], None if counts is None else views[..., 3]
