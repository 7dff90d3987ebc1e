"""A base's fingerprint and a tuning's file: what comes back is what was, and belongs where it says."""
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from live_core import LiveError
from live_core.pretrained import fingerprint_of, load_folder, load_tuning, save_tuning


def test_a_base_is_the_same_at_any_precision(demo_model):
    for dtype, of_the_vae in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        model = load_folder(ROOT / "demo" / "model", dtype)
        assert model.fingerprint == demo_model.fingerprint and (model.unet.dtype, model.vae.dtype, model.text_encoder.dtype) == (dtype, of_the_vae, dtype)
    tensors = {name: torch.randn(100, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    assert fingerprint_of(tensors) == fingerprint_of({name: tensor.half() for name, tensor in tensors.items()}) != fingerprint_of({**tensors, "b": -tensors["b"]})


def test_tunings_come_back_from_disk_as_they_were(tuned, demo_model, tmp_path):
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    back = load_tuning(tmp_path / "t.safetensors")
    assert all(torch.equal(t, back.tensors[n]) for n, t in tuned.tuning.tensors.items()) and torch.equal(back.latent_prompt, tuned.tuning.latent_prompt)
    assert torch.equal(back.concepts[0].vector, tuned.tuning.concepts[0].vector) and back.concepts[0].placeholder == "<thing*>"
    assert (back.prompt, back.base, back.losses, back.base_name) == (tuned.tuning.prompt, tuned.tuning.base, tuned.tuning.losses, demo_model.name)
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]
    with pytest.raises(LiveError, match=f"'{demo_model.name}'.*{demo_model.fingerprint}.*'else'.*another"):
        replace(demo_model, name="else", fingerprint="another").with_tuning(back)
    (tmp_path / "t.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-5])
    with pytest.raises(LiveError, match="'t.safetensors' cannot be read"):
        load_tuning(tmp_path / "t.safetensors")
