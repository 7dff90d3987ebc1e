"""What an edit records of its attention, exactly."""

from dataclasses import replace

import pytest
import torch
from layers import layer

from demo.cases import CASES
from live_core import LiveError, editing, records
from live_core.attention import AttentionPlan, SelfInjection
from live_core.editing import Edit, edit
from live_core.inspect import (
    show_self_attention,
    show_words,
)
from live_core.inversion import invert
from live_core.masks import MaskRule, word_mask
from live_core.methods import BLENDED_LATENT, DDIM, FATEZERO_SHAPE, FATEZERO_STYLE, LIVE, PROMPT_TO_PROMPT, TAV_DDIM
from live_core.records import FUSION, LOCAL_BLEND, SideRecorder
from live_core.taps import WordTap

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")


WORDS = 8  # start token and seven words of one token


STEPS = 6


@pytest.fixture
def taps(monkeypatch):
    """Every tap that an edit makes, with the maps of each forward in `seen`."""
    made = []

    class Watched(WordTap):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.seen = []
            made.append(self)

        def end_of_forward(self):
            super().end_of_forward()
            self.seen.append(self.acted)

    monkeypatch.setattr(editing, "WordTap", Watched)
    return made


@pytest.mark.parametrize("method", [LIVE, PROMPT_TO_PROMPT], ids=lambda m: m.name)
def test_records_are_the_tap_s_own_maps(demo_model, whole_clip, taps, method):
    records = edit(demo_model, invert(demo_model, whole_clip, CASE.prompt, method, STEPS), CHANGE).records
    (tap,), shift = taps, int(method.latent_prompt)
    assert torch.equal(tap.maps, sum(tap.seen[1:], tap.seen[0])) and len(tap.seen) == STEPS
    for row, side in enumerate((records.edit, records.source)):
        assert torch.equal(side.words, torch.stack([maps[row][shift:, :, :WORDS] for maps in tap.seen]).half())
        torch.testing.assert_close(
            side.words.float().sum(0), tap.maps[row][shift:, :, :WORDS], rtol=1e-3, atol=STEPS * 2**-25
        )
        # The mean of five of six steps.
        torch.testing.assert_close(side.self_attention.float().sum(-1), torch.ones(3, 256), rtol=2e-3, atol=0)
    assert records.edit.prompt.words[1:3] == ("blue", "star") and records.source.prompt.words[1:3] == ("red", "ball")


def test_the_source_s_records_are_the_same_from_a_store(demo_model, middle_clip, tmp_path):
    edits = [
        edit(
            demo_model, invert(demo_model, middle_clip, CASE.prompt, FATEZERO_SHAPE, STEPS, attention, tmp_path), CHANGE
        ).records
        for attention in ("recompute", "ram", "disk")
    ]
    for other in edits[1:]:
        torch.testing.assert_close(other.source.words, edits[0].source.words, atol=1e-4, rtol=1e-3)
        assert other.source.self_attention is None and other.edit.self_attention is not None
        with pytest.raises(
            LiveError, match="which: 'self-attention' of side 'source' was not computed.*choose side 'edit'"
        ):
            show_self_attention(other, torch.zeros(3, 128, 128, 3), "source")
    assert edits[0].source.self_attention is not None


def test_injected_attention_is_recorded_as_it_acted(demo_model, whole_clip, taps):
    """FateZero's masks read the edit's maps from before the injection; what acted on a shared word is the source's."""
    inversion = invert(demo_model, whole_clip, CASE.prompt, FATEZERO_SHAPE, 2)
    records = edit(demo_model, inversion, CHANGE, replace(FATEZERO_SHAPE, cross_ratio=1.0)).records
    shared = [1, 4, 5, 6, 7]
    torch.testing.assert_close(records.edit.words[..., shared], records.source.words[..., shared])
    before = taps[0].maps[0][..., shared]
    assert not torch.allclose(before, records.edit.words[..., shared].float().sum(0), atol=1e-3)


def test_masks_are_those_that_were_used(demo_model, whole_clip):
    method = replace(FATEZERO_SHAPE, blend_threshold=0.3)
    records = edit(demo_model, invert(demo_model, whole_clip, CASE.prompt, method, 10), CHANGE).records
    assert set(records.masks[LOCAL_BLEND]) == set(method.blend_steps(10))
    assert set(records.masks[FUSION]) == set(method.self_steps(10))
    for step, mask in records.masks[FUSION].items():
        expected = word_mask(records.source.words[step].float(), [2, 3], (16, 16), (16, 16), MaskRule(0.3))
        assert (mask.float() - expected).abs().mean() < 5e-3  # half precision at the threshold
    left = torch.zeros(1, 128, 128)
    left[..., :64] = 1
    given = edit(
        demo_model,
        invert(demo_model, whole_clip, CASE.prompt, BLENDED_LATENT, 4),
        CHANGE,
        replace(BLENDED_LATENT, blend_threshold=None),
        mask=left,
    ).records
    assert set(given.masks[LOCAL_BLEND]) == {1, 2, 3} and all(
        mask[..., :8].all() and not mask[..., 8:].any() for mask in given.masks[LOCAL_BLEND].values()
    )


