"""Rows of METHODS as they are published: what their configurations and scripts say, in their terms, and what follows
from it.
"""

import json
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from test_levels import sd_shaped

from demo.cases import CASES
from live_core import LiveError
from live_core.attention import AttentionPlan
from live_core.change import Edit, asked_of
from live_core.editing import edit
from live_core.frames import ALONE, FramePlan
from live_core.inversion import invert
from live_core.methods import (
    DDIM,
    FATEZERO_ATTRIBUTE,
    FATEZERO_SHAPE,
    FATEZERO_STYLE,
    LIVE,
    LIVE_RECOMMENDED,
    METHODS,
    PROMPT_TO_PROMPT,
    TAV_DDIM,
    VID2VID_ZERO,
    VIDEO_P2P,
    Method,
)
from live_core.null_text import find_null_text
from live_core.video_unet import VideoUNet

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
WORKFLOWS = ROOT / "workflows" / "api"


@pytest.fixture(scope="module")
def clip(demo_model):
    return demo_model.encode_frames(torch.from_numpy(CASE.clip.frames()[:3, 32:96, 32:96]).float() / 255)


def test_fatezero_s_configurations():
    """SparseCausalAttention_index, least_sc_channel of 1280, cross_replace_steps, self_replace_steps, blend_th (2: no
    query keeps its own), latents.
    """
    for row, index, least, cross, own, threshold in (
        (FATEZERO_STYLE, ["mid"], 640, 0.8, 0.8, 2),
        (FATEZERO_ATTRIBUTE, ["mid"], 640, 0.7, 0.7, 2),
        (FATEZERO_SHAPE, [-1, "first"], 0, 0.5, 0.5, 0.3),
    ):
        slots = tuple({"mid": "middle", -1: "previous"}.get(i, i) for i in index)
        assert (
            row.frame_plan == FramePlan(slots, min_width=least / 1280)
            and row.source == "inversion"
            and row.guidance_scale == 7.5
        )
        assert (row.cross_ratio, row.self_ratio, row.self_blend_threshold) == (
            cross,
            own,
            None if threshold > 1 else threshold,
        )
        assert row.blend_threshold is None and row.cross_max_tokens == row.self_max_tokens == 32**2


def test_prompt_to_prompt_is_one_notebook():
    """That of Stable Diffusion: self-attention up to 16x16, local blend at 0.3 from the first step."""
    assert (
        PROMPT_TO_PROMPT.self_max_tokens == 16**2
        and PROMPT_TO_PROMPT.blend_threshold == 0.3
        and PROMPT_TO_PROMPT.blend_steps(50) == range(50)
    )
    assert PROMPT_TO_PROMPT.frame_plan == ALONE == DDIM.frame_plan


def test_vid2vid_zero_reads_all_frames_in_three_layers_alone():
    unet = VideoUNet(sd_shaped())
    dense = []
    for name, processor in unet.unet.attn_processors.items():
        if ".attn1" in name:
            rows = VID2VID_ZERO.frame_plan.sources(4, False, processor.width, processor.name)
            assert rows in ([[0, 1, 2, 3]] * 4, [[0, 0], [0, 0], [0, 1], [0, 2]])
            dense += [name.split(".transformer")[0]] if len(rows[0]) == 4 else []
    assert (
        dense == ["down_blocks.0.attentions.0", "up_blocks.1.attentions.0", "mid_block.attentions.0"]
        and VID2VID_ZERO.cross_ratio == VID2VID_ZERO.self_ratio == 0.4
    )


