"""Whatever is made with a model knows by which, and says so where another is given."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, frames

from live_core import LiveError
from live_core.change import Edit
from live_core.concept import Concept, bind
from live_core.editing import edit
from live_core.inspect import show_words
from live_core.inversion import invert
from live_core.methods import DDIM, LIVE
from live_core.notes import gathered
from live_core.null_text import find_null_text
from live_core.reconstruction import reconstruct
from live_core.tuning import tune
from live_core.tunings import load_tuning, save_tuning

OTHER = "0123456789abcdef"
CHANGE = Edit(CASE.prompt.replace("ball", "star"))


@pytest.fixture(scope="module")
def other(demo_model):
    """Another model of the same sizes."""
    return replace(demo_model, name="other", fingerprint=OTHER, tuning=None)


def test_a_photo_bound_with_another_model_is_refused_by_tune(demo_model, other, clip, concept):
    (theirs,) = bind("<a*>", "thing", concept.reference, other.tokenizer, other.text_encoder, base=other.fingerprint)
    for concepts in ((theirs,), (replace(concept, base=demo_model.fingerprint), theirs)):
        with pytest.raises(
            LiveError,
            match=(
                f"^concept: the photo of '<a.>' was bound with another model .fingerprint {OTHER}, .*give Bind Photo"
                " and Tune Video the same model"
            ),
        ):
            tune(demo_model, clip, CASE.prompt, concepts, FAST)


def test_a_photo_of_unknown_model_must_have_the_sizes_of_this_one(demo_model, clip, concept):
    """As from a version that did not say by which model: nothing fits by broadcasting."""
    for wrong in (
        replace(concept, vectors=torch.zeros(1, 1)),
        replace(concept, vectors=torch.zeros(1, 768)),
        replace(concept, views=torch.zeros(1, 1, 8, 8)),
    ):
        with pytest.raises(
            LiveError, match="^concept: the photo of '<thing.>' was bound with another model .fingerprint unknown"
        ):
            tune(demo_model, clip, CASE.prompt, (wrong,), FAST)
    for shapes in (((4, 8, 8), (1, 128)), ((0, 4, 8, 8), (1, 128)), ((1, 4, 8, 8), (128,)), ((1, 4, 8, 8), (0, 128))):
        with pytest.raises(LiveError, match="^concept: '<a.>' has photos of shape"):
            Concept("<a*>", "thing", *map(torch.zeros, shapes))


def test_what_was_learned_knows_its_model_in_memory_and_on_disk(demo_model, tuned, tmp_path):
    assert [c.base for c in tuned.tuning.concepts] == [demo_model.fingerprint]
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    assert [c.base for c in load_tuning(tmp_path / "t.safetensors").concepts] == [demo_model.fingerprint]


def test_an_inversion_by_another_model_is_refused_by_all_that_read_it(demo_model, other, clip):
    inversion = invert(demo_model, clip, CASE.prompt, LIVE, 2)
    for node, read in (
        ("Null-Text Inversion", lambda: find_null_text(other, inversion, 7.5, 1)),
        ("Edit Video", lambda: edit(other, inversion, CHANGE)),
        ("its reconstruction", lambda: reconstruct(other, inversion)),
    ):
        with pytest.raises(
            LiveError,
            match=(
                f"^inversion: it was made with a base of fingerprint {demo_model.fingerprint}, .*'other' .fingerprint"
                f" {OTHER}.; give Invert Video and {node}"
            ),
        ):
            read()


def test_null_text_and_edit_by_another_tuning_are_noted(demo_model, tuned, clip):
    inversion = invert(tuned, clip, CASE.prompt, LIVE, 2)
    with gathered() as notes:
        found = find_null_text(demo_model, inversion, 7.5, 1)
    assert len(notes) == 1 and notes[0].startswith(
        "inversion: the clip was inverted with another tuning than Null-Text Inversion has"
    )
    change = Edit("a <thing*> moving on the meadow")
    with gathered() as notes:
        edit(tuned, found, change, replace(LIVE, guidance_scale=7.5))
    assert len(notes) == 1 and notes[0].startswith(
        "inversion: its null text was found with another tuning than Edit Video has"
    )
    with gathered() as notes:
        edit(tuned, find_null_text(tuned, inversion, 7.5, 1), change, replace(LIVE, guidance_scale=7.5))
    assert notes == []


@pytest.mark.parametrize(
    "height,width,fits",
    [(64, 64, True), (128, 128, True), (256, 256, True), (64, 128, False), (128, 64, False), (100, 120, False)],
)
def test_attention_is_laid_over_pictures_of_the_clip_s_shape(demo_model, clip, height, width, fits):
    """Of any size, since an edit may have been scaled since, but not of another shape, as another clip's are."""
    records = edit(demo_model, invert(demo_model, clip, CASE.prompt, DDIM, 1), CHANGE).records
    pictures = torch.nn.functional.interpolate(frames().movedim(-1, 1), (height, width)).movedim(1, -1)
    if fits:
        assert show_words(records, pictures).cell(0, 0, (height, width)).shape == (height, width, 3)
    else:
        with pytest.raises(LiveError, match=f"^images: {width}x{height} pixels, .*shape of the edited clip's, 64x64"):
            show_words(records, pictures)
