"""What a user should know about a result that is not what the words asked for, gathered for whoever started the work.

An error stops; a note does not. Every note is logged, and a caller that can show it gathers it:

>>> with gathered() as notes:
...     note("mask: it covers the whole picture, so nothing of the clip is kept")
>>> notes
['mask: it covers the whole picture, so nothing of the clip is kept']
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from . import printable

_gathering: ContextVar[list[str] | None] = ContextVar("notes", default=None)


def note(text: str) -> None:
    """Tell the user `text`, once, which names the input, quotes the value and says what would work, as errors do."""
    text = printable(text)
    logging.warning("LIVE: %s", text)
    notes = _gathering.get()
    if notes is not None and text not in notes:
        notes.append(text)


@contextmanager
def gathered() -> Iterator[list[str]]:
    """A list that holds, from here to the end of the `with` block, the notes of this thread, the first said first."""
    notes: list[str] = []
    token = _gathering.set(notes)
    try:
        yield notes
    finally:
        _gathering.reset(token)