def test_recording_changes_no_bit(demo_model, middle_clip, monkeypatch):
    """Beside loops whose tap finds masks and nothing else, and beside a loop by hand without any."""
    inversions = {
        method: invert(demo_model, middle_clip, CASE.prompt, method, STEPS)
        for method in (LIVE, FATEZERO_SHAPE, TAV_DDIM)
    }
    recorded = {method: edit(demo_model, inversion, CHANGE) for method, inversion in inversions.items()}
    monkeypatch.setattr(records, "SELF_STEPS", 0)
    monkeypatch.setattr(editing, "Records", lambda **_: None)
    monkeypatch.setattr(SideRecorder, "step", lambda *_: None)
    monkeypatch.setattr(SideRecorder, "side", lambda *_: None)
    monkeypatch.setattr(
        editing, "WordTap", lambda *args, **options: WordTap(*args, **{**options, "self_maps": [None, None]})
    )
    for method in (LIVE, FATEZERO_SHAPE):
        plain = edit(demo_model, inversions[method], CHANGE)
        assert torch.equal(plain.latents, recorded[method].latents) and torch.equal(plain.mask, recorded[method].mask)
    x = inversions[TAV_DDIM].latents[-1]
    text = torch.stack([demo_model.encode_text(""), demo_model.encode_text(CHANGE.prompt)])
    for t in demo_model.schedule.timesteps(STEPS):
        noise = demo_model.unet(torch.stack([x, x]), t, text, plan=AttentionPlan(TAV_DDIM.frame_plan))
        x = demo_model.schedule.denoise(x, noise[0] + TAV_DDIM.guidance_scale * (noise[1] - noise[0]), t, STEPS)
    assert torch.equal(x, recorded[TAV_DDIM].latents)


@pytest.mark.parametrize("method", [FATEZERO_SHAPE, BLENDED_LATENT, DDIM], ids=lambda m: m.name)
def test_bytes_are_the_formula_s(demo_model, middle_clip, method):
    records = edit(demo_model, invert(demo_model, middle_clip, CASE.prompt, method, 10), CHANGE).records
    of_source = () if records.source is None else records.source.steps
    ran, sides, f, n = 10 - method.first_step(10), 1 + (records.source is not None), 3, 8 * 8
    masks = len(method.blend_steps(10)) * (method.blend_threshold is not None) + len(method.self_steps(10)) * (
        method.self_blend_threshold is not None
    )
    if method is BLENDED_LATENT:
        masks = ran  # it blends from the first step that runs
    words = 2 * (ran + len(of_source)) * f * n * WORDS
    assert records.nbytes == words + sides * 2 * f * n**2 + masks * f * 8 * 8
    assert of_source == {FATEZERO_SHAPE: tuple(range(5)), BLENDED_LATENT: tuple(range(2, 10)), DDIM: ()}[method]


def test_a_tap_of_chosen_streams_is_that_part_of_all(demo_model, whole_clip):
    text = torch.stack([demo_model.encode_text(prompt) for prompt in (CASE.prompt, "", CHANGE.prompt)])
    every, chosen = WordTap(0, self_attention=True), WordTap(0, rows=(2, 0), self_attention=True)
    for tap in (every, chosen):
        demo_model.unet(torch.stack([whole_clip] * 3), 500, text, plan=AttentionPlan(tap=tap))
    for whole, part in zip(
        (every.maps, every.acted, every.self_maps), (chosen.maps, chosen.acted, chosen.self_maps), strict=True
    ):
        assert torch.equal(whole[[2, 0]], part)


def test_self_attention_is_recorded_as_it_acted():
    """Source's map where the mask is 0, the edit's own where it is 1; keys of the frame itself."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2 * 2, 2, 5, 4)
    maps = (q @ k.transpose(-1, -2) / 2).softmax(-1).mean(1)
    mask = torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 1, 0, 1]])
    for masks, expected in (
        (None, maps[:2]),
        ({0: mask}, mask[..., None] * maps[2:] + (1 - mask[..., None]) * maps[:2]),
    ):
        tap = WordTap(0, rows=(1, 0), self_attention=True)
        plan = AttentionPlan(selves=(SelfInjection(1, 0, masks=masks),), tap=tap, streams=2, frames=2)
        layer("self", plan, q, k, v)
        tap.end_of_forward()
        torch.testing.assert_close(tap.self_maps, torch.stack([expected, maps[:2]]), atol=1e-6, rtol=1e-5)


def test_a_source_that_nothing_reads_is_not_run(demo_model, clip, monkeypatch):
    """FateZero's, after its ratios: the same edit to the bit as with all of them, and records of the steps that ran."""
    method = replace(FATEZERO_STYLE, cross_ratio=0.4, self_ratio=0.6)
    inversion, change = invert(demo_model, clip, CASE.prompt, method, 5), Edit("a blue star moving on the meadow")
    runs = []
    handle = demo_model.unet.unet.conv_in.register_forward_pre_hook(lambda _, x: runs.append(len(x[0])))
    found = edit(demo_model, inversion, change, method)
    handle.remove()
    assert runs.count(len(clip)) == 3 and found.records.source.steps == (0, 1, 2)
    assert len(found.records.source.words) == 3 and found.records.edit.steps == (0, 1, 2, 3, 4)
    with pytest.raises(LiveError, match="nothing read the attention of 'source'.*steps 1 to 3 of 5"):
        show_words(found.records, torch.zeros(len(clip), 64, 64, 3), "", "source", (0.7, 1.0))
    monkeypatch.setattr(editing, "steps_that_read", lambda *_: range(5))
    assert torch.equal(edit(demo_model, inversion, change, method).latents, found.latents)
