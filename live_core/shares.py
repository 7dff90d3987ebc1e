"""The memory that several workers share: what each of them has, and how many there is room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from . import LiveError

CONTAINER = Path("/sys/fs/cgroup")  # Linux: of the container that a process is in


@dataclass(frozen=True)
class Place:
    """Where a worker is: `free` bytes on its `machine`, or on a device of its `own`, before it has its model."""

    machine: str
    free: float
    own: bool = False


@dataclass(frozen=True)
class Share:
    """What one of so many `workers`, who share it, has: `free` bytes beside its model, which takes `model`."""

    free: float
    workers: int
    model: float

    def fits(self, needed: float) -> int:
        """How many workers there is room for, each with a model, and with what is `needed` beside it.

        >>> Share(free=1e9, workers=6, model=1e9).fits(needed=3e9)
        3
        """
        return int(self.workers * (self.free + self.model) // (needed + self.model))


def share(places: Sequence[Place], coming: int, model: float) -> Share:
    """What every worker can count on: the least that one of the `places` has, so that all do their windows alike.
    `coming`: workers whose places are not known yet, who may come to any machine. LiveError where there is no room for
    each to have a `model` of so many bytes."""
    on = Counter(place.machine for place in places if not place.own)

    def at(place: Place) -> Share:
        workers = 1 if place.own else on[place.machine] + coming
        return Share(place.free / workers - model, workers, model)

    least, machine = min(((at(place), place.machine) for place in places), key=lambda each: each[0].free)
    if least.free > 0:
        return least
    total = least.workers * (least.free + model)
    raise LiveError(
        f"workers: {least.workers} on {machine}, each with a model of {model / 1e9:.1f} GB, but {total / 1e9:.1f} GB"
        f" are free there; {advice(least.fits(0))}"
    )


def advice(workers: int) -> str:
    """What would work where there is room for so many alone."""
    return f"give {workers}{' or fewer' * (workers > 1)}" if workers else "not even one has room, so close what uses it"


def place_of(machine: str, device: str) -> Place:
    """That of this process, which computes on `device`, "cuda" or "cpu"."""
    if device == "cuda":
        return Place(machine, torch.cuda.mem_get_info()[0], own=True)
    return Place(machine, free_memory())


def free_memory(container: Path = CONTAINER) -> float:
    """Bytes that this process could still have: of the machine, and of the container that it is in."""
    import psutil

    free = float(psutil.virtual_memory().available)
    try:
        most = (container / "memory.max").read_text().strip()
        if most == "max":
            return free
        used = int((container / "memory.current").read_text())
        told = dict(line.split() for line in (container / "memory.stat").read_text().splitlines())
        return min(free, int(most) - used + int(told.get("inactive_file", 0)))  # files it would let go of
    except (OSError, ValueError):  # no container, or one that does not say
        return free
