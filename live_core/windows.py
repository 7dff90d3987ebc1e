"""Long clips, window by window, in the memory of one: frames of other windows that those of a window read ride along.

Where riders read each other alone and start from the same noise, as key frames do (`frames.GroupPlan`), their path is
the same in every window: what a frame becomes depends on the riders and on itself, so windows are independent, and any
size gives the same frames but for rounding (`windows_of`). So it is where a frame reads the first, middle or last of
the clip alone. Where one reads the one before it, that is so of no two frames, and temporal attention, of a tuned
model, reads the window's frames: the riders are then frames next to the window's too (`windows_along`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import LiveError
from .checks import check_whole
from .frames import FramePlan


@dataclass(frozen=True)
class Window:
    """`riders`: frames of the clip, before those of the window, `frames`; `after`: riders after them."""

    riders: tuple[int, ...]
    frames: range
    after: tuple[int, ...] = ()

    @property
    def positions(self) -> list[int]:
        """The clip's frames as the U-Net sees them."""
        return [*self.riders, *self.frames, *self.after]

    @property
    def name(self) -> str:
        """What a message calls its frames: the clip's first is frame 1."""
        first, last = self.frames.start + 1, self.frames.stop
        return f"frame {last}" if first == last else f"frames {first} to {last}"

    @property
    def own(self) -> slice:
        """Where among `positions` the window's own frames are."""
        return slice(len(self.riders), len(self.riders) + len(self.frames))


@dataclass(frozen=True)
class WindowPlan(FramePlan):
    """A frame plan as it is within a window of a clip of `clip` frames: each of the frames at `positions` reads those
    that it reads in the clip. A rider may read one that does not ride; it then reads the nearest that does. Norms are
    each frame's own: what a window's frames pool another's do not, and the picture would change from one to the next.

    >>> WindowPlan(("first", "previous"), clip=9, positions=(0, 4, 5, 6)).sources(4, latent_prompt=False)
    [[0, 0], [0, 1], [0, 1], [0, 2]]
    >>> WindowPlan(("middle",), clip=9, positions=(4, 6, 7)).sources(3, latent_prompt=True)
    [[0, 1], [1], [1], [1]]
    """

    clip: int = 1
    positions: tuple[int, ...] = (0,)

    @property
    def whole(self) -> FramePlan:
        """The plan that it is of."""
        return FramePlan(self.slots, self.min_width, self.dense_blocks, self.norm, self.temporal)

    def like(self, other: FramePlan) -> bool:
        return self.whole.like(other)

    def places(self, frames: int) -> Sequence[int]:
        return self.positions

    def runs(self, frames: int, latent_prompt: bool) -> tuple[int, ...]:
        return (1,) * (frames + latent_prompt)

    def _named(self, slot: str, i: int, frames: int) -> list[int]:
        wanted = super()._named(slot, self.positions[i], self.clip)
        return [min(range(frames), key=lambda k: abs(self.positions[k] - j)) for j in wanted]


def in_window(plan: FramePlan, window: Window, frames: int) -> FramePlan:
    """`plan`, of a clip of so many `frames`, as it is within `window`."""
    if len(window.frames) == frames:
        return plan
    return WindowPlan(**vars(plan), clip=frames, positions=tuple(window.positions))


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


def windows_along(frames: int, size: int, plans: Sequence[FramePlan], neighbours: int = 0) -> list[Window]:
    """A clip of so many `frames` in windows of `size`, with those that ride: what a window's frames read by any of
    `plans`, and so many `neighbours` on either side. The last window may be shorter; frames before it ride in the
    places of those that it lacks. LiveError where a plan reads the whole clip, and where more frames would ride than a
    window has.

    >>> for window in windows_along(20, 8, [FramePlan(("first", "previous"))]):
    ...     print(window.riders, window.frames)
    () range(0, 8)
    (0, 7) range(8, 16)
    (0, 12, 13, 14, 15) range(16, 20)
    """
    check_whole("window", size, 1)
    return [window_at(start, frames, size, plans, neighbours) for start in range(0, frames, size)]


def window_at(start: int, frames: int, size: int, plans: Sequence[FramePlan], neighbours: int = 0) -> Window:
    """The one of these windows that starts at frame `start`; the same for any other start."""
    if size >= frames:
        return Window((), range(frames))
    own = range(start, min(start + size, frames))
    for plan in plans:
        if "all" in plan.slots or plan.dense_blocks:
            raise LiveError(
                f"window: {size} of {frames} frames, but in this method frames read all frames of the clip ({plan}), so"
                f" it has to be whole; give {frames} or more"
            )
    beside = set(range(max(0, own.start - neighbours), min(own.stop + neighbours, frames)))
    riders = beside.union(*(plan.reads(own, frames) for plan in plans)) - set(own)
    if len(riders) > size:
        raise LiveError(
            f"window: {size}, but {len(riders)} frames of others ride along with {Window((), own).name} ({plans[0]});"
            f" give {len(riders)} or more"
        )
    riders |= set(range(max(0, own.stop - size), own.start))
    return Window(
        tuple(sorted(j for j in riders if j < own.start)), own, tuple(sorted(j for j in riders if j >= own.stop))
    )
