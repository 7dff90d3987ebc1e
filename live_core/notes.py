"""What a user should know about a result that is not what the words asked for, gathered for whoever started the work.

An error stops; a note does not. Every note is logged, and a caller that can show it gathers it:

>>> with gathered() as notes:
...     note("mask: it covers the whole picture, so nothing of the clip is kept")
>>> notes
['mask: it covers the whole picture, so nothing of the clip is kept']
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from . import printable

T = TypeVar("T")
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


class NotesOfParts:
    """Notes on the parts of one work, which are said when all are done: what was said of every part as it is, what was
    said of some with which. How memory is saved is said of the part that it began with, and holds to the end.

    >>> parts = NotesOfParts()
    >>> for name in ("frames 1 to 8", "frames 9 to 16"):
    ...     with parts.of(name):
    ...         note("method: it sees other frames")
    ...         if name == "frames 9 to 16":
    ...             note("mask: it is empty")
    >>> with gathered() as notes:
    ...     parts.say()
    >>> notes
    ['method: it sees other frames', 'mask: it is empty (frames 9 to 16)']
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.said: dict[str, list[str]] = {}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """What is noted in the `with` block is of this part."""
        self.parts.append(part)
        with gathered() as notes:
            yield
        for text in notes:
            self.said.setdefault(text, []).append(part)

    def over(self, parts: Iterable[str], results: Iterator[T]) -> Iterator[T]:
        """`results`, one for each of the `parts`: what is noted while one is made is of that part."""
        for part in parts:
            with self.of(part):
                result = next(results)
            yield result
        yield from results  # none, if there is one for each; whoever makes them comes to an end

    def say(self) -> None:
        for text, parts in self.said.items():
            of_all = parts == self.parts or text.startswith("memory")
            note(text if of_all else f"{text} ({', '.join(parts)})")
