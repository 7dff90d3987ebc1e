"""Single-file checkpoints: what a file is from its tensors' names and shapes, and full-size models against ComfyUI's own forward."""
import json
import os
import shutil
import subprocess

import pytest
import torch
from conftest import ROOT, absent
from live_core import LiveError
from live_core.checkpoints import CONTEXT_KEY, UNET, architecture_of, load_checkpoint
from safetensors.torch import save_file

SD15 = {CONTEXT_KEY: (320, 768), f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3), "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)}


def test_the_architecture_follows_from_names_and_shapes():
    assert architecture_of(SD15, "a").name == "Stable Diffusion 1.x"
    assert architecture_of({**SD15, CONTEXT_KEY: (320, 1024)}, "a").name == "Stable Diffusion 2.x"


@pytest.mark.parametrize("shapes,says", [
    ({**SD15, f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}, "an inpainting model"),
    ({**SD15, f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3)}, "an InstructPix2Pix model"),
    ({**SD15, f"{UNET}label_emb.0.0.weight": (1280, 2816)}, "a Stable Diffusion XL model"),
    ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "a Flux model"),
    ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}, "a Stable Diffusion 3 model"),
    ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (320, 4)}, "a LoRA"),
    ({"layers.0.weight": (4, 4)}, "no U-Net of Stable Diffusion"),
    ({**SD15, CONTEXT_KEY: (320, 2048)}, "width 2048"),
    ({name: shape for name, shape in SD15.items() if not name.startswith("first_stage")}, "no autoencoder in it"),
    ({name: shape for name, shape in SD15.items() if not name.startswith("cond_stage")}, "no text encoder in it"),
], ids=["inpainting", "instruct", "XL", "Flux", "SD3", "LoRA", "other", "width", "no VAE", "no CLIP"])
def test_what_does_not_work_is_said(shapes, says, tmp_path):
    save_file({name: torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}, tmp_path / "mine.safetensors")
    with pytest.raises(LiveError, match=says) as error:
        load_checkpoint(tmp_path / "mine.safetensors", tmp_path)
    assert "mine.safetensors" in str(error.value)


def test_pickles_are_refused(tmp_path):
    with pytest.raises(LiveError, match="not a .safetensors file"):
        load_checkpoint(tmp_path / "model.ckpt", tmp_path)


@pytest.mark.host
@pytest.mark.parametrize("which,prediction", [("sd15", "epsilon"), ("sd21", "v_prediction")])
def test_full_size_models_equal_comfyui_s_forward(which, prediction, comfyui, tmp_path):
    """860 M random weights through Load LIVE Model, and through MODEL, CLIP, VAE: plain, and with a LoRA, CLIP skip and another sampling.

    U-Net, text and latents are within 1e-4 of the outputs' spread (measured: below 2e-5).
    """
    if shutil.disk_usage(tmp_path).free < 8 * 2 ** 30:
        absent("8 GiB of disk")
    folder, python = comfyui
    try:
        done = subprocess.run([python, str(ROOT / "tests" / "checkpoint_child.py"), str(ROOT), str(folder), str(tmp_path), which],
                              capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        (tmp_path / f"{which}.safetensors").unlink(missing_ok=True)
    report = json.loads(done.stdout.splitlines()[-1])
    other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[prediction]
    assert report["std"] > 0.01 and report["lora_changes"] > 0.01
    for name in ("file", "sockets", "patched"):
        assert report[name]["prediction"] == (other if name == "patched" else prediction), report
        assert max(report[name][part] for part in ("unet", "text", "vae", "schedule")) < 1e-4 and report[name]["trainable"], report
    assert report["lazily_patched"] == [] and report["as_it_was"] == 0, report
    assert report["peak_gb"] < 12, report
