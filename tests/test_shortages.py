"""Memory that runs out once, in every stage, at its first forward or in the midst of the run: nothing is lost or
counted twice, the result is the one without it, and the next run has all of its memory again."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_same, assert_untouched, frames, weights

from live_core import descent, masks
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import FATEZERO_SHAPE, LIVE, PROMPT_TO_PROMPT, VIDEO_P2P
from live_core.notes import gathered
from live_core.null_text import find_null_text
from live_core.reconstruction import reconstruct
from live_core.tuning import tune

STEPS = 3
CHANGE = Edit("a blue star moving on the meadow")
# Where: an early and a late module of each network; attention of the layers between has been tapped and recorded when
# the late one runs.
PLACES = {
    "the first layer": lambda model: model.unet.unet.conv_in,
    "the last layer": lambda model: model.unet.unet.conv_out,
    "a layer of attention": lambda model: next(
        m for name, m in reversed(list(model.unet.unet.named_modules())) if name.endswith("attn1")
    ),
    "the text encoder": lambda model: model.text_encoder.get_input_embeddings(),
}


@contextmanager
def short_once(module, at: int):
    """The forward `at` of `module`, the first being 1, runs out of memory at its end; gives the count of forwards."""
    count = []

    def hook(*_):
        count.append(1)
        if len(count) == at:
            raise torch.OutOfMemoryError("no room")

    handle = module.register_forward_hook(hook)
    try:
        yield count
    finally:
        handle.remove()


def check(model, work, same, place: str, at: int):
    """`work()` with a shortage is `same` as without, says so, leaves the model alone, costs the next run nothing."""
    before, module = weights(model), PLACES[place](model)
    with short_once(module, 0) as undisturbed:
        expected = work()
    with gathered() as notes, short_once(module, at) as disturbed:
        same(work(), expected)
    assert len(disturbed) > len(undisturbed) >= at and sum("memory ran out" in text for text in notes) == 1
    assert_untouched(model, before)
    assert not model.unet.unet.is_gradient_checkpointing and all(
        block._chunk_size is None for block in model.unet._blocks
    )
    with gathered() as notes, short_once(module, 0) as after:
        assert_equal(work(), expected)
    assert len(after) == len(undisturbed) and not any("memory ran out" in text for text in notes)


def tensors_of(thing) -> dict[str, torch.Tensor]:
    """Every tensor that an inversion or an edit holds."""
    if isinstance(thing, torch.Tensor):
        return {"itself": thing}
    if hasattr(thing, "null_text"):
        kept = {} if thing.store is None else {key: thing.store.read(key) for key in thing.store._tensors}
        return {"latents": thing.latents, **kept, **({} if thing.null_text is None else {"null text": thing.null_text})}
    if hasattr(thing, "records"):
        sides = {name: side for name, side in (("edit", thing.records.edit), ("source", thing.records.source)) if side}
        return {
            "latents": thing.latents,
            "mask": thing.mask,
            **{f"{name} words": side.words for name, side in sides.items()},
            **{f"{name} self": side.self_attention for name, side in sides.items() if side.self_attention is not None},
            **{f"{kind} {step}": mask for kind, masks in thing.records.masks.items() for step, mask in masks.items()},
        }
    return {
        **thing.tensors,
        "latent prompt": thing.latent_prompt,
        **{f"vector {i}": concept.vectors for i, concept in enumerate(thing.concepts)},
    }


def assert_equal(found, expected):
    found, expected = tensors_of(found), tensors_of(expected)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def assert_near(found, expected):
    """The same but for the rounding of sums over fewer frames at a time; maps that were counted twice would be twice as
    large.
    """
    found, expected = tensors_of(found), tensors_of(expected)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        if tensor.dtype == torch.bool or name == "mask":
            assert (tensor != expected[name]).float().mean() < 1e-3, name
        else:
            torch.testing.assert_close(tensor.float(), expected[name].float(), atol=2e-3, rtol=2e-3, msg=name)


@pytest.fixture(scope="module")
def inversions(demo_model, clip):
    return {
        (method, attention): invert(demo_model, clip, CASE.prompt, method, STEPS, attention)
        for method, attention in (
            (LIVE, "recompute"),
            (PROMPT_TO_PROMPT, "ram"),
            (FATEZERO_SHAPE, "recompute"),
            (VIDEO_P2P, "recompute"),
        )
    }


@pytest.mark.parametrize(
    "place,at", [("the first layer", 1), ("the last layer", 2), ("a layer of attention", 3), ("the text encoder", 1)]
)
@pytest.mark.parametrize(
    "method,attention", [(LIVE, "recompute"), (PROMPT_TO_PROMPT, "ram")], ids=lambda x: getattr(x, "name", x)
)
def test_inversion(demo_model, clip, method, attention, place, at):
    check(
        demo_model,
        lambda: invert(demo_model, clip, CASE.prompt, method, STEPS, attention),
        assert_equal if place == "the text encoder" else assert_near,
        place,
        at,
    )


@pytest.mark.parametrize(
    "place,at", [("the first layer", 1), ("the last layer", 2), ("a layer of attention", 3), ("the text encoder", 2)]
)
@pytest.mark.parametrize(
    "method,attention",
    [(LIVE, "recompute"), (PROMPT_TO_PROMPT, "ram"), (FATEZERO_SHAPE, "recompute")],
    ids=lambda x: getattr(x, "name", x),
)
def test_edit(demo_model, inversions, method, attention, place, at):
    """With word maps, records of self-attention, masks, and a source beside the edit, from a store or run again."""
    check(
        demo_model,
        lambda: edit(
            demo_model, inversions[method, attention], CHANGE, replace(method, blend_threshold=0.3, self_ratio=0.7)
        ),
        assert_equal if place == "the text encoder" else assert_near,
        place,
        at,
    )


@pytest.mark.parametrize(
    "place,at",
    [("the first layer", 1), ("the first layer", 2), ("the last layer", 3), ("the text encoder", 1)],
    ids=["the clip's forward", "with gradients", "in the midst", "the text encoder"],
)
def test_null_text(demo_model, inversions, place, at):
    inversion = inversions[VIDEO_P2P, "recompute"]
    check(
        demo_model,
        lambda: find_null_text(demo_model, inversion, 7.5, 2),
        assert_equal if place == "the text encoder" else assert_near,
        place,
        at,
    )


@pytest.mark.parametrize(
    "place,at",
    [
        ("the first layer", 1),
        ("the last layer", 2),
        ("a layer of attention", 4),
        ("the text encoder", 1),
        ("the text encoder", 2),
    ],
    ids=["first layer", "last layer", "attention", "the clip's prompt", "the photo's prompt"],
)
def test_tuning(demo_model, clip, concept, place, at):
    """To the bit: activations are computed again in the backward pass."""
    check(demo_model, lambda: tune(demo_model, clip, CASE.prompt, (concept,), FAST), assert_equal, place, at)


@pytest.mark.parametrize("at", [1, 7])
def test_the_optimiser_s_step(demo_model, clip, concept, tuned, monkeypatch, at):
    """To the bit: a tensor is as it was or as it shall be."""
    calls, adamw = [], descent.adamw

    def crowded(*args, **options):
        calls.append(adamw(*args, **options))
        if len(calls) == at:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(descent, "adamw", crowded)
    with gathered() as notes:
        assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST), tuned.tuning)
    assert notes == ["memory ran out: the optimiser went on in main memory"] and len(calls) > at


def test_the_final_mask_and_the_pictures_of_a_finished_edit(demo_model, inversions, monkeypatch):
    inversion, find, fails = inversions[LIVE, "recompute"], masks.blend_mask, [1]
    expected = edit(demo_model, inversion, CHANGE)
    pictures = demo_model.decode_frames(expected.latents)

    def crowded(maps, words, subtract, map_size, size, *rest, **rule):
        if size == (64, 64) and fails:
            fails.pop()
            raise torch.OutOfMemoryError("no room")
        return find(maps, words, subtract, map_size, size, *rest, **rule)

    monkeypatch.setattr(masks, "blend_mask", crowded)
    with gathered() as notes, short_once(demo_model.vae.decoder, 2):
        found = edit(demo_model, inversion, CHANGE)
        assert torch.equal(demo_model.decode_frames(found.latents), pictures)
    assert torch.equal(found.mask, expected.mask) and [
        text.split("memory ran out: ")[-1] for text in notes if "memory" in text
    ] == [
        "the mask went on on the CPU",
        "the autoencoder (latents to pictures) went on on the CPU, to the same pictures",
    ]


def test_the_clip_s_own_latents_and_its_reconstruction(demo_model, inversions):
    with short_once(demo_model.vae.encoder, 2):
        latents = demo_model.encode_frames(frames())
    assert torch.equal(latents, demo_model.encode_frames(frames()))
    check(demo_model, lambda: reconstruct(demo_model, inversions[LIVE, "recompute"]), assert_near, "the last layer", 2)
