"""Where each frame of a long clip may be edited, read beside it, in the memory of one frame."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from . import LiveError
from .footage import Footage, Stills, fitted


class Masks(Footage):
    """The brightness of another clip's pictures, as many as `clip` has and of its size, or one for all. `empty`: the
    numbers of the frames read so far that have none. `name`: the input they are of."""

    def __init__(self, pictures: Footage, clip: Footage, name: str = "mask"):
        sizes = pictures.shape, clip.shape, clip.size
        if len(pictures) not in (1, len(clip)) or sizes[0] not in sizes[1:]:
            given, own, size = ("x".join(map(str, sides)) for sides in sizes)
            raise LiveError(
                f"{name}: {len(pictures)} frames of {given}; the clip has {len(clip)} frames of {own}, so give a mask"
                f" of that size or of {size}, with 1 or {len(clip)} frames"
            )
        self.of, self.empty = pictures, set[int]()
        self.size, self.shape, self.digest = clip.size, pictures.shape, pictures.digest
        self.moments, self.base, self.rate = clip.moments, clip.base, clip.rate

    def pictures(self, wanted: Collection[int]) -> Iterator[tuple[int, torch.Tensor]]:
        """(H, W), 0..1, each."""
        coming = self.of.pictures(wanted) if len(self.of) > 1 else self._one(wanted)
        for i, picture in coming:
            mask = fitted(picture, self.size).mean(-1)
            if not mask.any():
                self.empty.add(i)
            yield i, mask

    def _one(self, wanted: Collection[int]) -> Iterator[tuple[int, torch.Tensor]]:
        ((_, picture),) = self.of.pictures({0})
        for i in sorted(wanted):
            yield i, picture


def masks_of(mask: torch.Tensor, clip: Footage) -> Masks:
    """The same of a mask (f or 1, H, W) that is in memory."""
    return Masks(Stills(mask[..., None].expand(-1, -1, -1, 3), clip.rate), clip)
