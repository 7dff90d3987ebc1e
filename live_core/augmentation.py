"""Many pairs out of one: the picture before an edit and the picture after it under one random transform (VIA, section
4.1).

The paper's: a rotation of up to 5 degrees, a shift of up to 5 %, a shear of up to 10 degrees, then a crop to 75 to
100 % of the size. Its crop is read as one of the sides, and so 56 to 100 % of the area; what comes in from beyond the
border is mirrored, and the crop has the picture's proportions: the paper says nothing of these.
"""

from __future__ import annotations

import torch

from .views import random_crop, seeded

DEGREES, SHIFT, SHEAR = 5, 0.05, 10


class Pairs:
    """`before`, `after` (H, W, 3), 0..1."""

    def __init__(self, before: torch.Tensor, after: torch.Tensor):
        from kornia.augmentation import AugmentationSequential, RandomAffine

        self.size = before.shape[0], before.shape[1]
        self._pair = [picture.detach().float().cpu().permute(2, 0, 1)[None] for picture in (before, after)]
        self._transform = AugmentationSequential(
            RandomAffine(DEGREES, (SHIFT, SHIFT), shear=SHEAR, padding_mode="reflection", p=1.0),
            random_crop(*self.size),
            data_keys=["input", "input"],
        )

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(count, H, W, 3), 0..1, in main memory: before and after, each pair under a transform of its own."""
        seed = int(torch.randint(2**31, (), generator=generator))
        with seeded(seed):
            before, after = self._transform(*(picture.expand(count, -1, -1, -1) for picture in self._pair))
        return before.clamp(0, 1).permute(0, 2, 3, 1), after.clamp(0, 1).permute(0, 2, 3, 1)
