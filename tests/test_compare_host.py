"""Clips side by side, playing on the node."""

import io

import numpy as np
import pytest
from graphs import message
from PIL import Image

pytestmark = pytest.mark.host


def graph(**inputs) -> dict:
    nodes = {
        "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
        "few": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 3}),
        "edited": ("ImageInvert", {"image": ["few", 0]}),
        "mask": ("SolidMask", {"value": 1, "width": 64, "height": 64}),
        "compare": (
            "LIVE_Compare",
            {"images": ["few", 0], "edited": ["edited", 0], "photo": ["demo", 1], "mask": ["mask", 0], "fps": 4}
            | inputs,
        ),
    }
    return {name: {"class_type": kind, "inputs": given} for name, (kind, given) in nodes.items()}


def test_it_plays_on_the_node_and_is_no_result(talk):
    async def run(client):
        outcome, events, entry = await client.run(graph())
        assert outcome == "success", message(events)
        shown = entry["outputs"]["compare"]
        return shown, Image.open(io.BytesIO(await client.fetch(shown["images"][0])))

    shown, picture = talk(run)
    assert shown["animated"] == [True] and shown["images"][0]["type"] == "temp"
    picture.seek(1)
    picture.load()
    assert picture.n_frames == 3 and picture.info["duration"] == 250 and picture.info["loop"] == 0
    top, bottom = np.split(np.asarray(picture.convert("RGB")).astype(float), 2)
    (clip, edited), (photo, mask) = np.split(top, 2, 1), np.split(bottom, 2, 1)
    assert max(picture.size) <= 1024
    inner = slice(8, -8)
    assert np.abs(255 - clip - edited)[inner, inner].mean() < 16  # the clip, and its negative
    assert mask[inner, inner].min() > 250 and np.abs(photo - clip)[inner, inner].mean() > 16


def test_another_number_of_frames_is_named(talk):
    two = {"two": {"class_type": "ImageFromBatch", "inputs": {"image": ["demo", 0], "batch_index": 0, "length": 2}}}
    _, events, _ = talk(lambda client: client.run(graph(edited=["two", 0]) | two))
    assert "edited: 2 frames, beside a clip of 3; give as many, or one" in message(events)