@pytest.mark.parametrize(
    "method,prompt,seen",
    [
        (TAV_DDIM, "", TAV_DDIM.frame_plan),
        (VID2VID_ZERO, "", FramePlan(("self",))),
        (VIDEO_P2P, CASE.prompt, VIDEO_P2P.frame_plan),
        (FATEZERO_STYLE, CASE.prompt, FATEZERO_STYLE.frame_plan),
    ],
    ids=lambda x: getattr(x, "name", None),
)
@pytest.mark.parametrize("attention", ["recompute", "ram"])
def test_what_a_clip_is_inverted_under(demo_model, clip, method, prompt, seen, attention):
    """Tune-A-Video and vid2vid-zero: the empty prompt, the latter frame by frame; a kept reconstruction is made under
    the edit's own all the same.
    """
    inversion = invert(demo_model, clip, CASE.prompt, method, 2, attention)
    x, text = clip[None], demo_model.encode_text(prompt)[None]
    for step, t in enumerate(reversed(demo_model.schedule.timesteps(2))):
        with torch.no_grad():
            x = demo_model.schedule.invert(x, demo_model.unet(x, t, text, plan=AttentionPlan(seen)), t, 2)
        assert torch.equal(x[0], inversion.latents[step + 1])
    if attention == "ram" and method.source == "reconstruction":
        text = demo_model.encode_text(CASE.prompt)[None]
        with torch.no_grad():
            noise = demo_model.unet(x, demo_model.schedule.timesteps(2)[0], text, plan=AttentionPlan(method.frame_plan))
        assert torch.equal(
            demo_model.schedule.denoise(x, noise, demo_model.schedule.timesteps(2)[0], 2)[0],
            inversion.store.read("0000/latents"),
        )


def test_an_inversion_serves_methods_that_invert_alike(demo_model, clip):
    inversion = invert(demo_model, clip, CASE.prompt, TAV_DDIM, 1)
    edit(demo_model, inversion, CHANGE, replace(TAV_DDIM, name="more", guidance_scale=3.0, cross_ratio=0.5))
    for other in (replace(TAV_DDIM, inversion_prompt="clip"), replace(TAV_DDIM, inversion_frame_plan=ALONE)):
        with pytest.raises(LiveError, match="invert it again"):
            edit(demo_model, inversion, CHANGE, other)
    for changed in ({"inversion_prompt": "empty"}, {"inversion_frame_plan": ALONE}):
        with pytest.raises(
            LiveError, match="source: 'inversion', but the clip would be inverted under other frames or another prompt"
        ):
            replace(FATEZERO_STYLE, **changed)


def test_words_may_be_injected_from_a_later_step_on(demo_model):
    """[0.2, 0.9] for all words: from int(0.2 (N + 1)) to int(0.9 (N + 1)), and a word's own window in its place."""
    asked = asked_of(demo_model, CASE.prompt, replace(CHANGE, windows=(("meadow", (0.0, 0.5)),)))
    method = replace(LIVE, cross_start=0.2, cross_ratio=0.9)
    edits = asked.token_edits(method, 10)
    moving, meadow = (asked.edit.tokens_of(word)[0] for word in ("moving", "meadow"))
    assert [i for i, pair in enumerate(edits) if pair and pair[0][:, moving].any()] == list(range(2, 9))
    assert [i for i, pair in enumerate(edits) if pair and pair[0][:, meadow].any()] == list(range(5))
    assert not any(
        asked_of(demo_model, CASE.prompt, CHANGE).token_edits(replace(LIVE, cross_start=0.2, cross_ratio=0.0), 10)
    )
    with pytest.raises(LiveError, match="cross_start: 0.7 comes after cross_ratio, 0.6"):
        replace(LIVE, cross_start=0.7)


def stepped(model, inversion, x, i, null, scale) -> torch.Tensor:
    """The latents after step i, under guidance from the text `null` (1, L, d)."""
    t, told = model.schedule.timesteps(inversion.steps)[i], model.encode_text(inversion.prompt)[None]
    free, bound = (model.unet(x, t, text, plan=AttentionPlan(inversion.method.inverted_under)) for text in (null, told))
    return model.schedule.denoise(x, free + scale * (bound - free), t, inversion.steps)


