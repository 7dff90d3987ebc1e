"""NaN and infinity: refused where they come in, and where they arise in a run, which then says at which step."""

import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_untouched, frames, weights

from live_core import LiveError
from live_core.checks import check_frames, check_number, check_whole, is_finite
from live_core.compositing import composite, soften
from live_core.editing import Edit, edit
from live_core.inspect import show_masks
from live_core.inversion import invert
from live_core.masks import edit_mask
from live_core.methods import LIVE
from live_core.null_text import find_null_text
from live_core.reconstruction import reconstruct
from live_core.tuning import TuneSettings, tune

NAN, INF = math.nan, math.inf
PICTURES = torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0))


def spoilt(tensor: torch.Tensor, frame: int = 1, value: float = NAN) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[frame].view(-1)[-1] = value
    return tensor


@pytest.mark.parametrize(
    "value", [NAN, INF, -INF, -1, 3, "1", None, True, [1], 10**400], ids=lambda value: repr(value)[:9]
)
def test_what_is_no_finite_number_in_range_is_refused_and_named(value):
    with pytest.raises(LiveError, match="^blur: .*; give a finite number from 0 to 2$"):
        check_number("blur", value, 0, 2)
    with pytest.raises(LiveError, match="^steps: .*; give a whole number from 0 to 2$"):
        check_whole("steps", value, 0, 2)


def test_finite_numbers_pass():
    for value in (0, 0.5, 2, torch.tensor(1.5).item()):
        check_number("blur", value, 0, 2)
    check_whole("steps", 2, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_bad_value_anywhere_is_found(dtype):
    for value in (NAN, INF, -INF):
        for place in (0, 500, 999):
            tensor = torch.zeros(1000, dtype=dtype)
            assert is_finite(tensor)
            tensor[place] = value
            assert not is_finite(tensor)
    assert (
        is_finite(torch.zeros(0))
        and is_finite(torch.ones(3, dtype=torch.int64))
        and is_finite(torch.ones(3, dtype=torch.bool))
    )


@pytest.mark.parametrize("field", ["clip_rate", "latent_prompt_rate", "photo_rate"])
@pytest.mark.parametrize("value", [NAN, INF, -1e-3, 2.0])
def test_learning_rates(field, value):
    with pytest.raises(LiveError, match=f"^{field.replace('_', ' ')}: "):
        TuneSettings(**{field: value})


def test_weights_of_words_and_other_numbers(demo_model, clip):
    with pytest.raises(LiveError, match="^word weights: road: nan"):
        Edit("a road", weights=(("road", NAN),))
    with pytest.raises(LiveError, match="^kept steps: nan"):
        invert(demo_model, clip, CASE.prompt, LIVE, 1, kept_steps=NAN)
    inversion = invert(demo_model, clip, CASE.prompt, LIVE, 1)
    for value in (NAN, INF):
        with pytest.raises(LiveError, match="^guidance scale: "):
            find_null_text(demo_model, inversion, value)
    with pytest.raises(LiveError, match="^inner steps: 0"):
        find_null_text(demo_model, inversion, 7.5, 0)
    with pytest.raises(LiveError, match="^blur: nan"):
        soften(torch.zeros(1, 16, 16), blur=NAN)


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(
    "name,enter",
    [
        ("images", lambda model, bad: model.encode_frames(bad)),
        ("photo", lambda model, bad: model.encode_frames(bad, "photo")),
        ("images", lambda model, bad: composite(bad, PICTURES, torch.ones(1, 16, 16))),
        ("edited images", lambda model, bad: composite(PICTURES, bad, torch.ones(1, 16, 16))),
        (
            "mask",
            lambda model, bad: composite(PICTURES, PICTURES, bad[..., 0] if bad[1, -1, -1, 0].isnan() else bad[..., 2]),
        ),
        ("mask", lambda model, bad: soften(bad[..., 2], 2, 1.0)),
        ("mask", lambda model, bad: edit_mask(bad[..., 2], 3, (16, 16))),
    ],
)
def test_pictures_and_masks_are_refused_at_the_door(name, enter, value, demo_model):
    with pytest.raises(LiveError, match=f"^{name}: frame 2 of 3 has values that are not finite"):
        enter(demo_model, spoilt(PICTURES, value=value))


def test_pictures_to_lay_attention_over(demo_model, clip):
    records = edit(
        demo_model, invert(demo_model, clip, CASE.prompt, LIVE, 1), Edit(CASE.prompt.replace("ball", "star"))
    ).records
    with pytest.raises(LiveError, match="^images: frame 1 of 3 has"):
        show_masks(records, spoilt(frames(), 0))


@contextmanager
def failing_from(model, call: int, part: str = "unet"):
    """The network gives NaN from its forward number `call`, the first being 1: as half precision does once it
    overflows.
    """
    calls = []

    def spoil(_module, _inputs, output):
        calls.append(None)
        if len(calls) >= call:
            output.sample = output.sample * NAN

    hook = model.unet.unet.register_forward_hook(spoil)
    try:
        yield
    finally:
        hook.remove()


def test_a_run_stops_at_the_step_that_is_not_finite(demo_model, clip):
    with (
        failing_from(demo_model, 3),
        pytest.raises(LiveError, match="^inversion: step 3 of 4 gave latents that are not finite .*precision"),
    ):
        invert(demo_model, clip, CASE.prompt, LIVE, 4)
    with failing_from(demo_model, 7), pytest.raises(LiveError, match="^reconstruction: step 3 of 4"):
        invert(demo_model, clip, CASE.prompt, LIVE, 4, "ram")
    inversion = invert(demo_model, clip, CASE.prompt, LIVE, 4)
    with failing_from(demo_model, 2), pytest.raises(LiveError, match="^reconstruction: step 2 of 4"):
        reconstruct(demo_model, inversion)
    with (
        failing_from(demo_model, 4),
        pytest.raises(LiveError, match="^edit: step 4 of 4 .*guidance scale, or .*precision"),
    ):
        edit(demo_model, inversion, Edit(CASE.prompt.replace("ball", "star")))
    # A step is two forwards of it and one of the told text.
    with (
        failing_from(demo_model, 4),
        pytest.raises(LiveError, match="^null text: step 2 of 4"),
    ):
        find_null_text(demo_model, inversion, 7.5, 1)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_tuning_stops_before_it_learns_from_a_loss_that_is_not_finite(
    demo_model, clip, concept, tuned, tmp_path, step
):
    """And keeps what it had learned so far: with a model that is sound again it goes on to the same bits."""
    before = weights(demo_model)
    with (
        failing_from(demo_model, step),
        pytest.raises(LiveError, match=f"^tuning: the loss of step {step} of 4 is not finite.*smaller learning rates"),
    ):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path)
    assert_untouched(demo_model, before)
    seen = []
    again = tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, *_: seen.append(step), tmp_path)
    assert seen == list(range(step, 5)) and all(
        torch.equal(t, tuned.tuning.tensors[n]) for n, t in again.tensors.items()
    )
    assert torch.equal(again.concepts[0].vectors, tuned.tuning.concepts[0].vectors)


