"""Settings say of themselves what they are: each is held to its own range, and a page offers nothing beyond it."""

from dataclasses import replace

import pytest
import torch

from live_core import LiveError
from live_core.change import Edit
from live_core.clips import Fit
from live_core.frames import GroupPlan
from live_core.instruct_settings import GATHER_AND_SWAP, Instruction, Search
from live_core.local import Local
from live_core.long_settings import LongEdit, Pasting
from live_core.methods import LIVE
from live_core.settings import settings_of
from live_core.tune_settings import TuneSettings

ROWS = {
    "method": LIVE,
    "tuning": TuneSettings(),
    "fit": Fit(),
    "frames": GroupPlan(),
    "instruction": Instruction("make it blue"),
    "instruct method": GATHER_AND_SWAP,
    "search": Search(),
    "local": Local(torch.ones(1, 8, 8)),
    "long edit": LongEdit("a ball", Edit("a star"), LIVE),
    "pasting": Pasting(),
}
CALLED = {"size": "key frames", "text": "instruction"}
NAMED_AS_WRITTEN = ("method", "fit")
SETTINGS = [(kind, name, each) for kind, row in ROWS.items() for name, each in settings_of(type(row)).items()]
NUMBERS = [each for each in SETTINGS if each[2].is_number]
each_setting = pytest.mark.parametrize(
    "kind,name,setting", SETTINGS, ids=[f"{kind}-{name}" for kind, name, _ in SETTINGS]
)
each_number = pytest.mark.parametrize("kind,name,setting", NUMBERS, ids=[f"{kind}-{name}" for kind, name, _ in NUMBERS])


def refused(kind: str, name: str, value) -> str:
    """What is said of the row with this value."""
    with pytest.raises(LiveError) as raised:
        replace(ROWS[kind], **{name: value})
    return str(raised.value)


@each_setting
def test_a_value_that_is_none_of_its_own_is_refused_by_its_name(kind, name, setting):
    told = name if kind in NAMED_AS_WRITTEN else CALLED.get(name, name.replace("_", " "))
    bad = [] if not setting.is_number else [float("nan"), "much"]
    bad += [] if setting.low is None else [setting.low if setting.open else setting.low - 1]
    bad += [] if setting.high is None else [setting.high if setting.open else setting.high + 1]
    bad += [1.5] if setting.whole else []
    bad += ["of another kind"] if setting.choices else []
    bad += [3] if setting.prompt else []
    bad += [None] if (setting.is_number or setting.choices or setting.prompt) and not setting.none else []
    for value in bad:
        assert refused(kind, name, value).startswith(f"{told}: ")


@each_number
def test_a_page_offers_only_what_is_taken(kind, name, setting):
    low, high = setting.page or (setting.low, setting.high)
    assert low is not None and high is not None and low < high
    for end in (low, high):
        if setting.zero_is_none and end == 0:
            continue
        if not (setting.open and end in (setting.low, setting.high)):
            setting.check(name, end)


@each_setting
def test_a_setting_says_what_it_is(kind, name, setting):
    assert setting.help and (setting.unit or not setting.is_number)
    assert not setting.zero_is_none or setting.none
