"""Adaptation to an edit through ComfyUI's queue: what is chosen, kept in a file, edited with, and refused."""

import io
import json
import re
import shutil

import numpy as np
import pytest
from graphs import message
from PIL import Image

pytestmark = pytest.mark.host


def linked(value) -> dict:
    """A value that comes by a link, past the widget's limits."""
    return {"class_type": "TestValue", "inputs": {"json": json.dumps(value)}}


def graph(*kept: str, **changes) -> dict:
    """Five frames of the demo clip's corner; what is learned of them, saved, loaded again and edited with: the nodes
    `kept` and what they need. `changes`: node -> inputs; a node in the place of a value is linked there."""
    said = "make the ball blue"
    nodes = {
        "model": ("LIVE_LoadModel", {"model": "adapt", "precision": "float32"}),
        "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
        "first": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 5}),
        "clip": ("ImageCrop", {"image": ["first", 0], "width": 64, "height": 64, "x": 0, "y": 0}),
        "mask": ("SolidMask", {"value": 1.0, "width": 64, "height": 64}),
        "adapt": (
            "LIVE_AdaptToEdit",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "instruction": said,
                "candidates": 2,
                "frames": 1,
                "choice": 0,
                "steps": 2,
                "learning_rate": 0.01,
                "pairs": 1,
                "guidance_scale": 4,
                "image_guidance_scale": 1.5,
                "edit_steps": 2,
                "seed": 0,
            },
        ),
        "sheet": ("SaveImage", {"images": ["adapt", 1], "filename_prefix": "sheet"}),
        "save": ("LIVE_SaveTuning", {"model": ["adapt", 0], "name": "edit", "save_embedding": False}),
        "load": ("LIVE_LoadTuning", {"model": ["model", 0], "tuning": "edit.safetensors"}),
        "edit": (
            "LIVE_Instruct",
            {
                "model": ["adapt", 0],
                "images": ["clip", 0],
                "instruction": said,
                "method": "instruct-pix2pix",
                "guidance_scale": 4,
                "image_guidance_scale": 1.5,
                "steps": 2,
                "seed": 0,
                "window": 5,
            },
        ),
        "result": ("SaveImage", {"images": ["edit", 0], "filename_prefix": "adapted"}),
    }
    made = {name: {"class_type": kind, "inputs": dict(inputs)} for name, (kind, inputs) in nodes.items()}
    for node, inputs in changes.items():
        for name, value in inputs.items():
            if isinstance(value, dict):
                made[f"linked {name}"], value = value, [f"linked {name}", 0]
            made[node]["inputs"][name] = value
    wanted, needed = list(kept), set()
    while wanted:
        node = wanted.pop()
        needed.add(node)
        wanted += [value[0] for value in made[node]["inputs"].values() if isinstance(value, list)]
    return {name: node for name, node in made.items() if name in needed}


@pytest.fixture(scope="module")
def with_instruct_model(server, instruct_folder):
    shutil.copytree(instruct_folder, server.base / "models" / "diffusers" / "adapt")


async def pictures(client, graph, node: str) -> np.ndarray:
    outcome, events, entry = await client.run(graph)
    assert outcome == "success", message(events)
    files = entry["outputs"][node]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(await client.fetch(file)))).astype(int) for file in files])


def test_a_clip_is_edited_as_the_chosen_edit(talk, with_instruct_model, server):
    """By what was learned, in memory and from the file; another choice is another edit, and no steps are the base."""

    async def run(client):
        learned = await pictures(client, graph("result", "save"), "result")
        made = {
            "file": graph("result", edit={"model": ["load", 0]}),
            "base": graph("result", edit={"model": ["model", 0]}),
            "none": graph("result", adapt={"steps": 0}),
            "first": graph("result", adapt={"choice": 1}),
            "second": graph("result", adapt={"choice": 2}),
        }
        return learned, {name: await pictures(client, each, "result") for name, each in made.items()}

    learned, others = talk(run)
    assert learned.shape == (5, 64, 64, 3)
    assert np.array_equal(learned, others["file"]) and np.array_equal(others["base"], others["none"])
    assert any(np.array_equal(learned, others[name]) for name in ("first", "second"))
    assert not np.array_equal(others["first"], others["second"]) and not np.array_equal(learned, others["base"])


def test_the_sheet_shows_frame_and_edits(talk, with_instruct_model):
    sheet = talk(lambda client: pictures(client, graph("sheet", adapt={"steps": 0, "frames": 2}), "sheet"))
    assert sheet.shape[0] == 1 and sheet.shape[1] > 400 and sheet.shape[2] > 600


def test_what_adaptation_does_not_take_is_said(talk, with_instruct_model):
    demo = "demo model (ships with LIVE)"
    said = [
        ("is a text-to-image model .* Adapt to Edit takes an InstructPix2Pix model", {"model": {"model": demo}}),
        ("^instruction: ' '; say what to change", {"adapt": {"instruction": " "}}),
        ("^instruction: .*give text", {"adapt": {"instruction": linked(7)}}),
        ("^frames: 6, and the clip has 5; give 5 or fewer", {"adapt": {"frames": 6}}),
        ("^frames: 0; give a whole number", {"adapt": {"frames": linked(0)}}),
        ("^candidates: 2.5; give a whole number", {"adapt": {"candidates": linked(2.5)}}),
        ("^choice: 3, and the sheet has 2 edits.*give 1 to 2", {"adapt": {"choice": 3}}),
        ("^steps: -1; give a whole number", {"adapt": {"steps": linked(-1)}}),
        ("^learning_rate: nan; give a finite number", {"adapt": {"learning_rate": linked(float("nan"))}}),
        ("^pairs: 0; give a whole number", {"adapt": {"pairs": linked(0)}}),
        ("^edit_steps: 5000; give a whole number", {"adapt": {"edit_steps": linked(5000)}}),
        (
            "^mask: 1 frames of 32x64; the clip has 5 frames of 64x64",
            {"mask": {"width": 32}, "adapt": {"mask": ["mask", 0]}},
        ),
        ("the model is adapted to 'make the ball blue'; give", {"edit": {"instruction": "make it night"}}),
    ]

    async def run(client):
        answers = []
        for _, changes in said:
            outcome, events, entry = await client.run(graph("result", **changes))
            answers.append(message(events) if outcome == "error" else str(entry["outputs"]["edit"].get("text")))
        return answers

    for (words, _), answer in zip(said, talk(run), strict=True):
        assert re.search(words, answer.removeprefix("('").strip(), re.MULTILINE), (words, answer)