def test_what_the_last_step_learned_must_be_finite(demo_model, clip, monkeypatch):
    """No later step's loss can tell of it."""
    before = weights(demo_model)
    monkeypatch.setattr("live_core.learning.descend", lambda optimizer, tensors, *_, **__: tensors[0].mul_(INF))
    with pytest.raises(
        LiveError, match="^tuning: what the last of 1 steps learned is not finite; give smaller learning rates"
    ):
        tune(demo_model, clip, CASE.prompt, (), replace(FAST, clip_steps=1, photo_steps=0))
    assert_untouched(demo_model, before)


def test_an_autoencoder_that_overflows_is_named(demo_model, clip):
    hook = demo_model.vae.decoder.register_forward_hook(lambda _module, _inputs, output: output * NAN)
    try:
        with pytest.raises(LiveError, match="^images: the autoencoder's pictures: frame 1 of 3 .*precision float32"):
            demo_model.decode_frames(clip)
    finally:
        hook.remove()
    hook = demo_model.vae.encoder.register_forward_hook(lambda _module, _inputs, output: output * NAN)
    try:
        with pytest.raises(LiveError, match="^photo: the autoencoder's latents: frame 1 of 3 .*precision float32"):
            demo_model.encode_frames(frames(), "photo")
    finally:
        hook.remove()


def test_check_frames_counts_from_one():
    with pytest.raises(LiveError, match="^mask: frame 3 of 3 has .*; draw it anew"):
        check_frames("mask", spoilt(PICTURES[..., 0], 2), "draw it anew")
    check_frames("mask", PICTURES)
