"""How long a computation takes, in ways that a busy machine does not change much, and how long it would have to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten
Compute = Callable[[], object]
PRODUCTS = 5  # of matrices in a turn, so that the clock's own grain is none of it


def seconds(compute: Compute, device: torch.device | str = "cpu") -> float:
    """On a CPU this process's time on it, which other processes take no part in; on a card the time until it is done.
    With one thread the first is what an idle machine would take, but for caches shared with others."""
    on_cpu = torch.device(device).type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    if not on_cpu:
        torch.cuda.synchronize(device)
    begun = clock()
    compute()
    if not on_cpu:
        torch.cuda.synchronize(device)
    return clock() - begun


def in_turns(computations: Sequence[Compute], turns: int, device: torch.device | str = "cpu") -> list[list[float]]:
    """The seconds of each, `turns` times, by turns, so that what slows the machine down slows all of them; after a turn
    that does not count."""
    for compute in computations:
        compute()
    taken = [[seconds(compute, device) for compute in computations] for _ in range(turns)]
    return [list(each) for each in zip(*taken, strict=True)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the turns' ratios.

    >>> ratio([1, 2, 9], [2, 4, 3])
    0.5
    """
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def operations(compute: Compute) -> int:
    """The additions and multiplications of `compute`'s products, convolutions and attentions."""
    # PyTorch's counter knows those of attention on a card alone.
    of_cpu = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, out_shape=None, **__: sdpa_flop_count(
            q, k, v
        ),
        aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda gradient, q, k, v, *_, out_shape=None, **__: sdpa_backward_flop_count(gradient, q, k, v)
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=of_cpu) as counter:
        compute()
    return counter.get_total_flops()


def product(side: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Compute:
    """A plain product of two square matrices: ``2 side ** 3`` operations. Of random numbers: a card is faster with
    those that are all the same."""
    one, other = (torch.rand(side, side, dtype=dtype, device=device) - 0.5 for _ in range(2))
    return lambda: one @ other


def part_of_peak(
    compute: Compute, turns: int, side: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """(how near `compute` comes to the rate of a plain matrix product in the same run, 1 at best; its seconds)."""
    count, plain = operations(compute), product(side, dtype, device)
    ours, theirs = in_turns([compute, lambda: [plain() for _ in range(PRODUCTS)]], turns, device)
    return part_of_rate(count, ours, PRODUCTS * 2 * side**3, theirs), statistics.median(ours)


def part_of_rate(count: int, ours: Sequence[float], plain: int, theirs: Sequence[float]) -> float:
    """How near `count` operations in `ours` seconds come to the rate of `plain` ones in `theirs`, turn by turn.

    >>> part_of_rate(10, [1, 2, 8], 100, [5, 10, 40])
    0.5
    """
    return count / plain / ratio(ours, theirs)


def peak_memory() -> float:
    """MB that this process has held at most; Linux alone tells it of a process without that which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000
