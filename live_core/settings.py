"""A setting says of itself what it is: its range, its unit, what it does. Checks and a host's inputs read it there.

>>> @dataclass(frozen=True)
... class Row:
...     ratio: float = setting(0.5, "How long.", unit="part of the steps", low=0, high=1)
>>> check_settings(Row(ratio=2))
Traceback (most recent call last):
live_core.LiveError: ratio: 2; give a finite number from 0 to 1
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from . import LiveError
from .checks import check_choice, check_number, check_text, check_whole


@dataclass(frozen=True)
class Setting:
    """What a field of a row says of itself: a number from `low` to `high`, one of `choices`, a prompt, or, with none of
    these, a switch.
    """

    help: str  # for users, in a sentence or two
    unit: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False  # whether the number is a whole one
    open: bool = False  # whether `low` and `high` are themselves excluded
    usual: str = ""  # what a message recommends where a number is out of an open range
    choices: tuple[str, ...] = ()
    prompt: bool = False  # whether it is text of any length
    none: bool = False  # whether it may be None
    # How a page shows it: the range it offers, if that is another; the step of its arrows (None: 1 for a whole number,
    # 0.01 for others) and their rounding; whether 0 stands for None; whether it is hidden among the advanced; whether
    # the first release had no input for it.
    page: tuple[float, float] | None = None
    step: float | None = None
    round: float | None = None
    zero_is_none: bool = False
    advanced: bool = False
    later: bool = False

    @property
    def is_number(self) -> bool:
        return self.low is not None or self.high is not None

    def check(self, name: str, value: Any) -> None:
        """LiveError, with the input's `name`, unless `value` is one of its values."""
        if value is None and self.none:
            return
        if self.choices:
            check_choice(name, value, self.choices)
        if self.prompt:
            check_text(name, value)
        if not self.is_number:
            return
        low, high = (-math.inf if self.low is None else self.low), (math.inf if self.high is None else self.high)
        if self.open:
            check_number(name, value)
            if not low < value < high:
                raise LiveError(f"{name}: {value} is outside {low:g} to {high:g} (both excluded); {self.usual}")
        elif self.whole:
            check_whole(name, value, low, high)
        else:
            check_number(name, value, low, high)


def setting(default: Any, help: str, **more: Any) -> Any:
    """A dataclass field that is a `Setting`."""
    return field(default=default, metadata={"setting": Setting(help, **more)})


# Kinds of settings that several rows have.
seed = partial(setting, unit="seed", whole=True, low=0, high=2**63 - 1, page=(0, 2**53 - 1), advanced=True)
part_of_steps = partial(setting, unit="part of the steps, from the noisiest", low=0.0, high=1.0)
part_of_maximum = partial(
    setting, unit="part of a word map's maximum", low=0.0, high=1.0, open=True, usual="the papers use 0.3"
)
cells = partial(setting, whole=True, low=0, page=(0, 64))
tokens = partial(
    setting, unit="tokens of a frame at the model's native size", whole=True, low=0, page=(0, 65536), none=True
)
guidance_weight = partial(setting, unit="weight of a guidance", low=0.0, page=(0.0, 100.0), step=0.1)
seed_of = partial(setting, 0, unit="seed", whole=True, low=0, high=2**64 - 1)


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings among a dataclass's fields, by name, in their order."""
    return {each.name: each.metadata["setting"] for each in fields(kind) if "setting" in each.metadata}


def check_settings(row: Any, named: Callable[[str], str] = str) -> None:
    """LiveError for the first setting of `row` whose value is none of its values. `named`: what a message calls it."""
    for name, each in settings_of(type(row)).items():
        each.check(named(name), getattr(row, name))
