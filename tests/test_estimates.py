"""What memory a run is estimated to take, beside what it takes at its highest; and what is chosen by it."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from chain import CASE, FAST
from conftest import ROOT
from diffusers import UNet2DConditionModel
from fakes import META, SD15, Held, fused

from live_core import LiveError
from live_core.attention import AttentionPlan, SelfInjection, WordInjection
from live_core.economy import APART, CHECKPOINTING, LOST, NONE, PARTS, Economy, backwards, first_way, forwards, room
from live_core.editing import Edit, edit
from live_core.estimates import needs, needs_to_learn
from live_core.frames import ALONE, FramePlan
from live_core.inversion import invert
from live_core.memory import one_run
from live_core.methods import LIVE
from live_core.notes import gathered
from live_core.tuning import tune
from live_core.video_unet import VideoUNet

LIVES, TAVS = FramePlan(("latent_prompt", "first", "previous")), FramePlan(("first", "previous"))


def network(config: dict, dtype: torch.dtype) -> VideoUNet:
    with META:
        return VideoUNet(UNet2DConditionModel(**config)).to(dtype).requires_grad_(False)


@pytest.fixture(scope="module")
def networks():
    """Stable Diffusion 1.5's in half precision, and the demo's."""
    read = json.loads((ROOT / "demo" / "model" / "unet" / "config.json").read_text())
    demo = {name: value for name, value in read.items() if not name.startswith("_")}
    return {"sd15": network(SD15, torch.float16), "demo": network(demo, torch.float32)}


def plan_of(frame_plan: FramePlan, injects: bool) -> AttentionPlan:
    if not injects:
        return AttentionPlan(frame_plan)
    word = WordInjection(2, 0, torch.zeros(77, 77, device=META), torch.zeros(77, device=META))
    return AttentionPlan(frame_plan, words=(word,), selves=(SelfInjection(2, 0, level=1),))


def run(unet: VideoUNet, economy: Economy, streams: int, frames: int, side: int, plan: AttentionPlan, learns: bool):
    """(bytes held at most, bytes estimated) of one forward, with its backward pass if it `learns`."""
    with META:
        x = torch.zeros(streams, frames, 4, side, side)
        text = torch.zeros(streams, 77, unet.unet.config.cross_attention_dim)
        seats = torch.zeros(streams, 4, side, side) if "latent_prompt" in plan.frame_plan.slots else None
    learned = list(unet.trainable().values()) if learns else []
    work = unet.work(x, seats is not None, plan)

    def compute():
        noise = unet(x, 500, text, seats, plan)
        return torch.autograd.grad(noise.square().mean(), learned) if learns else noise

    for parameter in learned:
        parameter.requires_grad_(True)
    with torch.set_grad_enabled(learns), Held(unet.parameters()) as held:
        unet._under(economy, compute)
    for parameter in learned:
        parameter.requires_grad_(False)
    estimate = needs_to_learn if learns else needs
    return held.peak, estimate(unet.unet, work, economy)


FORWARD = [
    ("sd15", 8, 64, LIVES, False),
    ("sd15", 24, 64, LIVES, True),
    ("sd15", 8, 96, TAVS, False),
    ("sd15", 4, 32, ALONE, True),
    ("demo", 8, 16, LIVES, True),
    ("demo", 3, 32, TAVS, False),
]


@pytest.mark.parametrize("economy", [Economy(), Economy(apart=True), Economy(rows_at_once=4)], ids=str)
@pytest.mark.parametrize("which,frames,side,frame_plan,injects", FORWARD)
def test_an_edit_s_forward_takes_what_is_estimated(
    networks, monkeypatch, which, frames, side, frame_plan, injects, economy
):
    with fused(monkeypatch):
        held, estimated = run(networks[which], economy, 3, frames, side, plan_of(frame_plan, injects), False)
    assert estimated == pytest.approx(held, rel=0.15)


@pytest.mark.parametrize("economy", [Economy(), Economy(checkpointing=True)], ids=str)
@pytest.mark.parametrize("which,frames,side,frame_plan,_", [row for row in FORWARD if row[3] is not ALONE])
def test_a_step_of_learning_takes_what_is_estimated(networks, monkeypatch, which, frames, side, frame_plan, _, economy):
    with fused(monkeypatch):
        held, estimated = run(networks[which], economy, 1, frames, side, AttentionPlan(frame_plan), True)
    assert estimated == pytest.approx(held, rel=0.15)


# ----------------------------------------------------------------------------------------------------------- the choice
@pytest.mark.parametrize("frames,card", [(8, 8e9), (24, 12e9)])
def test_stable_diffusion_is_tuned_on_small_cards(networks, monkeypatch, frames, card):
    """At 512x512 in half precision, by the automatic choice: in 7 GB of 8 for 8 frames, in 12 GB for 24. In fakes: the
    U-Net's weights, those of text encoder and autoencoder, and what learning adds, are counted; the forward and its
    backward pass measured."""
    unet = networks["sd15"]
    learned = sum(parameter.numel() for parameter in unet.trainable().values())
    there = 2 * sum(parameter.numel() for parameter in unet.parameters()) + 2 * (123e6 + 84e6)
    masters, to_come = 6 * learned, 10 * learned  # with the base's copy; gradients, and two moments
    with META:
        work = unet.work(torch.zeros(1, frames, 4, 64, 64), True, AttentionPlan(LIVES))
    ways = backwards(frames)
    with gathered() as notes, room(lambda: card - 0.5e9 - there - masters):
        economy = ways[first_way("training", ways, partial(needs_to_learn, unet.unet, work), to_come)]
    assert economy.kind == CHECKPOINTING and "activations computed again in the backward pass, to the same" in notes[0]
    with fused(monkeypatch):
        held, _ = run(unet, economy, 1, frames, 64, AttentionPlan(LIVES), True)
    assert there + masters + to_come + held < {8: 7e9, 24: 12e9}[frames]


ROW = re.compile(r"\| (\d+) of (\d+)x(\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|")


def test_what_the_readme_says_a_run_takes(networks):
    """Weights, what learning adds, and the U-Net's forward: of tuning, and of an edit of four streams (the clip's, and
    three where image_guidance_scale is neither 0 nor 1)."""
    unet = networks["sd15"]
    learned = sum(parameter.numel() for parameter in unet.trainable().values())
    there = 2 * sum(parameter.numel() for parameter in unet.parameters()) + 2 * (123e6 + 84e6)
    rows = ROW.findall((ROOT / "README.md").read_text())
    assert len(rows) == 4
    for frames, width, height, *said, card in rows:
        with META:
            one, four = (torch.zeros(n, int(frames), 4, int(height) // 8, int(width) // 8) for n in (1, 4))
        learns = unet.work(one, True, AttentionPlan(LIVES)), Economy(checkpointing=True)
        edits = unet.work(four, True, plan_of(LIVES, True))
        takes = (
            16 * learned + LOST * needs_to_learn(unet.unet, *learns),
            *(LOST * needs(unet.unet, edits, way) for way in (Economy(), Economy(apart=True))),
        )
        assert [f"{(there + each) / 1e9:.1f}" for each in takes] == said
        assert (there + max(takes[0], takes[2])) / 1e9 < int(card)


def test_the_first_way_that_fits_is_chosen_and_said():
    takes = {NONE: 8e9, APART: 4e9, PARTS: 2e9}
    ways = forwards(3, 2)
    for free, asked, kind, said in (
        (9e9, "auto", NONE, []),
        (
            5e9,
            "auto",
            APART,
            ["would take about 8.8 GB and 5.0 GB are free, so it goes on one stream after another, to"],
        ),
        (3e9, "auto", PARTS, ["one stream after another and with 1 frame at a time, to the same but for rounding"]),
        (1e9, "auto", PARTS, ["1 frame at a time", "may run out; give fewer frames"]),
        (1e9, "none", NONE, []),
        (9e9, "streams apart", APART, []),
        (9e9, "in parts", PARTS, []),
        (9e9, "checkpointing", NONE, []),
    ):
        with gathered() as notes, room(lambda free=free: free, asked):
            assert ways[first_way("the U-Net", ways, lambda way: takes[way.kind])].kind == kind, (free, asked)
        assert len(notes) == len(said) and all(words in text for words, text in zip(said, notes, strict=True)), notes
    assert first_way("the U-Net", ways, lambda way: takes[way.kind]) == 0  # nobody knows what is free
    with pytest.raises(LiveError, match="memory: 'all'; choose auto"), room(lambda: 0, "all"):
        pass


def test_a_tuning_that_would_not_fit_checkpoints_from_its_first_step_on(demo_model, clip, concept, tuned):
    """To the same bits, before memory runs out."""
    begun = []
    handle = demo_model.unet.unet.conv_in.register_forward_hook(
        lambda *_: begun.append(demo_model.unet.unet.is_gradient_checkpointing)
    )
    with gathered() as notes, one_run(), room(lambda: 1e6):
        again = tune(demo_model, clip, CASE.prompt, (concept,), FAST)
    handle.remove()
    assert all(begun) and any("memory: training would take" in text and "same bits" in text for text in notes), notes
    for name, tensor in tuned.tuning.tensors.items():
        assert torch.equal(again.tensors[name], tensor), name


@pytest.mark.parametrize("method", [LIVE, replace(LIVE, self_ratio=0.7, blend_threshold=0.3)], ids=["live", "all"])
def test_streams_one_after_another_give_the_same_edit(demo_model, clip, method):
    """But for rounding: with injections, word maps, and records of self-attention; one stream is seen at a time."""
    inversion = invert(demo_model, clip, CASE.prompt, LIVE, 3)
    change, seen = Edit("a blue star moving on the meadow"), []
    expected = edit(demo_model, inversion, change, method)
    handle = demo_model.unet.unet.conv_in.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    with one_run(), room(lambda: 0, APART):
        found = edit(demo_model, inversion, change, method)
    handle.remove()
    assert set(seen) == {len(clip) + 1}
    torch.testing.assert_close(found.latents, expected.latents, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.records.edit.words, expected.records.edit.words, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.records.source.words, expected.records.source.words, atol=1e-4, rtol=1e-3)
    assert (found.mask != expected.mask).float().mean() < 1e-3
