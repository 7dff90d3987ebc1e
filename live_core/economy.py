"""How a computation of the U-Net saves memory, and which way it starts with: the first for which there is room by
estimate, or the one that was asked for. What runs out all the same goes on with the next (`memory.with_less`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .checks import check_choice
from .memory import halves
from .notes import note

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
    """`free()`: bytes free where networks compute; `asked`: one of `CHOICES`."""

    free: Callable[[], float]
    asked: str = AUTO


_room: ContextVar[Room | None] = ContextVar("room", default=None)


@contextmanager
def room(free: Callable[[], float], asked: str = AUTO) -> Iterator[None]:
    """What a computation in the `with` block starts with is chosen by the bytes that are `free()`, or is what was
    `asked`. Without, everything is computed at once until memory runs out."""
    check_choice("memory", asked, CHOICES)
    token = _room.set(Room(free, asked))
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
    free = given.free()
    takes = [needs(each) * LOST + beside for each in economies]
    least = min(range(len(takes)), key=takes.__getitem__)
    chosen = next((i for i, bytes in enumerate(takes) if bytes <= free), least)
    if chosen:
        same = "to the same bits" if economies[chosen].exact else "to the same but for rounding"
        note(
            f"memory: {stage} would take about {_gb(takes[0])} and {_gb(free)} are free, so it goes on"
            f" {economies[chosen]}, {same} ({_gb(takes[chosen])})"
        )
    if takes[chosen] > free:
        note(
            f"memory: {stage} takes about {_gb(takes[chosen])} at the least and {_gb(free)} are free, so it may run"
            " out; give fewer frames or a smaller size, or close what else uses it"
        )
    return chosen


def _gb(bytes: float) -> str:
    return f"{bytes / 1e9:.1f} GB"
