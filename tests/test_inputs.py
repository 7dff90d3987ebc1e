"""What links and API graphs bring to a node, past the limits of its widgets, is held to its schema."""

import json
import subprocess

import pytest
from conftest import ROOT
from graphs import message, with_nodes

pytestmark = pytest.mark.host

SAID = {
    "negative": "dilation: -3; give a whole number from 0 to 512",
    "huge": f"dilation: {2**70}; give a whole number from 0 to 512",
    "endless": "dilation: a whole number of 16610 bits; give a whole number",
    "half": "dilation: 2.5; give a whole number",
    "boolean": "dilation: True; give a whole",
    "number as text": "dilation: '4'; give a whole number",
    "NaN": "blur: nan; give a finite number from 0 to 200",
    "infinite": "blur: inf; give a finite number from 0 to 200",
    "beyond": "blur: 200.5; give a finite number from 0 to 200",
    "list": "blur: [1.0]; give a finite number",
    "text for a clip": "images: 'clip.mp4'; connect pictures, from",
    "number for a mask": "mask: 3; connect a mask, from",
    "nothing": "mask: nothing came; connect a mask, from",
    "1 channel": "images: 1 channels; expected 3",
    "a batch too many": "images: shape (1, 2, 16, 16, 3); expected (frames, height, width, 3)",
    "no frames": "images: shape (0, 16, 16, 3); expected",
    "bytes": "images: a tensor of shape (2, 16, 16, 3) and type uint8; expected floats from 0 to 1, so divide",
    "torn": "edited: frame 2 of 2 has values that are not finite",
    "torn mask": "mask: frame 2 of 2 has values that are not finite",
    "boolean mask": "mask: a tensor of shape (1, 16, 16) and type bool; expected floats",
    "mask of four axes": "mask: shape (1, 1, 16, 16); expected (frames, height, width)",
    "no mask": "mask: shape (1, 0, 16); expected",
    "one pixel": "mask: 1 frames of 1x1; the clip has 2 frames of 16x16",
    "other size": "mask: 1 frames of 16x8; the clip has",
    "text for a model": "model: 'sd15'; connect Load LIVE Model",
    "no model": "model: nothing came; connect Load LIVE Model",
    "a clip for a model": "model: a tensor of shape (2, 16, 16, 3) and type float32; connect Load LIVE Model",
    "concept of nothing": "concept: something of type tuple; connect Bind Photo to Placeholder",
    "number for text": "prompt: 7; give text",
    "half a character": "prompt: 'a \\ud83d ball' has half a character at place 3",
    "text for yes or no": "photo_latent_prompt: 'no'; choose True, False",
    "no such choice": "photo_loss: 'cube'; choose log, square",
    "number for a choice": "photo_loss: 3; choose log, square",
    "negative steps": "clip_steps: -1; give a whole number from 0 to 100000",
    "65 bits": f"seed: {2**64}; give a whole number from 0 to {2**64 - 1}",
    "negative seed": "seed: -1; give a whole number from 0",
    "no such method": "method: 'lvie'; choose live, ",
    "text for a method": "method: 'live'; choose live, ",
    "no method": "method: None; choose live, ",
    "no row": "method.row: nothing came; connect Method: Frames and Guidance",
    "text for a row": "method.row: 'live'; connect Method: Frames",
    "setting of a method": "method.cross_ratio: 1.5; give a finite number from 0 to 1",
    "NaN in a method": "method.guidance_scale: nan; give a finite number from 0 to 100",
    "nested choice": "method.self_target: 'everywhere'; choose spatial, temporal, both",
    "records of text": "records: 'all'; connect records of Edit Video",
    "no such view": "which: 'wrods'; choose words, steps",
    "rows": "which.rows: 0; give a whole number from 1 to 64",
    "text for MODEL": "model: 'sd15'; connect Load Checkpoint",
    "no text encoder": "clip: nothing came; connect Load CLIP, since a checkpoint without",
    "number for a video": "video: 3; connect Load Video",
    "pictures for a video": "video: a tensor of shape (2, 16, 16, 3) and type float32; connect Load Video",
    "pictures for MODEL": "model: a tensor of shape (2, 16, 16, 3) and type float32; connect Load Checkpoint",
    "pictures for CLIP_VISION": "clip_vision: a tensor of shape (2, 16, 16, 3) and type float32; connect Load CLIP Vi",
    "a pair for a VAE": "vae: something of type tuple; connect Load VAE",
    "sparse pictures": "images: a tensor of shape (2, 16, 16, 3) and type float32 whose values cannot be read; give",
    "pictures of no values": "images: a tensor of shape (2, 16, 16, 3) and type float32 whose values cannot be read",
}
DONE = {
    "eight bits as floats": (
        "edited: values from 128 to 128, where 0 is black and 1 is white; divide 8-bit values by 255"
    ),
    "mask of two axes": None,
    "whole as float": None,
}


