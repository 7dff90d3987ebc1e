"""Edits by instruction through ComfyUI's queue."""

import io
import re
import shutil

import numpy as np
import pytest
from graphs import message
from PIL import Image

pytestmark = pytest.mark.host
DEMO = "demo model (ships with LIVE)"


def graph(**changes) -> dict:
    """Five frames of the demo clip's corner, edited in windows of two; `changes`: node -> inputs."""
    nodes = {
        "model": ("LIVE_LoadModel", {"model": "instruct", "precision": "float32"}),
        "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
        "first": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 5}),
        "clip": ("ImageCrop", {"image": ["first", 0], "width": 64, "height": 64, "x": 0, "y": 0}),
        "mask": (
            "LIVE_ChangeMask",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "instruction": "make the ball blue",
                "threshold": 0.5,
                "noise_level": 0.6,
                "draws": 1,
                "seed": 0,
            },
        ),
        "local": (
            "LIVE_LocalLatents",
            {"mask": ["mask", 0], "boundary": "reversed", "origin": "inverted", "grow": 0, "feather": 0},
        ),
        "edit": (
            "LIVE_Instruct",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "instruction": "make the ball blue",
                "method": "gather-and-swap",
                "method.key_frames": 2,
                "method.swap_until": 1,
                "method.own_keys": False,
                "guidance_scale": 4,
                "image_guidance_scale": 1.5,
                "steps": 2,
                "seed": 0,
                "window": 2,
            },
        ),
        "save": ("SaveImage", {"images": ["edit", 0], "filename_prefix": "instruct"}),
    }
    made = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}
    for name, inputs in changes.items():
        made[name]["inputs"] |= inputs
    return made


@pytest.fixture(scope="module")
def with_instruct_model(server, instruct_folder):
    shutil.copytree(instruct_folder, server.base / "models" / "diffusers" / "instruct", dirs_exist_ok=True)


async def pictures(client, graph) -> np.ndarray:
    outcome, events, entry = await client.run(graph)
    assert outcome == "success", message(events)
    files = entry["outputs"]["save"]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(await client.fetch(file)))).astype(int) for file in files])


def test_a_clip_is_edited_by_instruction(talk, with_instruct_model):
    """In windows as whole, frame by frame otherwise, and only where the mask by instruction lets it."""

    async def run(client):
        return [
            await pictures(client, graph(**changes))
            for changes in (
                {},
                {"edit": {"window": 5}},
                {"edit": {"method": "instruct-pix2pix"}},
                {"edit": {"local": ["local", 0]}},
            )
        ]

    windowed, whole, alone, local = talk(run)
    assert windowed.shape == (5, 64, 64, 3) and np.abs(windowed - whole).max() <= 1
    assert min(np.abs(windowed - other).max() for other in (alone, local)) > 8


def test_what_an_edit_by_instruction_does_not_take_is_said(talk, with_instruct_model):
    said = {
        "is a text-to-image model .* Edit by Instruction takes an InstructPix2Pix model": {"model": {"model": DEMO}},
        "instruction: ' '; say what to change": {"edit": {"instruction": " "}},
        "key frames: 6, and the clip has 5 frames": {"edit": {"method.key_frames": 6}},
        "weights: 'ema', but 'instruct' is a folder": {"model": {"weights": "ema"}},
    }

    async def run(client):
        return [message((await client.run(graph(**changes)))[1]) for changes in said.values()]

    for (words, _), answer in zip(said.items(), talk(run), strict=True):
        assert re.search(words, answer), answer
