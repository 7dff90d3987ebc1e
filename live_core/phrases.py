"""Lists of words and phrases, separated by commas, as users write them."""

from __future__ import annotations

import math
import re

from . import LiveError
from .notes import note


def split_phrases(text: str, name: str = "words") -> list[str]:
    """The phrases of a list; none of an empty one. `name`: the input it came from. An empty place between commas is
    noted; LiveError where there are only such."""
    parts = [part.strip() for part in text.split(",")]
    phrases = [part for part in parts if part]
    if text.strip() and not phrases:
        raise LiveError(f"{name}: {text!r} names nothing; write words separated by commas, or leave it empty")
    if not all(parts[:-1]):
        note(f"{name}: {text!r} has an empty place between its commas, which is left out")
    return phrases


def read_weights(text: str) -> tuple[tuple[str, float], ...]:
    """ "watercolor=10, road=0.5" as pairs. Raises LiveError for a part that is no word, equals sign and finite
    number."""
    out = []
    for part in split_phrases(text, "word weights"):
        word, _, number = part.rpartition("=")
        try:
            out.append((word.strip(), float(number)))
        except ValueError:
            word = ""
        if not word.strip() or not math.isfinite(out[-1][1]):
            raise LiveError(
                f'word weights: {part!r}; write word=number, separated by commas, such as "watercolor=10, road=0.5"'
            )
    return tuple(out)


def read_windows(text: str) -> tuple[tuple[str, tuple[float, float]], ...]:
    """ "car: 0-0.4, tree: 0.2-0.8" as pairs of a phrase and its window. Raises LiveError for a part that is no phrase,
    colon, and start and end in order within 0 to 1."""
    number, out = r"(\d+\.?\d*|\.\d+)", []
    for part in split_phrases(text, "word windows"):
        match = re.fullmatch(rf"(.*\S)\s*:\s*{number}\s*-\s*{number}", part)
        if not match or not 0 <= float(match[2]) <= float(match[3]) <= 1:
            raise LiveError(
                f"word windows: {part!r}; write word: start-end, parts of the steps in order from 0 to 1, separated by"
                ' commas, such as "car: 0-0.4, tree: 0.2-0.8"'
            )
        out.append((match[1], (float(match[2]), float(match[3]))))
    return tuple(out)
