"""Guidance in a part of the steps: outside it the edit is what its conditional stream predicts; nothing else runs."""

import re
from dataclasses import replace

import pytest
import torch
from chain import CASE

from live_core import LiveError
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import DDIM, LIVE, METHODS, PROMPT_TO_PROMPT
from live_core.notes import gathered

CHANGE = Edit("a red <thing*> moving on the meadow")
STEPS = 4
AGREEING = replace(LIVE, name="agreeing", agree_ratio=1.0, fresh_noise=1.0, image_guidance_scale=2.0)


@pytest.mark.parametrize("method", [*METHODS.values(), AGREEING], ids=lambda method: method.name)
def test_an_interval_without_a_step_is_no_guidance(tuned, clip, method):
    """To the bit, whatever else the method does; and it is said, since the guidance scale is then not read."""
    inversion = invert(tuned, clip, CASE.prompt, method, 2)
    bare = edit(tuned, inversion, CHANGE, replace(method, guidance_scale=1.0, image_guidance_scale=None))
    with gathered() as notes:
        none = edit(tuned, inversion, CHANGE, replace(method, guidance_start=1.0))
    assert torch.equal(none.latents, bare.latents) and torch.equal(none.mask, bare.mask)
    said = "guidance start, guidance end: 1 to 1 holds none of the 2 steps" if method.start == 0 else "of the 2 steps"
    assert any(said in each for each in notes)


@pytest.mark.parametrize("method", [AGREEING, PROMPT_TO_PROMPT, METHODS["tokenflow"]], ids=lambda method: method.name)
def test_outside_the_interval_what_guides_does_not_run(tuned, clip, method, request):
    """Until it ends all is as ever; after it each forward has the rows of an edit without guidance."""
    rows: list[int] = []
    inversion = invert(tuned, clip, CASE.prompt, method, STEPS)

    def watched(_unet, given, _noise):
        rows.append(len(given[0]))

    def run(method) -> tuple[list[torch.Tensor], list[int]]:
        states: list[torch.Tensor] = []
        rows.clear()
        edit(tuned, inversion, CHANGE, method, lambda _step, _total, x: states.append(x))
        return states, rows[-STEPS * passes :]

    watch = tuned.unet.register_forward_hook(watched)
    request.addfinalizer(watch.remove)
    passes = 1 if method.segment_length is None else 3
    whole, all_rows = run(method)
    half, fewer = run(replace(method, guidance_end=0.5))
    _, least = run(replace(method, guidance_scale=1.0, image_guidance_scale=None))
    turn = STEPS // 2
    assert all(torch.equal(a, b) for a, b in zip(half[:turn], whole[:turn], strict=True))
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(half[turn:], whole[turn:], strict=True))
    assert fewer == all_rows[: turn * passes] + least[turn * passes :] and sum(fewer) < sum(all_rows)


def test_texts_of_several_lengths_stay_alike(demo_model, clip):
    """A negative prompt of two chunks makes every text so long, at the steps too at which it is not read; where the
    interval holds all steps nothing changes."""
    inversion = invert(demo_model, clip, CASE.prompt, PROMPT_TO_PROMPT, STEPS)
    long = Edit("a blue star moving on the meadow", negative_prompt="a red ball, " * 30)
    latents = [
        edit(demo_model, inversion, long, replace(PROMPT_TO_PROMPT, **interval)).latents
        for interval in ({}, {"guidance_end": 0.5}, {"guidance_start": 0.5})
    ]
    assert all(torch.isfinite(each).all() for each in latents)
    assert not any(torch.allclose(a, b, atol=1e-3) for i, a in enumerate(latents) for b in latents[:i])


def test_guidance_begins_before_it_ends():
    with pytest.raises(LiveError, match=re.escape("guidance_start: 0.8 comes after guidance_end, 0.5")):
        replace(DDIM, guidance_start=0.8, guidance_end=0.5)
    assert list(replace(DDIM, guidance_start=0.2, guidance_end=0.8).guidance_steps(10)) == [2, 3, 4, 5, 6, 7]
