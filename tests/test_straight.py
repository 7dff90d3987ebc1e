"""A clip travels straight through a real ComfyUI: what one node did for it, the next does not do again."""

import json

import pytest
from graphs import message, with_nodes

pytestmark = pytest.mark.host


def watched(graph: dict) -> dict:
    """The workflow with Clip through Autoencoder, and what it cost between loading and the last picture."""
    rewire = {(i, "model"): ["watched", 0] for i, node in graph.items() if node["inputs"].get("model") == ["1", 0]}
    return with_nodes(
        graph,
        rewire,
        watched=("TestWatched", {"model": ["1", 0]}),
        through=("LIVE_Reconstruct", {"model": ["6", 0], "images": graph["7"]["inputs"]["images"]}),
        counts=("TestCounts", {"one": ["8", 0], "other": ["through", 0]}),
    )


def test_a_clip_is_encoded_once_for_a_graph(talk, workflow):
    """By Tune, Invert and Clip through Autoencoder: two frames, and the photo."""
    outcome, events, history = talk(lambda client: client.run(watched(workflow(**{"Fit Clip.frames": 2}))))
    assert outcome == "success", message(events)
    assert json.loads(*history["outputs"]["counts"]["text"])["encoded"] == 2 + 1
