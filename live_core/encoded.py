"""A clip is encoded once, however many stages of a graph read it.

Whoever starts the stages lends them one memory; without it every picture is encoded anew.

>>> def encode():
...     print("encoding")
...     return torch.ones(1, 4, 1, 1)
>>> vae, picture, memory = nn.Linear(1, 1), torch.zeros(8, 8, 3), Encoded()
>>> with lending(memory):
...     first = once(vae, picture, encode)
encoding
>>> with lending(memory):
...     torch.equal(once(vae, picture.clone(), encode), first)
True
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

MOST = 2**27  # bytes; 2,048 frames of 512 x 512 pixels in float32


class Encoded:
    """What the frames read last were encoded to, for each autoencoder as long as it lives, in main memory.

    A frame is known by all of its bytes: another pixel, size or number format is another frame. The frames of one
    autoencoder take at most `most` bytes; those not read for longest go first.
    """

    def __init__(self, most: int = MOST):
        self.most = most
        self._of: WeakKeyDictionary[nn.Module, OrderedDict[str, torch.Tensor]] = WeakKeyDictionary()

    def once(self, vae: nn.Module, frame: torch.Tensor, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        known, key = self._of.setdefault(vae, OrderedDict()), _key(vae, frame)
        if key in known:
            known.move_to_end(key)
            return known[key]
        known[key] = latents = compute().to("cpu", copy=True)  # no view of something larger
        while sum(kept.nbytes for kept in known.values()) > self.most:
            known.popitem(last=False)
        return latents


def _key(vae: nn.Module, frame: torch.Tensor) -> str:
    """Of the frame, and of where and in which number format it is encoded, which rounds otherwise."""
    weight = next(vae.parameters())
    digest = hashlib.sha256(f"{weight.device} {weight.dtype} {frame.dtype} {tuple(frame.shape)}".encode())
    digest.update(frame.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


_lent: ContextVar[Encoded | None] = ContextVar("lent", default=None)


@contextmanager
def lending(memory: Encoded) -> Iterator[None]:
    """`once` looks in `memory`, and keeps what it computed there, to the end of the `with` block, in this thread."""
    token = _lent.set(memory)
    try:
        yield
    finally:
        _lent.reset(token)


def once(vae: nn.Module, frame: torch.Tensor, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
    """`compute()`, or, out of the memory that is lent, what it gave for such a frame (H, W, c) and the same `vae`,
    whose weights must be what they were. To be read, never written to.
    """
    memory = _lent.get()
    return compute() if memory is None else memory.once(vae, frame, compute)
