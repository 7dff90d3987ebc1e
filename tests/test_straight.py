"""A clip travels straight through a real ComfyUI: what one node did for it, the next does not do again."""

import json
import subprocess

import pytest
from conftest import ROOT
from graphs import freed, message, with_nodes

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


def test_a_clip_is_encoded_once_for_a_graph_and_networks_stay(talk, workflow):
    """Bind, Tune, Invert, Edit and Clip through Autoencoder: two frames and the photo; three networks, which move to
    the device once, and from it when that is asked for.
    """

    async def around_a_release(client):
        graph = watched(workflow(**{"Fit Clip.frames": 2}))
        await freed(client)
        first = await client.run(graph)
        await freed(client, still=graph)
        graph["7"]["inputs"]["steps"] = 3
        return first, await client.run(graph)

    (outcome, events, history), again = talk(around_a_release)
    assert outcome == "success", message(events)
    assert counted(history) == {"encoded": 2 + 1, "moved in": 3, "moved out": 0}
    assert again[0] == "success", message(again[1])  # of all nodes from Invert on
    assert counted(again[2]) == {"encoded": 2 + 1, "moved in": 3 + 3, "moved out": 3}


def counted(history) -> dict[str, int]:
    return json.loads(*history["outputs"]["counts"]["text"])


def test_where_networks_are_when(comfyui):
    """All that ComfyUI does for a card, done for a device that is one to it alone."""
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "residence_child.py"), str(ROOT), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    here, away, none, once = "on the device", "off it", [0, 0], [3, 0]
    assert found["runs_in_a_row"] == [[here] * 4, once]
    where, learned, networks, moved = found["a_tuned_model"]
    assert where == here and learned > 0 and networks == 3 and moved == none
    assert found["room_for_another"] == [[away, [0, 3]], here, once, 3]
    assert found["a_little_room"] == [[away, [0, 3]], here, once]
    assert found["unloaded"] == [[away, [0, 3]], 1, once]
    assert found["interrupted"] == [here, none]
    said, *after = found["no_room"]
    assert said.startswith("memory: not enough for the model's weights (no room)") and after == ["torn", away, here]
    assert found["novram"] == ["torch.float64", 0]
    assert found["copied"] == [[None] * 3, here, 3]
    assert found["collected"] == [True] * 4
