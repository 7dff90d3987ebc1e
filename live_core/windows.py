"""Long clips, window by window, in the memory of one: frames that all others read ride along in every window.

Riders read each other alone, and start from the same noise, so their path is the same in every window. What a frame
becomes then depends on the riders and on itself, not on who shares its window: windows are independent, and any size
gives the same frames but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import LiveError
from .checks import check_whole
from .frames import FramePlan


@dataclass(frozen=True)
class Window:
    """`riders`: frames of the clip, before those of the window, `frames`."""

    riders: tuple[int, ...]
    frames: range

    @property
    def positions(self) -> list[int]:
        """The clip's frames as the U-Net sees them."""
        return [*self.riders, *self.frames]


def windows_of(frames: int, size: int, plans: Sequence[FramePlan]) -> list[Window]:
    """A clip of so many `frames` in windows of `size`, the last of them shorter where it must be, with the riders of
    all `plans`, of which the first is to have the most. LiveError where a plan reads what no window has."""
    check_whole("window", size, 1)
    riders = plans[0].riders(frames)
    if size < frames:
        for plan in plans:
            _check_independent(plan, len(riders), size, frames)
    return [Window(riders, range(start, min(start + size, frames))) for start in range(0, frames, size)]


def _check_independent(plan: FramePlan, riders: int, size: int, frames: int) -> None:
    """LiveError unless every frame reads riders and itself alone, and the riders each other."""
    rows = plan.sources(riders + 2, False)
    alone = all(set(row) <= {*range(riders), *([i] if i >= riders else [])} or row == [i] for i, row in enumerate(rows))
    if not alone or plan.temporal or set(plan.runs(riders + 2, False)) != {1}:
        raise LiveError(
            f"window: {size} of {frames} frames, but in this method frames see others of the clip ({plan}), so it has"
            f" to be whole; give {frames} or more"
        )
