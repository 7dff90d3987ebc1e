"""A card works ahead of the host, until it is asked a question. A step asks one: whether what it gave is finite."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from asked_of_host import META, Asked
from chain import CASE, FAST
from conftest import ROOT

from live_core.adapt_settings import AdaptSettings
from live_core.adaptation import adapt
from live_core.editing import Edit, edit
from live_core.instruct import instruct
from live_core.instruct_settings import GATHER_AND_SWAP, Instruction
from live_core.inversion import invert
from live_core.local import Local
from live_core.methods import METHODS
from live_core.pretrained import load_folder
from live_core.tuning import tune

STEPS = 5


@pytest.fixture(scope="module")
def shapes():
    """The demo model without values."""
    model = load_folder(ROOT / "demo" / "model")
    for part in (model.unet, model.vae, model.text_encoder):
        part.to(META)
    return model


CLIP = torch.zeros(3, 4, 16, 16, device=META)


class Steps:
    """A callback: what was asked from the first step's end to the last's, and in how many steps."""

    def __init__(self, counts: Counter):
        self.counts, self.steps = counts, 0
        self.before: Counter | None = None

    def __call__(self, step, total, latents):
        if self.before is None:
            self.before = self.counts.copy()
        else:
            self.steps += 1
            self.asked = self.counts - self.before

    def in_each(self) -> dict[str, float]:
        """But for numbers that a process sends once."""
        return {what: n / self.steps for what, n in self.asked.items() if what != "numbers in in indices.py:_made"}


# What is kept over the steps is a reconstruction's, or the inversion's own.
WAYS = [*((method, "recompute") for method in METHODS), ("live", "ram"), ("fatezero-attribute", "ram")]


@pytest.mark.parametrize("method,attention", WAYS)
def test_steps_of_an_inversion_and_an_edit(shapes, method, attention):
    """Also where the clip's attention is kept over the steps, in main memory."""
    with Asked() as counts:
        steps = Steps(counts)
        inversion = invert(shapes, CLIP, CASE.prompt, METHODS[method], STEPS, attention, callback=steps)
        assert steps.in_each() == {"read in checks.py:is_finite": 1}
        steps = Steps(counts)
        edit(shapes, inversion, Edit("a blue ball moving on the meadow"), METHODS[method], steps)
        assert steps.in_each() == {"read in checks.py:is_finite": 1}


def test_steps_of_an_edit_whose_frames_agree(shapes):
    """On the thing, whose noise is new, where a mask was given."""
    method = replace(METHODS["live"], blend_threshold=0.4, fresh_noise=1.0, agree_ratio=1.0)
    with Asked() as counts:
        inversion, steps = invert(shapes, CLIP, CASE.prompt, method, STEPS), Steps(counts)
        edit(shapes, inversion, Edit("a blue ball moving on the meadow"), method, steps, torch.ones(3, 128, 128))
    assert steps.in_each() == {"read in checks.py:is_finite": 1}


@pytest.mark.parametrize("method", ["live", "fatezero-shape"])
def test_an_edit_of_more_steps_asks_that_of_each_alone(shapes, method):
    """Also before its first step, where words' attention is sent, and after its last, where masks are kept."""
    counts = {}
    for steps in (4, 8):
        with Asked():
            inversion = invert(shapes, CLIP, CASE.prompt, METHODS[method], steps)
        with Asked() as counts[steps]:
            edited = edit(shapes, inversion, Edit("a blue ball moving on the meadow"), METHODS[method])
        assert any(edited.records.masks.values())
    assert counts[8] - counts[4] == {"read in checks.py:is_finite": 4}


def test_a_copy_that_a_device_waits_for_counts():
    with Asked() as counts:
        CLIP.to("cpu"), CLIP.to("cpu", non_blocking=True), CLIP[[0, 1]]
        torch.ones(1).to(META), torch.ones(1).to(META, non_blocking=True)
    assert counts == {"copy out in a test": 1, "copy in in a test": 1, "numbers in in a test": 1}


def test_steps_of_a_tuning(shapes):
    """What a step tells, its loss among it, in one word."""
    with Asked() as counts:
        steps = Steps(counts)
        tune(shapes, CLIP, CASE.prompt, (), replace(FAST, clip_steps=STEPS, photo_steps=0), steps)
    assert steps.in_each() == {"copy out in learning.py:_gradients": 1}


@pytest.fixture(scope="module")
def told(instruct_folder):
    """A model that is told what to change, without values."""
    model = load_folder(instruct_folder)
    for part in (model.unet, model.vae, model.text_encoder):
        part.to(META)
    return model


ASKED = Instruction("make the ball blue", steps=STEPS)


def test_steps_of_an_adaptation(told):
    """Pairs are drawn, and their noise, in main memory, and sent on."""
    with Asked() as counts:
        steps, black = Steps(counts), torch.zeros(64, 64, 3)
        adapt(told, black, 1 - black, ASKED, AdaptSettings(steps=3, pairs=2), callback=steps)
    assert steps.in_each() == {"copy out in learning.py:_gradients": 1}


def test_steps_of_an_edit_by_instruction(told):
    """With key frames that all read, and within a mask."""
    local = Local(torch.ones(4, 64, 64).triu())
    with Asked() as counts:
        steps = Steps(counts)
        instruct(told, torch.zeros(4, 4, 8, 8), ASKED, GATHER_AND_SWAP, local, window=4, callback=steps)
    assert steps.in_each() == {"read in checks.py:is_finite": 1}
