"""Painting by a photo and by words through ComfyUI's queue."""

import io
import re
import shutil

import numpy as np
import pytest
from graphs import message
from PIL import Image

pytestmark = pytest.mark.host
DEMO = "demo model (ships with LIVE)"
PAINT, INPAINT = "LIVE_PaintByExample", "LIVE_Inpaint"

INSTRUCT = {
    "instruction": "make the ball blue",
    "method": "instruct-pix2pix",
    "guidance_scale": 4,
    "image_guidance_scale": 1.5,
    "steps": 2,
    "seed": 0,
    "window": 2,
}


def graph(**changes) -> dict:
    """Five frames of the demo clip's corner, painted in windows of two where a square is white; `changes`: node ->
    inputs."""
    shared = {"images": ["clip", 0], "mask": ["mask", 0], "steps": 2, "seed": 0, "window": 2}
    nodes = {
        "model": ("LIVE_LoadModel", {"model": "paint", "precision": "float32"}),
        "words": ("LIVE_LoadModel", {"model": "inpainting", "precision": "float32"}),
        "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
        "first": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 5}),
        "clip": ("ImageCrop", {"image": ["first", 0], "width": 64, "height": 64, "x": 0, "y": 0}),
        "black": ("SolidMask", {"value": 0.0, "width": 64, "height": 64}),
        "white": ("SolidMask", {"value": 1.0, "width": 32, "height": 32}),
        "mask": (
            "MaskComposite",
            {"destination": ["black", 0], "source": ["white", 0], "x": 16, "y": 16, "operation": "add"},
        ),
        "photo": ("LoadImage", {"image": "live_demo_photo.png"}),
        "edit": (PAINT, {"model": ["model", 0], "photo": ["photo", 0], "guidance_scale": 5.0, **shared}),
        "by words": (INPAINT, {"model": ["words", 0], "prompt": "a blue star", "guidance_scale": 7.5, **shared}),
        "save": ("SaveImage", {"images": ["edit", 0], "filename_prefix": "paint"}),
    }
    made = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}
    for name, inputs in changes.items():
        made[name]["inputs"] |= inputs
    return made


@pytest.fixture(scope="module", autouse=True)
def with_models(server, paint_folder, inpainting_folder):
    for folder in (paint_folder, inpainting_folder):
        shutil.copytree(folder, server.base / "models" / "diffusers" / folder.name, dirs_exist_ok=True)


async def pictures(client, graph) -> np.ndarray:
    outcome, events, entry = await client.run(graph)
    assert outcome == "success", message(events)
    files = entry["outputs"]["save"]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(await client.fetch(file)))).astype(int) for file in files])


def test_a_clip_is_painted_by_a_photo_and_by_words(talk):
    """In windows as whole; what is painted is the photo's, or the prompt's."""

    async def run(client):
        return [
            await pictures(client, graph(**changes))
            for changes in (
                {},
                {"edit": {"window": 5}},
                {"edit": {"guidance_scale": 0.0}},
                {"save": {"images": ["by words", 0]}},
                {"save": {"images": ["by words", 0]}, "by words": {"negative_prompt": "a red ball"}},
            )
        ]

    windowed, whole, unguided, by_words, negative = talk(run)
    assert windowed.shape == (5, 64, 64, 3) and np.abs(windowed - whole).max() <= 1
    assert min(np.abs(a - b).max() for a, b in ((whole, unguided), (whole, by_words), (by_words, negative))) > 2


def test_what_painting_does_not_take_is_said(talk, server):
    Image.new("RGBA", (64, 64), (200, 30, 30, 90)).save(server.base / "input" / "clear.png")
    said = {
        "is a text-to-image model .* Paint by Example takes a Paint-by-Example model": {"model": {"model": DEMO}},
        "'inpainting' is an inpainting model .*give it to Inpaint Clip": {"model": {"model": "inpainting"}},
        "mask: it is black, so there is nothing to paint": {"mask": {"operation": "subtract"}},
        "mask: 1 frames of 32x32; the clip has 5 frames of 64x64": {"edit": {"mask": ["white", 0]}},
        "photo: 5 pictures; give exactly one": {"edit": {"photo": ["clip", 0]}},
        "photo: 'clear.png' is transparent in places, .*put it on a background": {"photo": {"image": "clear.png"}},
        "weights: 'ema', but 'paint' is a folder": {"model": {"weights": "ema"}},
    }
    elsewhere = {"class_type": "LIVE_Instruct", "inputs": {**INSTRUCT, "model": ["model", 0], "images": ["clip", 0]}}
    bound = {"model": ["model", 0], "photo": ["photo", 0], "images": ["clip", 0]}
    bound |= {"placeholder": "<thing*>", "initial_word": "star"}
    kept = {
        **graph(),
        "bind": {"class_type": "LIVE_BindConcept", "inputs": bound},
        "save": {"class_type": "PreviewAny", "inputs": {"source": ["bind", 0]}},
    }

    async def run(client):
        graphs = [graph(**changes) for changes in said.values()] + [{**graph(), "edit": elsewhere}, kept]
        return [message((await client.run(each))[1]) for each in graphs]

    answers = talk(run)
    said |= {
        "'paint' is a Paint-by-Example model .*Edit by Instruction takes an InstructPix2Pix model": {},
        "'paint' is .* which reads a photo in the place of a text; give it to Paint by Example": {},
    }
    for words, answer in zip(said, answers, strict=True):
        assert re.search(words, answer), answer


def test_a_mask_that_is_white_all_over_is_noted(talk):
    async def run(client):
        return await client.run(graph(white={"width": 64, "height": 64}, mask={"x": 0, "y": 0}))

    outcome, events, history = talk(run)
    assert outcome == "success", message(events)
    (said,) = history["outputs"]["edit"]["text"]
    assert said.startswith("mask: it is white all over")
