"""Numbers to index tensors with, put on a device once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch


def index_of(numbers: Iterable[int], like: torch.Tensor) -> torch.Tensor:
    """(n,) int64, where `like` is. Indexing with a list has a card wait for the host every time.

    >>> index_of([2, 0], like=torch.zeros(3))
    tensor([2, 0])
    """
    return _made(tuple(numbers), like.device)


@lru_cache(maxsize=1024)
def _made(numbers: tuple[int, ...], device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # a backward pass may keep it
        return torch.tensor(numbers, dtype=torch.int64, device=device)
