"""Attention that an inversion keeps: one edit however it is kept, bytes by the formula, what it does not serve."""

import re
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

from demo.cases import CASES
from live_core import LiveError
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import (
    DDIM,
    FATEZERO_ATTRIBUTE,
    FATEZERO_SHAPE,
    METHODS,
)
from live_core.pretrained import load_folder

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
STEPS = 4


@pytest.fixture
def clip(middle_clip):
    return middle_clip


@pytest.fixture(scope="module")
def exact_model():
    """The demo model, its U-Net in double precision."""
    model = load_folder(ROOT / "demo" / "model")
    model.unet.double()
    return model


@pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.cross_ratio or m.blend_threshold], ids=lambda m: m.name
)
def test_stored_and_recomputed_attention_give_one_edit(exact_model, clip, tmp_path, method):
    """Over a whole edit. A reconstruction is computed in one batch with the edit or alone, and convolutions of another
    batch size round otherwise; how much of that guidance makes a difference that shows depends on the weights."""
    edits = []
    for attention in ("recompute", "ram", "disk"):
        inversion = invert(exact_model, clip, CASE.prompt, method, STEPS, attention, tmp_path)
        assert (inversion.store is None) == (attention == "recompute")
        edits.append(edit(exact_model, inversion, CHANGE))
    for other in edits[1:]:
        torch.testing.assert_close(other.latents, edits[0].latents, atol=1e-5, rtol=0)
        assert torch.equal(other.mask, edits[0].mask)


def bytes_kept(unet, method, frames: int, side: int, words: int, steps: int, kept: int, size: int) -> int:
    """The docstring's formula, for square latents and `size` bytes a value; layers by their names, limits at the
    model's native size.
    """
    levels, total, once, native = len(unet.config.block_out_channels), 0, 0, unet.config.sample_size or 64
    wide, map_side = frames + method.latent_prompt, side * 16 // native
    for name, module in unet.named_modules():
        kind = name.rsplit(".", 1)[-1]
        if kind not in ("attn1", "attn2", "attn_temp"):
            continue
        block, index = name.split(".")[0], int(re.sub(r"\D", "", name.split(".")[1]) or 0)
        level = {
            "down_blocks": index,
            "up_blocks": levels - 1 - index,
            "mid_block": levels - 1,
        }[block]
        n, d, counted = (side >> level) ** 2, module.inner_dim, (native >> level) ** 2
        most = {"attn1": method.self_max_tokens, "attn2": method.cross_max_tokens, "attn_temp": None}[kind]
        injected = {
            "attn1": method.self_ratio and method.self_target != "temporal",
            "attn2": method.cross_ratio,
            "attn_temp": method.self_ratio and method.self_target != "spatial",
        }[kind]
        if injected and (most is None or counted <= most):
            total += wide * n * d * size
            once += words * d * size * (kind == "attn2")
    return (
        kept * total
        + bool(kept) * once
        + steps * 4 * (wide * map_side**2 * words + (method.source == "reconstruction") * frames * 4 * side**2)
    )


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.source != "path"], ids=lambda m: m.name)
def test_bytes_kept_are_the_formula_s(demo_model, clip, method, kept):
    words = demo_model.encode_text("").shape[0]
    inversion = invert(demo_model, clip[:2], CASE.prompt, method, 2, "ram", kept_steps=kept)
    assert inversion.store.nbytes() == bytes_kept(demo_model.unet.unet, method, 2, 8, words, 2, int(2 * kept), 4)
    assert f"({inversion.store.nbytes()} bytes)" in inversion.describe()


def test_bytes_kept_at_the_size_of_stable_diffusion():
    """8 x 512 x 512, half precision, 50 steps: FateZero's rows within 8.1 GB, and in proportion to the steps kept."""
    from diffusers import UNet2DConditionModel

    from live_core.checkpoints import ARCHITECTURES

    with torch.device("meta"):
        unet = UNet2DConditionModel(**ARCHITECTURES[768].unet)
    whole, half, none = (bytes_kept(unet, FATEZERO_ATTRIBUTE, 8, 64, 77, 50, kept, 2) for kept in (50, 25, 0))
    assert 8.0e9 < whole <= 8.1e9 and (half - none) / (whole - none) == pytest.approx(0.5, abs=1e-3) and none < 0.04e9
    assert bytes_kept(unet, DDIM, 8, 64, 77, 50, 50, 2) < 0.1e9
    assert [
        round(bytes_kept(unet, METHODS[name], 8, 64, 77, 50, 50, 2) / 1e9, 1) for name in ("vid2vid-zero", "live")
    ] == [13.3, 15.0]


def test_attention_that_was_not_kept_is_named(demo_model, clip):
    inversion = invert(demo_model, clip, CASE.prompt, FATEZERO_SHAPE, STEPS, "ram", kept_steps=0.3)
    with pytest.raises(LiveError, match="attention of step 3 was not kept"):
        edit(demo_model, inversion, CHANGE, replace(FATEZERO_SHAPE, self_ratio=0.9))


@pytest.mark.parametrize(
    "method",
    [replace(FATEZERO_ATTRIBUTE, cross_ratio=0.0, self_ratio=0.0), replace(FATEZERO_ATTRIBUTE, cross_ratio=0.0)],
    ids=["no injection", "self alone"],
)
def test_a_word_s_window_is_enough_to_inject_it(demo_model, clip, method):
    """Where the method injects no words, a word's own window does: what it reads is recorded, or, kept for the method
    alone, refused in words.
    """
    method = replace(method, self_blend_threshold=None)
    change = replace(CHANGE, windows=(("moving", (0.0, 1.0)),))
    inversion = invert(demo_model, clip, CASE.prompt, method, STEPS)
    windowed, plain = (edit(demo_model, inversion, each).latents for each in (change, CHANGE))
    assert not torch.allclose(windowed, plain, atol=1e-3)
    kept = invert(demo_model, clip, CASE.prompt, method, STEPS, "ram")
    with pytest.raises(
        LiveError,
        match=(
            "inversion: attention 'ram' was kept for 'fatezero-attribute', without all the cross-attention"
            ' .*"recompute"'
        ),
    ):
        edit(demo_model, kept, change)
    also = invert(demo_model, clip, CASE.prompt, replace(method, cross_ratio=0.5), STEPS, "ram")
    torch.testing.assert_close(edit(demo_model, also, change, method).latents, windowed, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changed,says",
    [
        ({"self_target": "both"}, "temporal attention"),
        ({"self_target": "temporal"}, "temporal attention"),
        ({"self_max_tokens": 256}, "spatial self-attention"),
        ({"cross_max_tokens": None}, "cross-attention"),
    ],
)
def test_kept_attention_serves_no_edit_that_injects_more(demo_model, clip, changed, says):
    method = replace(FATEZERO_ATTRIBUTE, self_blend_threshold=None, self_max_tokens=64, cross_max_tokens=64)
    kept = invert(demo_model, clip, CASE.prompt, method, 2, "ram")
    edit(demo_model, kept, CHANGE, replace(method, self_max_tokens=16, cross_ratio=0.2))  # less is there
    with pytest.raises(LiveError, match=f"without all the {says}"):
        edit(demo_model, kept, CHANGE, replace(method, **changed))
