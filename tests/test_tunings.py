"""A tuning's file: what comes back is what was, fits the model it says, and nothing else is taken for a tuning."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.concept import Concept
from live_core.tunings import Tuning, load_tuning, save_embedding, save_tuning


@pytest.fixture
def file(tuned, tmp_path):
    """A saved tuning."""
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    return tmp_path / "t.safetensors"


def change(file, metadata=(), **tensors):
    """Save a tuning's file anew: with other metadata, and other tensors by names in which __ stands for /; None takes
    one away.
    """
    with safe_open(file, "pt") as opened:
        told, own = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}
    for kept, changes in (
        (told, dict(metadata)),
        (own, {name.replace("__", "/"): tensor for name, tensor in tensors.items()}),
    ):
        for key, value in changes.items():
            kept.pop(key, None)
            if value is not None:
                kept[key] = value
    save_file(own, file, told)


def test_tunings_come_back_from_disk_as_they_were(tuned, demo_model, tmp_path):
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    back = load_tuning(tmp_path / "t.safetensors")
    assert all(torch.equal(t, back.tensors[n]) for n, t in tuned.tuning.tensors.items()) and torch.equal(
        back.latent_prompt, tuned.tuning.latent_prompt
    )
    assert (
        torch.equal(back.concepts[0].vectors, tuned.tuning.concepts[0].vectors)
        and back.concepts[0].placeholder == "<thing*>"
    )
    assert (back.prompt, back.base, back.losses, back.base_name) == (
        tuned.tuning.prompt,
        tuned.tuning.base,
        tuned.tuning.losses,
        demo_model.name,
    )
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]
    with pytest.raises(LiveError, match=f"'{demo_model.name}'.*{demo_model.fingerprint}.*'else'.*another"):
        replace(demo_model, name="else", fingerprint="another").with_tuning(back)
    (tmp_path / "t.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-5])
    with pytest.raises(LiveError, match="'t.safetensors' cannot be read"):
        load_tuning(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    "left_out", ["base", "prompt", "settings", "losses", "concepts", "concept/0/vector", "concept/0/reference"]
)
def test_a_tuning_that_is_not_whole_is_said_to_be(left_out, tuned, tmp_path):
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    metadata.pop(left_out, None), tensors.pop(left_out, None)
    save_file(tensors, tmp_path / "t.safetensors", metadata)
    with pytest.raises(LiveError, match=f"'t.safetensors' cannot be read .it has no '{left_out}'"):
        load_tuning(tmp_path / "t.safetensors")


@pytest.mark.parametrize(
    "key,value,says",
    [
        ("settings", "[1]", "settings .* no names with values"),
        ("settings", "{", "cannot be read"),
        ("settings", "[" * 5000, "cannot be read"),
        ("concepts", '["ab", "cd"]', "no pairs"),
        ("concepts", '[["<thing*>"]]', "no pairs"),
        ("concepts", '[["", "thing"]]', "no pairs"),
        ("concepts", "3", "no pairs"),
        ("concepts", '[["<a*>", "thing"], ["<a*>", "thing"]]', "no pairs"),
        ("concepts", '[["<thing*>", 3]]', "no pairs"),
        ("concepts", "[]", "'concept/0/reference' is nothing that a tuning has"),
        ("losses", "{}", "no two lists"),
        ("losses", "[[], [], []]", "no two lists"),
        ("losses", '[["a"], []]', "no two lists"),
        ("losses", "[[NaN], []]", "no two lists"),
        ("losses", f"[[1{'0' * 400}], []]", "no two lists"),
        ("base", "", "no fingerprint"),
        ("base", "../../etc/passwd", "no fingerprint"),
        ("version", "2", "not a LIVE tuning"),
        ("format", None, "not a LIVE tuning"),
    ],
)
def test_damaged_metadata_is_said_to_be(key, value, says, file):
    change(file, {key: value})
    with pytest.raises(LiveError, match=f"^tuning: 't.safetensors' .*{says}"):
        load_tuning(file)


@pytest.mark.parametrize(
    "name,tensor,says",
    [
        ("latent_prompt", torch.zeros(()), "shape .*3 dimensions"),
        ("latent_prompt", torch.zeros(256), "3 dimensions"),
        ("latent_prompt", torch.zeros(4, 0, 8), "shape"),
        ("concept__0__vector", torch.zeros(()), "1 or 2 dimensions"),
        ("concept__0__vector", torch.zeros(1, 1, 128), "1 or 2 dimensions"),
        ("concept__0__vector", torch.zeros(0), "shape"),
        ("concept__0__reference", torch.zeros(4, 8, 8), "4 dimensions"),
        ("concept__0__reference", torch.zeros(2, 4, 8, 8), "the first of 1"),
        ("concept__0__vector", torch.zeros(128, dtype=torch.int8), "int8"),
        ("latent_prompt", torch.full((4, 8, 8), math.nan), "not finite"),
        ("concept__0__vector", torch.full((128,), math.inf), "not finite"),
        ("optimizer", torch.zeros(1), "'optimizer' is nothing that a tuning has"),
        ("concept__1__vector", torch.zeros(128), "'concept/1/vector' is nothing that a tuning has"),
    ],
)
def test_tensors_of_another_shape_or_kind_are_named(name, tensor, says, file):
    change(file, **{name: tensor})
    with pytest.raises(
        LiveError, match=f"^tuning: 't.safetensors' .*{name.replace('__', '/')}.*{says}" if says[0] != "'" else says
    ):
        load_tuning(file)


QUERY, TEMPORAL = (
    f"unet/down_blocks.0.attentions.0.transformer_blocks.0.{name}"
    for name in ("attn1.to_q.weight", "attn_temp.to_out.0.bias")
)


@pytest.mark.parametrize(
    "name,tensor,how",
    [
        (QUERY, torch.zeros(()), "has shape ()"),
        (QUERY, torch.zeros(48), "has shape (48,)"),
        (QUERY, torch.zeros(1, 48), "has shape (1, 48)"),
        (QUERY, None, "is missing"),
        (TEMPORAL, torch.zeros(1), "has shape (1,), not (48,)"),
        ("unet/conv_in.weight", torch.zeros(48, 4, 3, 3), "is nothing that tuning learns"),
        ("unet/", torch.zeros(1), "is nothing that tuning learns"),
        ("latent_prompt", torch.zeros(1, 8, 8), "has shape (1, 8, 8), not (4, 8, 8)"),
        ("concept/0/vector", torch.zeros(1), "has shape (1,), not (128,)"),
        ("concept/0/vector", torch.zeros(768), "has shape (768,), not (128,)"),
        ("concept/0/reference", torch.zeros(1, 1, 8, 8), "not (1, 4, 8, 8)"),
    ],
)
def test_nothing_fits_by_broadcasting(name, tensor, how, file, demo_model):
    change(file, **{name.replace("/", "__"): tensor})
    with pytest.raises(LiveError) as error:
        demo_model.with_tuning(load_tuning(file))
    assert str(error.value).startswith(f"tuning: it does not fit 'model': {name!r} ") and how in str(error.value)


def test_a_tuning_that_is_not_finite_is_not_saved_over_a_good_one(tuned, file):
    good, spoilt = file.read_bytes(), tuned.tuning.latent_prompt.clone()
    spoilt[0, 0, 0] = math.nan
    with pytest.raises(
        LiveError, match="^tuning: it has values in 'latent_prompt' that are not finite .*nothing was saved"
    ):
        save_tuning(replace(tuned.tuning, latent_prompt=spoilt), file)
    with pytest.raises(LiveError, match="^tuning: its prompt .* characters that no file can hold"):
        save_tuning(replace(tuned.tuning, prompt="a \ud800 ball"), file)
    assert file.read_bytes() == good and [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_loaded_tuning_stays_what_it_was_when_its_file_is_replaced(tuned, file):
    """Even in place, as cp does, under the tensors of one that is in use."""
    loaded = load_tuning(file)
    file.write_bytes(b"\0" * file.stat().st_size)
    assert all(torch.equal(tensor, loaded.tensors[name]) for name, tensor in tuned.tuning.tensors.items())


def test_an_embedding_is_what_comfyui_reads(tuned, tmp_path):
    save_embedding(tuned.tuning.concepts[0], tmp_path / "e.safetensors")
    assert load_file(tmp_path / "e.safetensors")["emb_params"].shape == (1, 128)


def test_a_tuning_of_the_photo_alone_fits(demo_model, concept):
    photo = Tuning({}, None, (concept,), "a ball", demo_model.fingerprint)
    assert demo_model.with_tuning(photo).tuning is photo
    with pytest.raises(LiveError, match=r"'concept/0/vector' has shape \(64,\), not \(128,\)"):
        demo_model.with_tuning(
            replace(photo, concepts=(Concept("<a*>", "thing", concept.reference, torch.zeros(1, 64)),))
        )
