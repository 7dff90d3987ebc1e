"""Doing with less when memory runs out, for the length of one run.

A stage is written as several ways to compute the same thing, each with less memory than the one before. The first is
taken until memory runs out; then the next, and by every later call of that stage in the same run (`one_run`), which
would only run out again. The next run starts with the first way: what another needed is no concern of its.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from .interrupts import heed
from .notes import note

T = TypeVar("T")
Ways = Sequence[tuple[str, Callable[[], T]]]  # (how, compute); the first one's how is not read

# Stage -> the way that it has come to in this run.
_reached: ContextVar[dict[str, int] | None] = ContextVar("reached", default=None)
_chosen: ContextVar[dict[Hashable, int] | None] = ContextVar("chosen", default=None)  # see `once_a_run`


class NotEnoughMemory(torch.OutOfMemoryError):
    """The last way of a stage ran out of memory too."""


@contextmanager
def one_run(apart: bool = False) -> Iterator[None]:
    """What runs short of memory goes on with less to the end of the outermost of these blocks, or, `apart`, of this
    one. Also a decorator.
    """
    if _reached.get() is not None and not apart:
        yield
        return
    token, token_of_chosen = _reached.set({}), _chosen.set({})
    try:
        yield
    finally:
        _reached.reset(token)
        _chosen.reset(token_of_chosen)


def once_a_run(key: Hashable, compute: Callable[[], int]) -> int:
    """What `compute` gave when it was first asked for this `key` in this run."""
    chosen = _chosen.get()
    if chosen is None:
        return compute()
    if key not in chosen:
        chosen[key] = compute()
    return chosen[key]


def with_less(stage: str, ways: Ways[T], first: int = 0) -> T:
    """What the first of `ways` gives for which there is memory, of those from `first` on. Those that ran out are over
    for this run, and a note says `how` the `stage` went on. A way may be computed twice, once in part: it must leave
    nothing half done. NotEnoughMemory when the last runs out.
    """
    with one_run():
        reached = _reached.get()
        assert reached is not None  # there is one within one_run
        while True:
            way = min(max(reached.get(stage, 0), first), len(ways) - 1)
            try:
                return ways[way][1]()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if way + 1 == len(ways):
                    raise (
                        error
                        if isinstance(error, NotEnoughMemory)
                        else NotEnoughMemory(
                            f"memory: not enough for {stage} ({error}); give fewer frames or a smaller size, or close"
                            " what else uses it"
                        )
                    ) from error
            reached[stage] = way + 1
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            note(f"memory ran out: {stage} went on {ways[way + 1][0]}")


@one_run()
def in_parts(stage: str, compute: Callable[[slice], torch.Tensor], count: int, most: int) -> torch.Tensor:
    """What `compute` gives for `most` of `count` frames at a time, joined. Where memory runs out for half as many, and
    half of those, to one.
    """
    done: list[torch.Tensor] = []
    start = 0
    while start < count or not done:
        heed()
        done.append(
            with_less(
                stage,
                [
                    (f"with {n} frame{'s' * (n > 1)} at a time", partial(compute, slice(start, start + n)))
                    for n in (most, *halves(most))
                ],
            )
        )
        start += len(done[-1])
    return torch.cat(done)


@one_run()
def each_frame(stage: str, compute: Callable[..., torch.Tensor], *clips: torch.Tensor) -> torch.Tensor:
    """What `compute` gives for every frame of `clips`, (f, ...) each, in main memory. Where the frames' device has no
    room, by the CPU.
    """

    def by_the_cpu(*frames: torch.Tensor) -> torch.Tensor:
        return compute(*(frame.cpu() for frame in frames))

    out: torch.Tensor | None = None
    for i, frames in enumerate(zip(*clips, strict=True)):
        heed()
        result = with_less(
            stage,
            [
                ("", partial(compute, *frames)),
                ("on the CPU, to the same result", partial(by_the_cpu, *frames)),
            ],
        )
        out = torch.empty(len(clips[0]), *result.shape, dtype=result.dtype) if out is None else out
        out[i] = result
    assert out is not None  # a clip has one frame at least
    return out


def copies(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """A copy of each, of `dtype` if given, without gradients: where it lies, or in main memory if there is no room."""

    def copied(device: str | None) -> dict[str, torch.Tensor]:
        return {name: t.detach().to(device or t.device, dtype or t.dtype, copy=True) for name, t in tensors.items()}

    return with_less("the copy of the weights", [("", lambda: copied(None)), ("in main memory", lambda: copied("cpu"))])


def halves(count: int) -> list[int]:
    """Half of `count`, rounded up, half of that, and so on to 1.

    >>> halves(10), halves(1)
    ([5, 3, 2, 1], [])
    """
    found = []
    while count > 1:
        count = (count + 1) // 2
        found.append(count)
    return found


Call = Callable[..., Any]  # `plainly` or `on_cpu`


def plainly(network: nn.Module, *inputs: torch.Tensor, **options: torch.Tensor) -> Any:
    """`network(*inputs, **options)`"""
    return network(*inputs, **options)


def on_cpu(network: nn.Module, *inputs: torch.Tensor, **options: torch.Tensor) -> Any:
    """`network(*inputs, **options)` by the CPU in float32; its own weights stay where and as they are."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to("cpu", torch.float32) if tensor.is_floating_point() else tensor.cpu()

    tensors = {name: moved(t) for name, t in (*network.named_parameters(), *network.named_buffers())}
    return torch.func.functional_call(
        network, tensors, tuple(map(moved, inputs)), {name: moved(x) for name, x in options.items()}
    )


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch's allocator and Python have errors of their own; kernels, cuBLAS and the CPU's allocator that find no
    room say so only in words.
    """
    words = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "not enough memory", "can't allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(said in str(error) for said in words)
