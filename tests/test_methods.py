"""Every row of METHODS through the one loop: stored and recomputed attention give one edit, the limits are exact."""

import re
from dataclasses import replace

import pytest
import torch

from demo.cases import CASES
from live_core import LiveError
from live_core.attention import AttentionPlan, SelfInjection, VideoAttention
from live_core.change import word_edits
from live_core.editing import Edit, edit
from live_core.frames import ALONE, FramePlan
from live_core.inversion import find_null_text, invert, reconstruct
from live_core.methods import (
    BLENDED_LATENT,
    DDIM,
    FATEZERO_ATTRIBUTE,
    FATEZERO_SHAPE,
    LIVE,
    METHODS,
    PROMPT_TO_PROMPT,
    VIDEO_P2P,
)
from live_core.pretrained import Tuning
from live_core.prompts import read_prompt

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
STEPS = 4


@pytest.fixture(scope="module")
def clip(demo_model):
    """The middle quarter of three frames."""
    return demo_model.encode_frames(torch.from_numpy(CASE.clip.frames()[:3, 32:96, 32:96]).float() / 255)


@pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.cross_ratio or m.blend_threshold], ids=lambda m: m.name
)
def test_stored_and_recomputed_attention_give_one_edit(demo_model, clip, tmp_path, method):
    """To 1e-5 over a whole edit where the source is the inversion. A reconstruction is computed in one batch with the
    edit or alone, and convolutions of another batch size round otherwise: 3e-5 measured at guidance 7.5."""
    tolerance = 1e-5 if method.source == "inversion" else 1e-4
    edits = []
    for attention in ("recompute", "ram", "disk"):
        inversion = invert(demo_model, clip, CASE.prompt, method, STEPS, attention, tmp_path)
        assert (inversion.store is None) == (attention == "recompute")
        edits.append(edit(demo_model, inversion, CHANGE))
    for other in edits[1:]:
        torch.testing.assert_close(other.latents, edits[0].latents, atol=tolerance, rtol=0)
        assert torch.equal(other.mask, edits[0].mask)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_every_method_edits_and_stays_within_bounds(demo_model, clip, method):
    inversion = invert(demo_model, clip, CASE.prompt, method, STEPS)
    result = edit(demo_model, inversion, CHANGE)
    assert result.latents.shape == clip.shape and result.latents.isfinite().all() and result.latents.abs().max() < 12
    assert not torch.allclose(
        result.latents, edit(demo_model, inversion, Edit("a green box moving on the meadow")).latents, atol=1e-2
    )


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
@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
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


