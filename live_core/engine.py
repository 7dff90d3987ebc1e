"""Who runs the windows of a long clip: this process, one after the other (`Here`), or workers on this and other
machines (`on_ray.OnRay`).

Windows know nothing of one another, and their size is the caller's choice, so their frames are the same to the bit
whoever runs them, in whatever order, and however many at a time: on devices of one kind, and on CPUs with as many
threads each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol, TypeVar

import torch

from . import LiveError
from .diffusion import Callback
from .pretrained import LiveModel

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[LiveModel, Task, Callback], Result]
# Windows done, in fractions; the latents last seen of one, or, from a worker, what its work gave.
Progress = Callable[[float, torch.Tensor], None]


class Engine(Protocol):
    def map(
        self, work: Work[Task, torch.Tensor], model: LiveModel, tasks: Iterable[Task], progress: Progress
    ) -> Generator[torch.Tensor, None, None]:
        """What ``work(model, task, callback)`` gives for each of the `tasks`, in their order.

        Tasks are drawn as they are begun, and no more are under way, or done and not yet asked for, than a few: memory
        does not grow with their number. `work` is a function at the top of a module of `live_core`, or a
        `functools.partial` of one. Notes of a task's work are this thread's, said before its result is given and
        after the one before; an interrupt stops all of it (`interrupts.heed`).
        """
        ...


class Here:
    """This process, one window after the other."""

    def map(
        self, work: Work[Task, torch.Tensor], model: LiveModel, tasks: Iterable[Task], progress: Progress
    ) -> Generator[torch.Tensor, None, None]:
        for done, task in enumerate(tasks):

            def shown(step: int, total: int, latents: torch.Tensor, done: int = done) -> None:
                progress(done + step / total, latents)

            yield work(model, task, shown)


def part_of(windows: Sequence[Task], part: str) -> Sequence[Task]:
    """Part "i/n" of a clip's windows, in whole windows and in their order; all for "". LiveError for what is no part,
    and for more parts than windows.

    >>> [list(part_of(range(5), part)) for part in ("1/2", "2/2", "")]
    [[0, 1], [2, 3, 4], [0, 1, 2, 3, 4]]
    """
    if not part:
        return windows
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", part)
    i, n = map(int, match.groups()) if match else (1, 0)
    if i > n:
        raise LiveError(f"part: {part!r:.40}; write i/n, such as 2/3 for the second of three parts, or nothing for all")
    if n > len(windows):
        raise LiveError(
            f"part: {part!r}, but the clip has {len(windows)} window{'s' * (len(windows) > 1)}; give"
            f" {len(windows)} part{'s' * (len(windows) > 1)} or fewer, or a smaller window"
        )
    return windows[len(windows) * (i - 1) // n : len(windows) * i // n]
