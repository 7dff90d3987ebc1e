"""How a long computation hears that it shall stop.

Whoever starts the work says for its length what `heed` does; every loop that may take more than a second calls `heed()`
in each round.

>>> def stop():
...     raise RuntimeError("asked to stop")
>>> with heeding(stop):
...     heed()
Traceback (most recent call last):
RuntimeError: asked to stop
>>> heed()                                        # nobody asks to be heard
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None]] = ContextVar("check", default=lambda: None)


def heed() -> None:
    """Raise what the check in force raises when the work shall stop."""
    _check.get()()


@contextmanager
def heeding(check: Callable[[], None]) -> Iterator[None]:
    """`heed()` calls `check`, which raises to stop the work, to the end of the `with` block, in this thread."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
