"""Several vectors for a placeholder, and what it learns from besides one photo."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST

from live_core import LiveError
from live_core.change import Edit
from live_core.concept import bind
from live_core.editing import edit
from live_core.inversion import invert
from live_core.methods import LIVE
from live_core.pictures import cut_out
from live_core.tuning import tune
from live_core.tunings import load_tuning, save_embedding, save_tuning
from live_core.views import with_crops

PHOTOS = torch.rand(2, 24, 32, 3, generator=torch.Generator().manual_seed(0))
COUNTS = (torch.rand(2, 24, 32, generator=torch.Generator().manual_seed(1)) > 0.5).float()
PHOTO_ONLY = replace(FAST, clip_steps=0, photo_steps=4)


def several(model, concept, vectors=1, views=None, mask=None):
    views = concept.views if views is None else views
    return bind("<thing*>", "thing", views, model.tokenizer, model.text_encoder, mask=mask, vectors=vectors)


def test_the_photos_come_first_as_they_are_then_crops_then_mirror_images():
    views, counts = with_crops(PHOTOS, COUNTS, crops=3, flips=True)
    assert views.shape == (16, 24, 32, 3) and counts.shape == (16, 24, 32)
    assert torch.equal(views[:2], PHOTOS) and torch.equal(counts[:2], COUNTS)
    assert torch.equal(views[8:], views[:8].flip(2)) and torch.equal(counts[8:], counts[:8].flip(2))
    assert all(not torch.equal(crop, PHOTOS[i % 2]) for i, crop in enumerate(views[2:8]))
    assert torch.equal(with_crops(PHOTOS, COUNTS, crops=3)[0], views[:8]), "the same crops each time"
    assert with_crops(PHOTOS, None, crops=1)[1] is None


def test_a_crop_is_the_photo_larger_and_its_mask_goes_along():
    """Of a picture that says of each pixel where it is, a crop says from where it came: 75 to 100 % of each side."""
    ys, xs = torch.meshgrid(torch.linspace(0, 1, 24), torch.linspace(0, 1, 32), indexing="ij")
    where = torch.stack([ys, xs, torch.zeros_like(xs)], -1)[None]
    views, counts = with_crops(where, xs[None], crops=8)
    for crop, count in zip(views[1:], counts[1:], strict=True):
        for axis in (0, 1):
            side = crop[-1, -1, axis] - crop[0, 0, axis]
            assert 0.7 < side <= 1.0
        assert torch.allclose(count, crop[..., 1], atol=1e-5)


def test_cropping_leaves_everyone_s_randomness_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with_crops(PHOTOS, None, crops=2)
    assert torch.equal(torch.rand(1), expected)


def test_photos_in_a_batch_have_a_mask_each():
    both, counts = cut_out(PHOTOS, COUNTS, 16, 16)
    for i in range(2):
        one, count = cut_out(PHOTOS[i : i + 1], COUNTS[i : i + 1], 16, 16)
        assert torch.equal(both[i], one[0]) and torch.equal(counts[i], count[0])
    with pytest.raises(LiveError, match="mask: 1 frames, and there are 2 photos; give one for each photo"):
        cut_out(PHOTOS, COUNTS[:1], 16, 16)
    whole = torch.ones_like(COUNTS[:1])
    _, counts = cut_out(PHOTOS, torch.cat([whole, COUNTS[1:]]), 24, 32)
    assert torch.equal(counts, torch.cat([whole, COUNTS[1:]]))


def test_every_view_is_learned_and_counts_by_its_own_mask(demo_model, clip, concept):
    """Nothing moves at a rate of 0, so a step's loss tells which view it drew."""
    views = torch.cat([concept.views, -concept.views])
    side = 8 * concept.views.shape[-1]
    mask = torch.ones(2, side, side)
    mask[1, :, side // 2 :] = 0
    settings = replace(PHOTO_ONLY, photo_steps=6, photo_rate=0.0)

    def losses(views, mask):
        return tune(demo_model, clip, CASE.prompt, several(demo_model, concept, 1, views, mask), settings).losses[1]

    both = losses(views, mask)
    each = [losses(views[[i, i]], mask[[i, i]]) for i in (0, 1)]
    drawn = [[loss == alone for alone in losses] for loss, *losses in zip(both, *each, strict=True)]
    assert all(sum(which) == 1 for which in drawn) and len({tuple(which) for which in drawn}) == 2


def test_several_vectors_are_several_tokens_of_one_word_and_all_learn(demo_model, clip, concept, tmp_path):
    start = several(demo_model, concept, vectors=3)
    prompt = demo_model.read("a <thing*> moving", start)
    assert (
        prompt.words == ("a", "<thing*>", "moving")
        and prompt.tokens[1] == (2, 3, 4)
        and prompt.ids[2:5] == (-1, -2, -3)
    )
    same = several(demo_model, concept)
    assert torch.equal(
        demo_model.encode_text("a <thing*> moving", start), demo_model.encode_text("a thing thing thing moving", same)
    )
    tuning = tune(demo_model, clip, CASE.prompt, start, replace(FAST, photo_steps=3))
    (learned,) = tuning.concepts
    assert learned.vectors.shape == (3, 128) and len({tuple(row.tolist()) for row in learned.vectors}) == 3
    save_tuning(tuning, tmp_path / "t.safetensors")
    (back,) = load_tuning(tmp_path / "t.safetensors").concepts
    assert torch.equal(back.vectors, learned.vectors) and torch.equal(back.reference, learned.reference)
    save_embedding(learned, tmp_path / "mine.safetensors")
    known = replace(demo_model, embeddings=lambda: {"mine": tmp_path / "mine.safetensors"})
    assert torch.equal(known.encode_text("a embedding:mine"), demo_model.encode_text("a <thing*>", (learned,)))


def test_an_edit_swaps_one_word_for_a_placeholder_of_several_tokens(demo_model, clip, concept):
    tuning = tune(demo_model, clip, CASE.prompt, several(demo_model, concept, vectors=2), FAST)
    model = demo_model.with_tuning(tuning)
    inversion = invert(model, clip, CASE.prompt, LIVE, 4)
    result = edit(model, inversion, Edit(CASE.edit_prompt), LIVE)
    assert result.latents.isfinite().all()
    other = edit(
        demo_model.with_tuning(replace(tuning, concepts=several(demo_model, concept))),
        inversion,
        Edit(CASE.edit_prompt),
        LIVE,
    )
    assert not torch.equal(result.latents, other.latents)
