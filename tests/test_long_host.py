"""Edits of long clips through ComfyUI's queue."""

import io
import re

import numpy as np
import pytest
from good_graph import BLUE, CLIP_PROMPT, DEMO, WORDS
from graphs import message
from PIL import Image

pytestmark = pytest.mark.host
METHOD = "fatezero-attribute"


def graph(**changes) -> dict:
    """Five frames of the demo clip, in windows of two, after a tuning in windows; `changes`: node -> inputs."""
    method = {"method": METHOD}
    nodes = {
        "model": ("LIVE_LoadModel", {"model": DEMO, "precision": "float32"}),
        "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
        "first": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 5}),
        "clip": ("ImageCrop", {"image": ["first", 0], "width": 64, "height": 64, "x": 32, "y": 32}),
        "tune": (
            "LIVE_Tune",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "prompt": CLIP_PROMPT,
                "clip_steps": 2,
                "photo_steps": 0,
                "seed": 0,
                "method": "tav-ddim",
                "clip_rate": 1e-4,
                "latent_prompt_rate": 1e-3,
                "photo_rate": 5e-3,
                "temporal_in_photo_steps": False,
                "window": 3,
            },
        ),
        "long": (
            "LIVE_EditLong",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "source_prompt": CLIP_PROMPT,
                "prompt": BLUE,
                **method,
                "steps": 2,
                "window": 2,
                "null_text": 0,
                "paste": True,
                "dilation": 1,
                "blur": 1.5,
                "edge_radius": 0,
                **WORDS,
            },
        ),
        "invert": (
            "LIVE_Invert",
            {
                "model": ["model", 0],
                "images": ["clip", 0],
                "prompt": CLIP_PROMPT,
                "steps": 2,
                **method,
                "attention": "recompute",
                "kept_steps": 1.0,
            },
        ),
        "edit": ("LIVE_Edit", {"model": ["model", 0], "inversion": ["invert", 0], "prompt": BLUE, **method, **WORDS}),
        "save": ("SaveImage", {"images": ["long", 0], "filename_prefix": "long"}),
    }
    made = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}
    for name, inputs in changes.items():
        made[name]["inputs"] |= inputs
    return made


async def pictures(client, more=None, **changes) -> np.ndarray:
    """What is made, with `more` nodes."""
    outcome, events, entry = await client.run(graph(**changes) | (more or {}))
    assert outcome == "success", message(events)
    files = entry["outputs"]["save"]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(await client.fetch(file)))).astype(int) for file in files])


def test_a_long_clip_is_edited_window_by_window(talk):
    async def run(client):
        whole = await pictures(client, long={"window": 5})
        short = await pictures(client, save={"images": ["edit", 0]})
        windowed = await pictures(client)
        tuned = await pictures(client, long={"model": ["tune", 0], "method": "live"})
        return whole, short, windowed, tuned

    whole, short, windowed, tuned = talk(run)
    assert np.array_equal(whole, short)
    assert windowed.shape == tuned.shape == (5, 64, 64, 3)
    assert not np.array_equal(windowed, whole) and not np.array_equal(tuned, windowed)


def test_what_an_edit_of_a_long_clip_does_not_take_is_said(talk):
    said = {
        "window: 2 of 5 frames, .*'tokenflow'.*; give 5 or more": {"long": {"method": "tokenflow"}},
        "window: 2 of 5 frames, but in this method frames read all": {"long": {"method": "vid2vid-zero"}},
        "window: 1, but 2 frames of others ride along .*; give 2 or more": {"long": {"window": 1, "method": "live"}},
        "source prompt: .*elephant|source words: .*'elephant'": {"long": {"source_words": "elephant"}},
        "edit prompt: '' has no words": {"long": {"prompt": ""}},
        "blur: nan": {"long": {"blur": ["nan", 0]}},
        "mask: 5 frames of 128x128; the clip has 5 frames of 64x64": {"long": {"mask": ["large", 0]}},
        "window: 1, but 2 frames of others ride": {
            "tune": {"window": 1, "method": "live"},
            "save": {"images": ["t", 0]},
        },
    }

    async def run(client):
        answers = []
        for changes in said.values():
            made = graph(**{name: inputs for name, inputs in changes.items()})
            made["nan"] = {"class_type": "TestValue", "inputs": {"json": "NaN"}}
            made["large"] = {"class_type": "ImageToMask", "inputs": {"image": ["first", 0], "channel": "red"}}
            made["t"] = {
                "class_type": "LIVE_EditLong",
                "inputs": {**made["long"]["inputs"], "model": ["tune", 0], "method": "live"},
            }
            if "tune" not in changes:
                del made["t"]
            answers.append(message((await client.run(made))[1]))
        return answers

    for words, answer in zip(said, talk(run), strict=True):
        assert re.search(words, answer), answer