def test_what_is_outside_a_schema_is_refused_in_words(comfyui):
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "inputs_child.py"), str(ROOT), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.pop("damaged links") == []
    assert said.keys() == SAID.keys() | DONE.keys()
    for name, words in SAID.items():
        assert said[name][0].startswith(words), (name, said[name])
    for name, warning in DONE.items():
        assert said[name] == ["done", *([warning] if warning else [])], name


def test_linked_values_and_constants_in_sockets_through_the_queue(talk, workflow):
    """Core's own primitives, past the limits; and a graph's words in the place of a link, which ComfyUI lets pass."""

    def linked(kind, value, node, field):
        return with_nodes(workflow(), {(node, field): ["p", 0]}, p=(kind, {"value": value}))

    rows = [
        (linked("PrimitiveInt", -3, "7", "steps"), "steps: -3; give a whole number from 1 to 1000"),
        (
            linked("PrimitiveInt", 2**62, "6", "clip_steps"),
            f"clip_steps: {2**62}; give a whole number from 0 to 100000",
        ),
        (
            linked("PrimitiveFloat", float("nan"), "8", "method.guidance_scale"),
            "method.guidance_scale: nan; give a finite number from 0 to 100",
        ),
        (linked("PrimitiveFloat", 1e18, "9", "blur"), "blur: 1e+18; give a finite number from 0 to 200"),
        (linked("PrimitiveString", "live", "8", "method"), "method: a link; choose live, "),
        (
            workflow(**{"Edit prompt.value": "a \ud83d ball"}),
            "prompt: 'a \\ud83d ball' has half a character at place 3",
        ),
    ]
    for node, field, value, says in (
        ("6", "model", "sd15", "model: 'sd15'; connect Load LIVE Model"),
        ("7", "images", 3, "images: 3; connect pictures"),
        ("9", "mask", None, "mask: nothing came; connect a mask"),
        ("8", "inversion", {"a": 1}, "inversion: {'a': 1}; connect Invert Video"),
    ):
        graph = workflow()
        graph[node]["inputs"][field] = value
        rows.append((graph, says))

    async def each(client):
        return [await client.run(graph) for graph, _ in rows]

    for (_, says), (outcome, events, _) in zip(rows, talk(each), strict=True):
        assert outcome == "error" and message(events).startswith(says), (says, message(events))


def test_what_a_node_has_no_input_for_is_said(talk, workflow):
    """A name written wrong, beside its default; a seed of 64 bits, which KSampler has too, is one."""
    graph = workflow(**{"Tune Video.seed": 2**64 - 1})
    graph["8"]["inputs"]["method.cros_ratio"] = 0.1
    outcome, events, history = talk(lambda c: c.run(graph))
    assert outcome == "success", message(events)
    assert history["outputs"]["8"]["text"][1:] == [
        "method.cros_ratio: as it is set, this node has no such input, so it was not read; correct its name, or take"
        " it out"
    ]
