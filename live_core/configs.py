"""What the .json files of a model folder may say. They describe a network's sizes; nothing in them chooses code, a path
or a kernel.

A value is taken only by a rule for its key. A key without a rule may say what is so anyway; else it is refused by its
name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import LiveError
from .checks import GREATEST
from .files import reading

LONGEST = 2**26  # bytes; CLIP's vocabulary is one million


@dataclass(frozen=True)
class Kind:
    """What a value may be, and its name in messages."""

    words: str
    fits: Callable[[object], bool]


def whole(low: int, high: int) -> Kind:
    return Kind(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def number(low: float, high: float = GREATEST) -> Kind:
    """A finite one."""
    words = f"a finite number from {low:g} to {high:g}" if high < GREATEST else f"a finite number of {low:g} or more"
    return Kind(
        words, lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    )


def one_of(*values: object) -> Kind:
    return Kind(
        " or ".join(map(json.dumps, values)),
        lambda value: any(type(value) is type(own) and value == own for own in values),
    )


def list_of(kind: Kind, most: int = 16) -> Kind:
    return Kind(
        f"a list of up to {most}, each {kind.words}",
        lambda value: isinstance(value, list) and 0 < len(value) <= most and all(map(kind.fits, value)),
    )


def either(one: Kind, other: Kind) -> Kind:
    return Kind(f"{one.words}, or {other.words}", lambda value: one.fits(value) or other.fits(value))


FLAG = one_of(True, False)


def read_json(file: Path, what: str, remedy: str) -> dict:
    """The object in a .json file. LiveError ``<what> cannot be read (<why>); <remedy>`` where there is none."""
    with reading(what, remedy):
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file.name!r}")
        if file.stat().st_size > LONGEST:
            raise ValueError(f"{file.name!r} is longer than {LONGEST // 2**20} MiB")
        value = json.loads(file.read_text(encoding="utf-8-sig"))
        if not isinstance(value, dict):
            raise ValueError(f"{file.name!r} holds {value!r:.40} where names with values are expected")
        return value


def take(
    config: Mapping[str, object],
    rules: Mapping[str, Kind],
    notes: Collection[str],
    what: str,
    usual: Mapping[str, object] | None = None,
) -> dict:
    """What `config` says by the keys of `rules`; null says nothing. LiveError, with `what` and the key, where a value
    is not of its kind, and for any other key, unless it is one of `notes`, which say nothing of the network, or says
    what is `usual`, or nothing.
    """
    taken = {}
    for key, value in config.items():
        if key in rules:
            if value is not None and not rules[key].fits(value):
                raise LiveError(f"{what}: {key} {told(value)}; LIVE takes {rules[key].words}")
            if value is not None:
                taken[key] = value
        elif key not in notes and not _is_usual(value, (usual or {}).get(key)):
            raise LiveError(
                f"{what}: {key!r:.60} {told(value)} is nothing that LIVE takes from a file; if the model does not need"
                " it, delete it from the file"
            )
    return taken


def told(value: object) -> str:
    """A value as the file has it, cut short."""
    return f"{json.dumps(value):.60}"


def _is_usual(value: object, usual: object) -> bool:
    return not value and not usual or value == (list(usual) if isinstance(usual, tuple) else usual)