@pytest.mark.parametrize(
    "changed,says",
    [
        ({"self_start": 0.8}, "self_start: 0.8 comes after self_ratio, 0.7"),
        ({"blend_start": 0.9, "blend_end": 0.2}, "blend_start: 0.9 comes after blend_end, 0.2"),
        ({"guidance_scale": -1.0}, "guidance_scale: -1.0; give a finite number of 0 or more"),
        ({"guidance_scale": float("inf")}, "guidance_scale: inf"),
        ({"image_guidance_scale": -0.5}, "image_guidance_scale: -0.5"),
        ({"mask_grow": -1}, "mask_grow: -1; give a whole number of 0 or more"),
        ({"mask_grow": 0.5}, "mask_grow: 0.5"),
        ({"mask_neighbours": -2}, "mask_neighbours: -2"),
        ({"self_max_tokens": -1}, "self_max_tokens: -1"),
        ({"cross_ratio": float("nan")}, "cross_ratio: nan"),
        (
            {"frame_plan": ALONE, "self_target": "both"},
            "self_target: 'both', but the method's frame plan leaves temporal attention out",
        ),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(changed, says):
    with pytest.raises(LiveError, match=re.escape(says)):
        replace(FATEZERO_ATTRIBUTE, **changed)
    assert replace(FATEZERO_ATTRIBUTE, self_ratio=0.0, self_start=0.5).self_steps(50) == range(
        25, 0
    )  # nothing to start


@pytest.mark.parametrize(
    "frame_plan,rows", [(("all",), [[0, 1, 2]] * 3), (("middle",), [[1]] * 3), (("first",), [[0]] * 3)]
)
@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_shared_keys_and_values_are_the_gathered_ones(frame_plan, rows, at_once):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2 * 3, 2, 5, 4)
    ours = VideoAttention("layer", "self", None)._self(
        AttentionPlan(FramePlan(frame_plan), streams=2, frames=3, rows_at_once=at_once), q, k, v
    )
    for s in range(2):
        for i, row in enumerate(rows):
            gathered = (torch.cat([x[3 * s + j] for j in row], 1) for x in (k, v))
            expected = torch.nn.functional.scaled_dot_product_attention(q[3 * s + i], *gathered)
            torch.testing.assert_close(ours[3 * s + i], expected, atol=1e-6, rtol=1e-5)


def test_narrow_layers_see_only_their_own_frame():
    q, k, v = torch.randn(3, 3, 2, 5, 4)
    plan = AttentionPlan(FramePlan(("first",), min_width=0.5), frames=3)
    narrow, wide = (VideoAttention("layer", "self", None, width)._self(plan, q, k, v) for width in (0.25, 0.5))
    assert torch.equal(narrow, torch.nn.functional.scaled_dot_product_attention(q, k, v)) and not torch.allclose(
        narrow, wide
    )


def test_query_masks_choose_between_the_edit_s_and_the_source_s_attention():
    """Equation 7 of FateZero as explicit maps; all ones is the edit alone, all zeros the source's map everywhere."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2 * 2, 2, 5, 4)
    maps = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    for mask in (torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 1, 0, 1]]), torch.ones(2, 5), torch.zeros(2, 5)):
        b = mask[:, None, :, None]
        ours = VideoAttention("layer", "self", None)._self(
            AttentionPlan(selves=(SelfInjection(1, 0, masks={0: mask}),), streams=2, frames=2), q, k, v
        )
        torch.testing.assert_close(ours[2:], (b * maps[2:] + (1 - b) * maps[:2]) @ v[2:], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ours[:2], maps[:2] @ v[:2], atol=1e-6, rtol=1e-5)


def test_a_given_mask_bounds_the_edit(demo_model, clip):
    """Outside it the inverted background, exactly; everywhere allowed, an edit without blending; added to what the
    words find.
    """
    inversion = invert(demo_model, clip, CASE.prompt, BLENDED_LATENT, STEPS)
    nothing, everything, left = torch.zeros(1, 64, 64), torch.ones(3, 64, 64), torch.zeros(3, 64, 64)
    left[..., :32] = 1
    alone = replace(BLENDED_LATENT, blend_threshold=None)
    assert torch.equal(edit(demo_model, inversion, CHANGE, alone, mask=nothing).latents, clip)
    free = edit(demo_model, inversion, CHANGE, alone)
    torch.testing.assert_close(
        edit(demo_model, inversion, CHANGE, alone, mask=everything).latents, free.latents, atol=1e-4, rtol=0
    )  # s + 1 (e - s) rounds
    half = edit(demo_model, inversion, CHANGE, alone, mask=left)
    assert torch.equal(half.latents[..., 4:], clip[..., 4:]) and not torch.allclose(
        half.latents[..., :4], clip[..., :4], atol=1e-2
    )
    found, union = (edit(demo_model, inversion, CHANGE, mask=m).mask for m in (None, left))
    assert 0 < found.mean() < 1 and torch.equal(union, torch.maximum(union, left)) and union.sum() > left.sum()
    with pytest.raises(LiveError, match="mask: 2 frames of 64x64"):
        edit(demo_model, inversion, CHANGE, mask=torch.zeros(2, 64, 64))


def test_a_mask_is_never_empty_and_grows_as_its_threshold_falls(demo_model, clip):
    """Each frame's strongest place is always above the threshold."""
    inversion = invert(demo_model, clip, CASE.prompt, BLENDED_LATENT, 2)
    masks = [
        edit(demo_model, inversion, CHANGE, replace(BLENDED_LATENT, mask_from="both", blend_threshold=t)).mask
        for t in (0.99, 0.5, 0.1, 1e-6)
    ]
    assert (masks[0].amax((1, 2)) == 1).all()
    areas = [float(mask.mean()) for mask in masks]
    assert areas == sorted(areas) and areas[0] < areas[1] < areas[2]


def test_an_edit_may_start_late(demo_model, clip):
    """Skipping all steps but one is one step from the inversion's own latents there, nearer to the clip than the whole
    way is.
    """
    inversion = invert(demo_model, clip, CASE.prompt, DDIM, STEPS)
    method = replace(DDIM, guidance_scale=1.0)
    whole, half, late = (
        edit(demo_model, inversion, CHANGE, replace(method, start=start)).latents for start in (0.0, 0.5, 0.99)
    )
    t, x = demo_model.schedule.timesteps(STEPS)[-1], inversion.latents[1]
    with torch.no_grad():
        noise = demo_model.unet(
            x[None], t, demo_model.encode_text(CHANGE.prompt)[None], plan=AttentionPlan(method.frame_plan)
        )[0]
    torch.testing.assert_close(late, demo_model.schedule.denoise(x, noise, t, STEPS), atol=1e-5, rtol=0)
    errors = [float((latents - clip).square().mean()) for latents in (whole, half, late)]
    assert errors[0] > errors[1] > errors[2] > 0
    with pytest.raises(LiveError, match=f"start: 1.0 skips all {STEPS} steps"):
        edit(demo_model, inversion, CHANGE, replace(method, start=1.0))


def test_masks_from_one_prompt_grown_and_averaged(demo_model, clip):
    """Growth acts on the latents alone; the mask that comes out is for the compositor to grow."""
    inversion = invert(demo_model, clip, CASE.prompt, BLENDED_LATENT, 3)
    plain, thin, steady, edits, union = (
        edit(demo_model, inversion, CHANGE, replace(BLENDED_LATENT, **row))
        for row in ({}, {"mask_grow": 0}, {"mask_neighbours": 2}, {"mask_from": "edit"}, {"mask_from": "both"})
    )
    kept = [float((result.latents == clip).all(1).float().mean()) for result in (plain, thin)]
    assert 0 < kept[0] < kept[1] < 1 and torch.equal(plain.mask, thin.mask)
    assert float((steady.mask[1:] - steady.mask[:-1]).abs().mean()) < float(
        (plain.mask[1:] - plain.mask[:-1]).abs().mean()
    )
    assert not torch.equal(edits.mask, plain.mask) and union.mask.sum() >= plain.mask.sum()


def test_null_text_brings_guided_sampling_back_to_the_clip(demo_model, clip):
    inversion = invert(demo_model, clip, CASE.prompt, PROMPT_TO_PROMPT, 6)
    found = find_null_text(demo_model, inversion, 4.0, 5)
    assert found.null_text.shape == (6, *demo_model.encode_text("").shape)
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


@pytest.mark.parametrize("method", [DDIM, PROMPT_TO_PROMPT], ids=lambda m: m.name)
def test_frame_by_frame_is_the_picture_model(demo_model, method):
    """A clip edited frame by frame is its frames edited alone, whatever temporal attention the model has learned."""
    clip = demo_model.encode_frames(torch.from_numpy(CASE.clip.frames()[:, 32:96, 32:96]).float() / 255)
    learned = {
        name: torch.full_like(p, 0.05) if ".attn_temp.to_out" in name else p.detach().clone()
        for name, p in demo_model.unet.trainable().items()
    }
    model = demo_model.with_tuning(Tuning(learned, None, (), CASE.prompt, demo_model.fingerprint))
    method = replace(
        method, guidance_scale=1.0, blend_threshold=None
    )  # guidance and thresholds would magnify how batches round
    together, *alone = (
        edit(model, invert(model, part, CASE.prompt, method, 3), CHANGE).latents for part in (clip, *clip.split(1))
    )
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    pooled = replace(method, frame_plan=replace(method.frame_plan, norm="clip"))
    other = edit(model, invert(model, clip, CASE.prompt, pooled, 3), CHANGE).latents
    assert (other - together).abs().max() > 0.02


def test_null_text_needs_guidance(demo_model, clip):
    with pytest.raises(LiveError, match="guidance scale: 1"):
        find_null_text(demo_model, invert(demo_model, clip, CASE.prompt, DDIM, 2), 1.0)


def test_null_text_needs_a_source_that_runs(demo_model, clip):
    """A kept reconstruction is the unguided one; null text would make the source another."""
    kept = invert(demo_model, clip, CASE.prompt, DDIM, 2, "ram")
    with pytest.raises(LiveError, match="attention 'ram'"):
        find_null_text(demo_model, kept, 4.0)


def test_queries_keep_their_own_beside_a_reconstruction(demo_model, clip):
    """A mask that is full leaves nothing of the injection, one that is empty leaves all of it; the maps are those of
    the steps before.
    """
    method = replace(DDIM, guidance_scale=3.0, self_start=0.25, self_ratio=1.0)
    inversion = invert(demo_model, clip, CASE.prompt, method, 4)
    none, full, part, empty, whole = (
        edit(demo_model, inversion, CHANGE, replace(method, **more)).latents
        for more in (
            {"self_ratio": 0.0},
            {"self_blend_threshold": 1e-9},
            {"self_blend_threshold": 0.5},
            {"self_blend_threshold": 1 - 1e-9},
            {},
        )
    )
    torch.testing.assert_close(full, none, atol=1e-4, rtol=1e-4)
    assert (part - full).abs().max() > 0.05 and (part - whole).abs().max() > 0.05
    assert (empty - whole).abs().mean() < (part - whole).abs().mean()


def test_a_placed_word_looks_where_the_words_it_replaces_look(demo_model, clip):
    """For its part of the steps, within that of word injection; after that it looks where it likes."""
    inversion = invert(demo_model, clip, CASE.prompt, DDIM, 4)
    method = replace(DDIM, guidance_scale=3.0, cross_ratio=0.75, place_ratio=0.5)
    records = edit(demo_model, inversion, Edit("a star moving on the meadow"), method).records
    (star,), old = records.edit.prompt.tokens_of("star"), records.source.prompt.tokens_of("red ball")
    apart = (records.edit.words[..., star].float() - records.source.words[..., old].float().sum(-1)).abs().amax((1, 2))
    assert (apart[:2] < 1e-3).all() and (apart[2:] > 1e-2).all()
    longer = edit(demo_model, inversion, CHANGE, replace(method, cross_ratio=0.5, place_ratio=1.0)).latents
    assert torch.equal(longer, edit(demo_model, inversion, CHANGE, replace(method, cross_ratio=0.5)).latents)


def test_words_that_are_not_there_are_named(demo_model, clip):
    inversion = invert(demo_model, clip, CASE.prompt, FATEZERO_ATTRIBUTE, 2)
    for change, method, says in (
        (Edit("a <star*> moving on the meadow"), FATEZERO_ATTRIBUTE, "'<star\\*>' stands for no photo.*none"),
        (Edit("a blue shiny star moving on the meadow"), FATEZERO_ATTRIBUTE, "choose refine"),
        (Edit(CHANGE.prompt, keep_words="moving"), FATEZERO_ATTRIBUTE, "keep words: 'moving'"),
        (Edit(CASE.prompt), FATEZERO_ATTRIBUTE, "same words"),
    ):
        with pytest.raises(LiveError, match=says):
            edit(demo_model, inversion, change, method)


@pytest.mark.parametrize("method", [FATEZERO_ATTRIBUTE, LIVE, BLENDED_LATENT, DDIM], ids=lambda m: m.name)
def test_a_missing_word_is_named_by_methods_that_would_not_read_it_too(demo_model, clip, method):
    inversion = invert(demo_model, clip, CASE.prompt, method, 1)
    for field, value, says in (
        ("weights", (("unicorn", 2.0),), "word weights: 'unicorn'.*choose from its words: a, blue"),
        ("windows", (("unicorn", (0.0, 1.0)),), "word windows: 'unicorn'"),
        ("source_words", "unicorn", "source words: 'unicorn'.*a, red"),
        ("edit_words", "ball", "edit words: 'ball'"),
        ("subtract_words", "unicorn", "subtract words: 'unicorn'"),
        ("keep_words", "unicorn", "keep words: 'unicorn'"),
    ):
        with pytest.raises(LiveError, match=says):
            edit(demo_model, inversion, replace(CHANGE, **{field: value}))


def test_a_mask_without_a_word_to_find(demo_model, clip, caplog):
    """Where the prompt that the mask is read from has no changed word; where subtracted words cover all; and given
    masks, black and white.
    """
    inversion = invert(demo_model, clip, CASE.prompt, BLENDED_LATENT, 2)
    more = Edit("a white red ball moving on the meadow")
    with pytest.raises(LiveError, match="mask from: 'source'.*name source words"):
        edit(demo_model, inversion, more)
    assert edit(demo_model, inversion, replace(more, source_words="ball")).mask.any() and not caplog.messages
    nothing = edit(
        demo_model,
        inversion,
        replace(CHANGE, subtract_words="ball, meadow"),
        replace(BLENDED_LATENT, subtract_threshold=1e-6),
    )
    assert (
        not nothing.mask.any()
        and torch.allclose(nothing.latents, inversion.latents[0])
        and "mask: it is empty" in caplog.messages[-1]
    )
    drawn = replace(BLENDED_LATENT, blend_threshold=None)
    black, white = (
        edit(demo_model, inversion, more, drawn, mask=torch.full((1, 64, 64), value)) for value in (0.0, 1.0)
    )
    assert torch.allclose(black.latents, inversion.latents[0]) and len(caplog.messages) == 2
    assert white.mask.all() and not torch.allclose(white.latents, black.latents, atol=1e-2)


def test_swapped_added_and_weighted_words_in_one_edit(demo_model):
    """Refine, placed: of "a white blue star", a run in the place of "red ball", every token looks where those do;
    shared words look as refine has them.
    """
    source, target = (
        read_prompt(text, demo_model.tokenizer) for text in (CASE.prompt, "a white blue star moving in on the meadow")
    )
    method = replace(PROMPT_TO_PROMPT, place_ratio=0.5)
    mapping, keep = word_edits(method, source, target, Edit(target.text, weights=(("blue", 2.0), ("meadow", 0.5))), 4)[
        0
    ]
    old, new = source.tokens_of("red ball"), target.tokens_of("white blue star")
    assert (
        torch.allclose(mapping[old][:, new], torch.tensor([[1, 2, 1]] * 2) / 3)
        and mapping[:, new].sum() == pytest.approx(8 / 3)
        and not keep[new].any()
    )
    assert (
        float(mapping[source.tokens_of("meadow"), target.tokens_of("meadow")]) == 0.5
        and float(mapping[source.tokens_of("moving"), target.tokens_of("moving")]) == 1
    )
    assert keep[target.tokens_of("in")].all() and not mapping[:, target.tokens_of("in")].any()


def test_refining_identical_prompts_is_the_source_s_attention(demo_model, clip):
    """Nothing to refine: every token takes the source's attention, and without masks that need a changed word the edit
    runs.
    """
    inversion = invert(demo_model, clip, CASE.prompt, DDIM, 4)
    method = replace(DDIM, guidance_scale=1.0, cross_ratio=1.0, word_edit="refine")
    torch.testing.assert_close(
        edit(demo_model, inversion, Edit(CASE.prompt), method).latents,
        reconstruct(demo_model, inversion),
        atol=1e-4,
        rtol=1e-4,
    )


def test_an_edit_of_another_model_s_inversion(demo_model, clip, caplog):
    """Another base is refused; another tuning, and null text of another guidance scale, are warned of."""
    inversion = invert(demo_model, clip, CASE.prompt, DDIM, 1)
    with pytest.raises(
        LiveError,
        match=(
            "inversion: it was made with a base of fingerprint 00aa, and this model is 'model' .fingerprint"
            f" {demo_model.fingerprint}"
        ),
    ):
        edit(demo_model, replace(inversion, base="00aa"), CHANGE)
    assert not caplog.messages
    edit(demo_model, replace(inversion, tuning="00aa"), CHANGE)
    assert len(caplog.messages) == 1 and "another tuning" in caplog.messages[0]
    found = find_null_text(demo_model, inversion, 4.0, 1)
    edit(demo_model, found, CHANGE, replace(DDIM, guidance_scale=4.0))
    assert len(caplog.messages) == 1
    edit(demo_model, found, CHANGE, replace(DDIM, guidance_scale=5.0))
    assert len(caplog.messages) == 2 and "guidance scale: 5, but null text was found at 4" in caplog.messages[1]
