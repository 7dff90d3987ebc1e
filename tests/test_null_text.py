"""Null text: under it guided sampling gives the clip back, in every method that takes one."""

from dataclasses import replace

import pytest
import torch

from demo.cases import CASES
from live_core import LiveError
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import (
    DDIM,
    LIVE,
    PROMPT_TO_PROMPT,
    VIDEO_P2P,
)
from live_core.null_text import find_null_text
from live_core.reconstruction import reconstruct

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
STEPS = 4


@pytest.fixture
def clip(middle_clip):
    return middle_clip


def test_null_text_brings_guided_sampling_back_to_the_clip(demo_model, clip):
    inversion = invert(demo_model, clip, CASE.prompt, PROMPT_TO_PROMPT, 8)
    found = find_null_text(demo_model, inversion, 4.0, 5)
    assert found.null_text.shape == (8, *demo_model.encode_text("").shape)
    errors = [
        float((reconstruct(demo_model, i, guidance_scale=4.0) - clip).square().mean()) for i in (inversion, found)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("method", [PROMPT_TO_PROMPT, VIDEO_P2P, LIVE], ids=lambda m: m.name)
def test_null_text_works_under_other_methods(demo_model, clip, method):
    """The same prompt, injected whole and guided, is the guided reconstruction; another prompt is edited, decoupled or
    not.
    """
    found = find_null_text(demo_model, invert(demo_model, clip, CASE.prompt, method, 3), 4.0, 2)
    whole = replace(
        method,
        guidance_scale=4.0,
        decoupled_guidance=False,
        unconditional_latent_prompt="trained",
        cross_ratio=1.0,
        self_ratio=1.0,
        self_target="both" if method.frame_plan.temporal else "spatial",
        self_max_tokens=4096,
        blend_threshold=None,
    )
    torch.testing.assert_close(
        edit(demo_model, found, Edit(CASE.prompt), replace(whole, word_edit="replace")).latents,
        reconstruct(demo_model, found, guidance_scale=4.0),
        atol=1e-4,
        rtol=1e-4,
    )
    coupled, decoupled = (
        edit(demo_model, found, CHANGE, replace(method, decoupled_guidance=d)).latents for d in (False, True)
    )
    assert not torch.allclose(coupled, decoupled, atol=1e-3)


def test_null_text_needs_guidance(demo_model, clip):
    with pytest.raises(LiveError, match="guidance scale: 1"):
        find_null_text(demo_model, invert(demo_model, clip, CASE.prompt, DDIM, 2), 1.0)


def test_null_text_needs_a_source_that_runs(demo_model, clip):
    """A kept reconstruction is the unguided one; null text would make the source another."""
    kept = invert(demo_model, clip, CASE.prompt, DDIM, 2, "ram")
    with pytest.raises(LiveError, match="attention 'ram'"):
        find_null_text(demo_model, kept, 4.0)