def notebook(model, inversion, scale, inner_steps) -> torch.Tensor:
    """Null text by the loop of prompt-to-prompt's notebook: Adam's step, and then a look at the error before it."""
    null, x, found = model.encode_text("")[None], inversion.at(0)[None], []
    for i in range(inversion.steps):
        null = null.clone().requires_grad_()
        optimizer = torch.optim.Adam([null], lr=1e-2 * (1 - i / (2 * inversion.steps)))
        for _ in range(inner_steps):
            loss = torch.nn.functional.mse_loss(stepped(model, inversion, x, i, null, scale)[0], inversion.at(i + 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss.item() < 1e-5 + 2e-5 * i:
                break
        null = null.detach()
        found.append(null[0])
        with torch.no_grad():
            x = stepped(model, inversion, x, i, null, scale)
    return torch.stack(found)


@pytest.mark.parametrize("method", [DDIM, VID2VID_ZERO], ids=lambda m: m.name)
def test_null_text_is_the_notebook_s(demo_model, clip, method):
    inversion = invert(demo_model, clip, CASE.prompt, method, 3)
    found = find_null_text(demo_model, inversion, 4.0, 3).null_text
    torch.testing.assert_close(found, notebook(demo_model, inversion, 4.0, 3), atol=1e-4, rtol=0)


def test_null_text_takes_one_step_even_where_it_is_near_enough(demo_model, clip):
    inversion = invert(demo_model, clip[:1], CASE.prompt, DDIM, 1)
    noise, empty = inversion.at(0)[None], demo_model.encode_text("")
    with torch.no_grad():
        led = stepped(demo_model, inversion, noise, 0, empty[None], 4.0)
    inversion = replace(inversion, latents=torch.cat([led + 2e-3, noise]))  # an error of 4e-6, below 1e-5
    found = find_null_text(demo_model, inversion, 4.0, 5).null_text
    assert (found - empty).abs().max() == pytest.approx(1e-2, rel=0.05)  # Adam's first step is its rate
    torch.testing.assert_close(found, notebook(demo_model, inversion, 4.0, 5), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_norms_pool_over_the_clip_unless_frames_are_pictures(method):
    assert method.frame_plan.norm == ("frame" if method.frame_plan == ALONE else "clip")


def test_two_workflows_for_one_s_own_clip_under_their_true_names():
    """The papers' values (LIVE, sections 3.3 and 4), and what we recommend: all else is the same."""
    papers, ours = (
        {node["class_type"]: node["inputs"] for node in json.loads((WORKFLOWS / f"{name}.json").read_text()).values()}
        for name in ("live_paper_values", "live_stable_diffusion")
    )
    tune, change, clip = (papers[f"LIVE_{node}"] for node in ("Tune", "Edit", "FitClip"))
    assert (tune["clip_steps"], tune["photo_steps"], tune["clip_rate"], tune["photo_rate"]) == (500, 500, 3e-5, 5e-3)
    assert tune["photo_loss"] == "square" and tune["photo_latent_prompt"] and not tune["temporal_in_photo_steps"]
    assert papers["LIVE_Invert"]["steps"] == 50
    assert (clip["longest_side"], clip["frames"], clip["every_nth"]) == (512, 8, 5)
    assert method_of(change) == LIVE
    assert (LIVE.guidance_scale, LIVE.cross_ratio, LIVE.self_ratio, LIVE.place_ratio) == (12.5, 0.6, 0.3, 0.0)
    assert (LIVE.edit_latent_prompt, LIVE.unconditional_latent_prompt) == ("trained", "reference")
    assert LIVE.image_guidance_scale is None and LIVE.word_edit == "swap"
    assert method_of(ours["LIVE_Edit"]) == LIVE_RECOMMENDED != LIVE and papers.keys() == ours.keys()


def method_of(inputs: dict) -> Method:
    """The row that an Edit Video node of an API graph edits by: 0 is off, where a row has None."""
    values = {name.removeprefix("method."): value for name, value in inputs.items() if name.startswith("method.")}
    row = {**METHODS, "live-paper": LIVE}[inputs["method"]]
    return replace(row, **{n: None if v == 0 and getattr(row, n) is None else v for n, v in values.items()})
