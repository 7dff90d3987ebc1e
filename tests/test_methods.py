"""Every row of METHODS through the one loop: what its settings do, and their limits, which are exact."""

import re
from dataclasses import replace

import pytest
import torch

from demo.cases import CASES
from live_core import LiveError
from live_core.attention import AttentionPlan
from live_core.change import word_edits
from live_core.editing import Edit, edit
from live_core.frames import ALONE
from live_core.inversion import invert
from live_core.methods import (
    BLENDED_LATENT,
    DDIM,
    FATEZERO_ATTRIBUTE,
    LIVE,
    METHODS,
    PROMPT_TO_PROMPT,
)
from live_core.null_text import find_null_text
from live_core.pretrained import Tuning
from live_core.prompts import read_prompt
from live_core.reconstruction import reconstruct

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
STEPS = 4


@pytest.fixture
def clip(middle_clip):
    return middle_clip


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_every_method_edits_and_stays_within_bounds(demo_model, clip, method):
    """In so few steps as four, guidance at 7.5 overshoots by itself."""
    inversion = invert(demo_model, clip, CASE.prompt, method, 8)
    result = edit(demo_model, inversion, CHANGE)
    assert result.latents.shape == clip.shape and result.latents.isfinite().all() and result.latents.abs().max() < 12
    assert not torch.allclose(
        result.latents, edit(demo_model, inversion, Edit("a green box moving on the meadow")).latents, atol=1e-2
    )


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
    # Nothing to start.
    assert replace(FATEZERO_ATTRIBUTE, self_ratio=0.0, self_start=0.5).self_steps(50) == range(25, 0)


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
    # s + 1 (e - s) rounds.
    torch.testing.assert_close(
        edit(demo_model, inversion, CHANGE, alone, mask=everything).latents, free.latents, atol=1e-4, rtol=0
    )
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


@pytest.mark.parametrize("method", [DDIM, PROMPT_TO_PROMPT], ids=lambda m: m.name)
def test_frame_by_frame_is_the_picture_model(demo_model, method):
    """A clip edited frame by frame is its frames edited alone, whatever temporal attention the model has learned."""
    clip = demo_model.encode_frames(torch.from_numpy(CASE.clip.frames()[:, 32:96, 32:96]).float() / 255)
    learned = {
        name: torch.full_like(p, 0.05) if ".attn_temp.to_out" in name else p.detach().clone()
        for name, p in demo_model.unet.trainable().items()
    }
    model = demo_model.with_tuning(Tuning(learned, None, (), CASE.prompt, demo_model.fingerprint))
    # Guidance and thresholds would magnify how batches round.
    method = replace(method, guidance_scale=1.0, blend_threshold=None)
    together, *alone = (
        edit(model, invert(model, part, CASE.prompt, method, 3), CHANGE).latents for part in (clip, *clip.split(1))
    )
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    pooled = replace(method, frame_plan=replace(method.frame_plan, norm="clip"))
    other = edit(model, invert(model, clip, CASE.prompt, pooled, 3), CHANGE).latents
    assert (other - together).abs().max() > 0.02


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
        (Edit(CASE.prompt), replace(FATEZERO_ATTRIBUTE, self_blend_threshold=0.3), "same words"),
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
