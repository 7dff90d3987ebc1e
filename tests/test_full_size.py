"""Full-size models of random weights against ComfyUI's own forward, and through its queue."""

import io
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT, absent
from PIL import Image
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def full_size(comfyui, tmp_path_factory):
    """which -> (a file of random weights of that model's full size, what `checkpoint_child.py` reports of it)."""
    work, made = tmp_path_factory.mktemp("checkpoints"), {}

    def make(which: str):
        if which not in made:
            if shutil.disk_usage(work).free < 8 * 2**30:
                absent("8 GiB of disk")
            folder, python = comfyui
            done = subprocess.run(
                [python, str(ROOT / "tests" / "checkpoint_child.py"), str(ROOT), str(folder), str(work), which],
                capture_output=True,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            assert done.returncode == 0, done.stderr[-3000:]
            made[which] = work / f"{which}.safetensors", json.loads(done.stdout.splitlines()[-1])
        return made[which]

    yield make
    shutil.rmtree(work, ignore_errors=True)


@pytest.mark.host
@pytest.mark.parametrize("which,prediction", [("sd15", "epsilon"), ("sd21", "v_prediction")])
def test_full_size_models_equal_comfyui_s_forward(which, prediction, full_size):
    """860 M random weights through Load LIVE Model, and through MODEL, CLIP, VAE: plain, and with a LoRA, CLIP skip and
    another sampling; and from a file that ComfyUI's Save Checkpoint wrote, of a model that only that file's mark shows
    to predict v, where it does.

    U-Net, text, latents and schedule are within 1e-4 of the outputs' spread (measured: below 2e-5), in less than 12 GB.
    """
    _, report = full_size(which)
    other = {"epsilon": "v_prediction", "v_prediction": "epsilon"}[prediction]
    assert report["std"] > 0.01 and min(report["changes"].values()) > 0.01, report
    for name in ("file", "sockets", "patched", "saved"):
        assert report[name]["prediction"] == (other if name == "patched" else prediction), report
        assert (
            max(report[name][part] for part in ("unet", "text", "vae", "schedule")) < 1e-4 and report[name]["trainable"]
        ), report
    assert report["lazily_patched"] == [] and report["as_it_was"] == 0, report
    assert report["file"]["fingerprint"] == report["sockets"]["fingerprint"] != report["patched"]["fingerprint"], report
    assert report["marked"] == (prediction == "v_prediction") and (
        report["saved"]["fingerprint"] == report["file"]["fingerprint"]
    ) == (not report["marked"]), report
    assert report["tunings"] == [
        True,
        2,
        ["mine.safetensors"],
    ], report  # the user's own folder stays the first, and drafts are not listed
    assert report["peak_gb"] < 12, report


@pytest.mark.host
@pytest.mark.parametrize("which", ["instruct", "inpainting", "by-example"])
def test_full_size_models_with_more_inputs_equal_comfyui_s_forward(which, full_size):
    """As the plain ones above, from a file and from sockets: what is joined to the noisy latents by ComfyUI's own
    conditioning, and by ours. Of Paint-by-Example, which no socket has, its own has the networks alone: the "text" is
    the photo's token, by diffusers' encoder."""
    _, report = full_size(which)
    assert report["std"] > 0.01 and report["joins"] > 0.01, report
    for name in ("file",) if which == "by-example" else ("file", "sockets"):
        assert max(report[name][part] for part in ("unet", "text", "vae", "schedule", "joined")) < 1e-4, report
        assert report[name]["trainable"] and report[name]["base"] == which, report
    assert which == "by-example" or report["file"]["fingerprint"] == report["sockets"]["fingerprint"], report
    assert report["peak_gb"] < 12, report


@pytest.mark.host
def test_the_baseline_by_core_s_own_nodes_runs(full_size, server, talk, comfy):
    """Its workflow as it ships but for the sizes: a frame of its own for each of the clip's."""
    name = "instruct-pix2pix-00-22000.safetensors"
    (server.base / "models" / "checkpoints").mkdir(exist_ok=True)
    (server.base / "models" / "checkpoints" / name).symlink_to(full_size("instruct")[0])
    graph = json.loads((ROOT / "workflows" / "api" / "instruct_core_nodes.json").read_text())
    for target, value in {"Fit Clip.longest_side": 64, "Fit Clip.frames": 2, "BasicScheduler.steps": 1}.items():
        comfy.override(graph, target, value)
    seen = {"class_type": "PreviewImage", "inputs": {"images": graph["10"]["inputs"]["images"]}}

    async def run(client):
        outcome, events, history = await client.run({**graph, "seen": seen})
        assert outcome == "success", events[-1]
        made = [
            np.asarray(Image.open(io.BytesIO(await client.fetch(file))))
            for file in history["outputs"]["seen"]["images"]
        ]
        await free(client)
        return made

    first, second = talk(run)
    (server.base / "models" / "checkpoints" / name).unlink()
    assert first.shape == (64, 64, 3) and not np.array_equal(first, second)


async def free(client) -> None:
    """Several gigabytes; the server does it after its next job."""
    await client.json("POST", "/free", json={"unload_models": True, "free_memory": True})
    await client.run(
        {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        }
    )


@pytest.mark.host
def test_load_checkpoint_load_lora_and_live_in_one_graph(full_size, server, talk):
    """Through the queue, to saved pictures, which the LoRA changes."""
    for name in ("checkpoints", "loras"):
        (server.base / "models" / name).mkdir(exist_ok=True)
    (server.base / "models" / "checkpoints" / "full.safetensors").symlink_to(full_size("sd15")[0])
    layer = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v"
    generator = torch.Generator().manual_seed(0)
    save_file(
        {
            f"{layer}.lora_up.weight": torch.randn(640, 4, generator=generator),
            f"{layer}.lora_down.weight": torch.randn(4, 768, generator=generator),
            f"{layer}.alpha": torch.tensor(4.0),
        },
        server.base / "models" / "loras" / "mine.safetensors",
    )

    def graph(strength: float | None):
        patched = "1" if strength is None else "2"
        nodes = {
            "1": ("CheckpointLoaderSimple", {"ckpt_name": "full.safetensors"}),
            "3": (
                "LIVE_FromComfy",
                {"model": [patched, 0], "clip": [patched, 1], "vae": ["1", 2], "precision": "float32"},
            ),
            "4": ("EmptyImage", {"width": 64, "height": 64, "batch_size": 2, "color": 0x4080C0}),
            "5": (
                "LIVE_Invert",
                {
                    "model": ["3", 0],
                    "images": ["4", 0],
                    "prompt": "a cat",
                    "steps": 1,
                    "method": "ddim",
                    "attention": "recompute",
                    "kept_steps": 1,
                },
            ),
            "6": (
                "LIVE_Edit",
                {
                    "model": ["3", 0],
                    "inversion": ["5", 0],
                    "prompt": "a dog",
                    "method": "ddim",
                    "method.guidance_scale": 2.0,
                    "source_words": "",
                    "edit_words": "",
                    "subtract_words": "",
                    "keep_words": "",
                    "word_weights": "",
                },
            ),
            "7": ("SaveImage", {"images": ["6", 0], "filename_prefix": "lora"}),
        }
        if strength is not None:
            nodes["2"] = (
                "LoraLoader",
                {
                    "model": ["1", 0],
                    "clip": ["1", 1],
                    "lora_name": "mine.safetensors",
                    "strength_model": strength,
                    "strength_clip": strength,
                },
            )
        return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}

    async def run(client):
        pictures = []
        for strength in (None, 1.0):
            outcome, events, entry = await client.run(graph(strength))
            assert outcome == "success", events[-1]
            pictures.append(
                [
                    np.asarray(Image.open(io.BytesIO(await client.fetch(image))))
                    for image in entry["outputs"]["7"]["images"]
                ]
            )
        await free(client)
        return pictures

    plain, patched = talk(run)
    # Pixels: a saved file holds its graph too.
    assert len(plain) == len(patched) == 2 and not np.array_equal(plain[0], patched[0])
