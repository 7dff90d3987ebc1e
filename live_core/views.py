"""What a thing is learned from besides its photos: crops of them, and their mirror images."""

from __future__ import annotations

import torch

CROP = (0.75**2, 1.0)  # of the area: 75 to 100 % of the sides
SEED = 0  # the same photos have the same crops each time


@torch.no_grad()
def with_crops(
    photos: torch.Tensor, counts: torch.Tensor | None, crops: int = 0, flips: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Photos (n, H, W, 3), 0..1, then `crops` of each, drawn at random and scaled up to their size, and with `flips`
    the mirror images of all of these; and what counts in each, as `counts` (n, H, W), 0..1, has it, or None where all
    does.
    """
    from kornia.augmentation import RandomResizedCrop

    height, width = photos.shape[1:3]
    opacity = torch.ones_like(photos[..., 0]) if counts is None else counts.to(photos)
    views = torch.cat([photos, opacity[..., None]], -1).permute(0, 3, 1, 2)  # n 4 H W
    if crops:
        crop = RandomResizedCrop((height, width), scale=CROP, ratio=(width / height, width / height), p=1.0)
        with torch.random.fork_rng(devices=()):  # kornia draws from the generator that all share
            torch.default_generator.manual_seed(SEED)
            views = torch.cat([views, crop(views.repeat(crops, 1, 1, 1))])
    if flips:
        views = torch.cat([views, views.flip(-1)])
    views = views.clamp(0, 1).permute(0, 2, 3, 1)
    return views[..., :3], None if counts is None else views[..., 3]
