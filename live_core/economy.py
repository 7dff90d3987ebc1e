"""How a computation of the U-Net saves memory, and which way it starts with: the first for which there is room by
estimate, or the one that was asked for. What runs out all the same goes on with the next (`memory.with_less`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from . import LiveError
from .checks import check_choice
from .memory import halves
from .notes import note
from .shares import Share, advice

# What may be asked: the first way that fits; the first whatever fits; or the first way of that kind.
AUTO, NONE, CHECKPOINTING, APART, PARTS = "auto", "none", "checkpointing", "streams apart", "in parts"
CHOICES = (AUTO, NONE, CHECKPOINTING, APART, PARTS)
LOST = 1.1  # what an allocator takes for what it is asked


@dataclass(frozen=True)
class Economy:
    """`apart`: whether the streams of a batch run one after another; `rows_at_once`: how many frames' largest tensors
    are made at a time, None for all; `checkpointing`: whether the backward pass computes activations again."""

    apart: bool = False
    rows_at_once: int | None = None
    checkpointing: bool = False

    def __str__(self) -> str:
        n = self.rows_at_once
        said = [
            *(["one stream after another"] if self.apart else []),
            *([f"with {n} frame{'s' * (n > 1)} at a time"] if n else []),
            *(["with activations computed again in the backward pass"] if self.checkpointing and not n else []),
            *(["activations computed again"] if self.checkpointing and n else []),
        ]
        return " and ".join(said)

    @property
    def kind(self) -> str:
        if self.rows_at_once:
            return PARTS
        return APART if self.apart else CHECKPOINTING if self.checkpointing else NONE

    @property
    def exact(self) -> bool:
        """Whether the result is the same to the bit."""
        return self.kind in (NONE, CHECKPOINTING)


def forwards(streams: int, frames: int) -> list[Economy]:
    """The ways of a forward, each with less memory than the one before."""
    apart = streams > 1
    return [
        Economy(),
        *([Economy(apart)] if apart else []),
        *(Economy(apart, n) for n in halves(frames)),
    ]


def backwards(frames: int) -> list[Economy]:
    """The same, of a forward with its backward pass."""
    return [
        Economy(),
        Economy(checkpointing=True),
        *(Economy(rows_at_once=n, checkpointing=True) for n in halves(frames)),
    ]


@dataclass(frozen=True)
class Room:
    """`free()`: bytes free where networks compute; `asked`: one of `CHOICES`; `share`: of a worker beside others."""

    free: Callable[[], float]
    asked: str = AUTO
    share: Share | None = None


_room: ContextVar[Room | None] = ContextVar("room", default=None)


@contextmanager
def room(free: Callable[[], float], asked: str = AUTO) -> Iterator[None]:
    """What a computation in the `with` block starts with is chosen by the bytes that are `free()`, or is what was
    `asked`. Without, everything is computed at once until memory runs out."""
    check_choice("memory", asked, CHOICES)
    with _in(Room(free, asked)):
        yield


@contextmanager
def shared_room(share: Share, asked: str = AUTO) -> Iterator[None]:
    """The same for a worker that has this `share` of its machine's memory. A computation for which that is too little
    in every way is refused: the system would end the workers, or others."""
    with _in(Room(lambda: share.free, asked, share if share.workers > 1 else None)):
        yield


def asked_here() -> str:
    """What was asked in the `room` that this is in."""
    given = _room.get()
    return AUTO if given is None else given.asked


@contextmanager
def _in(given: Room) -> Iterator[None]:
    token = _room.set(given)
    try:
        yield
    finally:
        _room.reset(token)


def first_way(stage: str, economies: Sequence[Economy], needs: Callable[[Economy], float], beside: float = 0) -> int:
    """Which of `economies` a `stage` starts with. `needs`: bytes that one takes, besides `beside`, which are still to
    be taken whatever is chosen. A note says what was chosen and why, where it is not the first."""
    given = _room.get()
    if given is None or given.asked == NONE:
        return 0
    if given.asked != AUTO:
        return next((i for i, each in enumerate(economies) if each.kind == given.asked), 0)
    free, share = given.free(), given.share
    there = f"each of {share.workers} workers has {_gb(free)}" if share else f"{_gb(free)} are free"
    takes = [needs(each) * LOST + beside for each in economies]
    least = min(range(len(takes)), key=takes.__getitem__)
    chosen = next((i for i, bytes in enumerate(takes) if bytes <= free), least)
    if takes[chosen] > free and share:
        raise LiveError(
            f"workers: {share.workers} share a machine's memory, so each has {_gb(free)} beside its model, and {stage}"
            f" takes about {_gb(takes[chosen])} at the least; {advice(share.fits(takes[chosen]))}, or give a smaller"
            " window or a smaller size"
        )
    if chosen:
        same = "to the same bits" if economies[chosen].exact else "to the same but for rounding"
        note(
            f"memory: {stage} would take about {_gb(takes[0])} and {there}, so it goes on"
            f" {economies[chosen]}, {same} ({_gb(takes[chosen])})"
        )
    if takes[chosen] > free:
        note(
            f"memory: {stage} takes about {_gb(takes[chosen])} at the least and {there}, so it may run"
            " out; give fewer frames or a smaller size, or close what else uses it"
        )
    return chosen


def _gb(bytes: float) -> str:
    return f"{bytes / 1e9:.1f} GB"
