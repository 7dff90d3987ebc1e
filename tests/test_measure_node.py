"""Measure Edit in a real ComfyUI: numbers of an edit, ComfyUI's own CLIP beside transformers, and text encoders that
cannot serve.
"""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT
from graphs import message, with_nodes
from safetensors.torch import save_file

pytestmark = pytest.mark.host


def test_measures_of_an_edit(talk, workflow, server, clip_folder):
    shutil.copytree(clip_folder, server.base / "models" / "clip_vision" / "tiny-clip", dirs_exist_ok=True)
    measure = {
        "images": ["2", 0],
        "edited": ["9", 0],
        "mask": ["9", 1],
        "prompt": "a blue star moving on the meadow",
        "source_prompt": ["3", 0],
    }
    graph = with_nodes(
        workflow(),
        {},
        e=("LIVE_Measure", {**measure, "clip_folder": "tiny-clip"}),
        p=("PreviewImage", {"images": ["e", 6]}),
    )
    outcome, events, history = talk(lambda c: c.run(graph))
    assert outcome == "success", message(events)
    rows = dict(line.strip("| ").split(" | ") for line in history["outputs"]["e"]["text"][0].splitlines()[2:])
    assert set(rows) == {"CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM"} and all(
        np.isfinite(float(v)) for v in rows.values()
    )
    assert float(rows["PSNR"]) > 30 and 0.9 < float(rows["SSIM"]) <= 1
    assert history["outputs"]["p"]["images"]
    graph = with_nodes(workflow(), {}, e=("LIVE_Measure", {**measure, "clip_folder": "none", "edited": ["2", 1]}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "both must be the same clip" in message(events)
    graph = with_nodes(
        workflow(),
        {},
        m=("SolidMask", {"value": 1.0, "width": 64, "height": 128}),
        e=("LIVE_Measure", {**measure, "clip_folder": "none", "mask": ["m", 0]}),
    )
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "mask: 1 frames of 64x128" in message(events)


def test_comfyui_s_own_clip_equals_transformers(comfyui, tmp_path):
    """CLIP_VISION and CLIP of a small random CLIP: projected embeddings within 1e-5 of transformers' (measured: below
    1e-6), pictures of another size within 2e-2, since ComfyUI rounds scaled ones to 8 bits. What has no projection is
    refused, whatever its memory holds. And ComfyUI's reader of `embedding:name` finds the vector in the file that Save
    Tuning exports."""
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "clip_child.py"), str(ROOT), str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (
        max(report["texts"], report["images"]) < 1e-5
        and report["scaled_images"] < 2e-2
        and report["texts_differ"] > 0.05
    ), report
    assert report["both"] == pytest.approx(report["expected"], abs=1e-3), report
    assert report["vision_alone"] == [None, pytest.approx(report["expected"][1], abs=1e-5), None], report
    assert report["embedding"], "ComfyUI does not read the embedding that Save Tuning exports"
    for name, says in (
        ("no projection in the file", "no text_projection"),
        ("identity", "no text_projection"),
        ("other width", "64 numbers and clip_vision's pictures 32"),
        ("blank", "no visual_projection"),
        ("siglip", "a siglip_vision_model is no CLIP"),
        ("no clip", "this text encoder is no CLIP"),
    ):
        assert says in report[name], report


def test_a_text_encoder_without_projection_is_refused(talk, server):
    """Load CLIP and Load CLIP Vision on files that hold just what ComfyUI tells a model by: the node speaks before
    anything is encoded.
    """
    tensors = {
        "clip_vision": {
            "vision_model.encoder.layers.22.layer_norm1.weight": (1024,),
            "vision_model.encoder.layers.0.layer_norm1.weight": (1024,),
            "vision_model.embeddings.position_embedding.weight": (257, 1024),
            "visual_projection.weight": (768, 1024),
        },
        "text_encoders": {"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)},
    }
    for folder, shapes in tensors.items():
        (server.base / "models" / folder).mkdir(exist_ok=True)
        save_file(
            {name: torch.ones(shape, dtype=torch.float16) for name, shape in shapes.items()},
            server.base / "models" / folder / "bare.safetensors",
        )
    graph = {
        "1": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "2": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "bare.safetensors"}},
        "3": {"class_type": "CLIPLoader", "inputs": {"clip_name": "bare.safetensors", "type": "stable_diffusion"}},
        "4": {
            "class_type": "LIVE_Measure",
            "inputs": {
                "images": ["1", 0],
                "edited": ["1", 0],
                "clip_folder": "none",
                "prompt": "a ball",
                "source_prompt": "",
                "clip_vision": ["2", 0],
                "clip": ["3", 0],
            },
        },
    }
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "no text_projection" in message(events)
    del graph["4"]["inputs"]["clip_vision"]
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "connected without clip_vision" in message(events)
