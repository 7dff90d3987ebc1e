"""What is not as the words asked for is said where the user sees it."""

import json
import subprocess
import sys
import threading

import pytest
from graphs import with_nodes

from live_core.notes import gathered, note


def test_notes_are_said_once_in_order_and_logged(caplog):
    with gathered() as outer:
        note("a")
        with gathered() as inner:
            note("b")
            note("b")
        note("c")
    note("d")
    assert (outer, inner) == (["a", "c"], ["b"]) and [m.removeprefix("LIVE: ") for m in caplog.messages] == [
        "a",
        "b",
        "b",
        "c",
        "d",
    ]


def test_another_thread_s_notes_are_its_own():
    with gathered() as ours:
        thread = threading.Thread(target=note, args=("theirs",))
        thread.start()
        thread.join()
    assert ours == []


@pytest.mark.host
def test_a_note_is_text_on_its_node_and_in_the_history(talk, workflow):
    """A black mask beside no local blend leaves the clip as it is. A run from ComfyUI's cache says so too, and a white
    mask takes it back.
    """
    graph = workflow(**{"Edit Video.method.blend_threshold": 0})
    edit = next(name for name, node in graph.items() if node["class_type"] == "LIVE_Edit")

    def masked(value):
        with_nodes(
            graph, {(edit, "mask"): ["drawn", 0]}, drawn=("SolidMask", {"value": value, "width": 128, "height": 128})
        )
        return graph

    shown = []

    async def twice(client):
        runs = []
        for value in (0.0, 0.0, 1.0):
            shown.append([])
            runs.append(
                await client.run(
                    masked(value), lambda kind, data: kind == "text" and shown[-1].append(data[8:].decode())
                )
            )
        return [
            [text for text in history["outputs"].get(edit, {}).get("text", []) if text.startswith("mask:")]
            for _, _, history in runs
        ]

    first, cached, white = talk(twice)
    assert len(first) == 1 and "it is empty" in first[0] and cached == first and white == []
    assert len(shown[0]) == 1 and f"\u26a0 {first[0]}" in shown[0][0]
    # Of what comes from the cache the page is sent what history has.
    assert not shown[1] and all("it is empty" not in text for text in shown[2])


@pytest.mark.host
def test_the_client_says_the_notes_of_nodes_from_the_cache(comfy, server, tmp_path):
    """Of an output node too, whose own texts are results."""
    graph = {
        "1": {"class_type": "TestTensor", "inputs": {"shape": "[2, 32, 32, 3]", "value": "7"}},
        "2": {
            "class_type": "LIVE_Measure",
            "inputs": {
                "images": ["1", 0],
                "edited": ["1", 0],
                "clip_folder": "none",
                "prompt": "",
                "source_prompt": "",
            },
        },
    }
    (tmp_path / "measure.json").write_text(json.dumps(graph))
    command = [sys.executable, comfy.__file__, "run", tmp_path / "measure.json", "--server", server.url, "--json"]
    runs = [
        json.loads(subprocess.run([*command, "--out", tmp_path], capture_output=True, check=True).stdout)
        for _ in range(2)
    ]
    assert any("values from 7" in note for note in runs[0]["notes"])
    assert [(run["notes"], run["texts"]) for run in runs] == [(runs[0]["notes"], runs[0]["texts"])] * 2


@pytest.mark.host
def test_a_note_is_shown_to_those_whose_graph_it_is(talk, comfy, server):
    """Node ids are alike in many graphs, and several people may work with one server."""
    graph = {
        "8": {"class_type": "TestTensor", "inputs": {"shape": "[1, 8, 8, 3]", "value": "7"}},
        "9": {"class_type": "TestTensor", "inputs": {"shape": "[1, 8, 8]", "value": "1"}},
        "1": {
            "class_type": "LIVE_Composite",
            "inputs": {"images": ["8", 0], "edited": ["8", 0], "mask": ["9", 0], "dilation": 0, "blur": 0},
        },
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    last = {"3": {"class_type": "PreviewAny", "inputs": {"source": "last"}}}

    async def two(ours):
        seen = {"ours": [], "theirs": []}

        def watch(whose):
            return lambda kind, data: kind == "text" and seen[whose].append(data)

        async with comfy.Client(server.url) as theirs:
            await ours.run(graph, watch("ours"))
            await theirs.run(last, watch("theirs"))
        return seen

    seen = talk(two)
    assert len(seen["ours"]) == 1 and b"values from 7" in seen["ours"][0] and not seen["theirs"]
