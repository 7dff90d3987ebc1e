"""What the tests that drive a real server share: the shipped workflow with few steps, core nodes put into it, and what
came out.
"""

import copy
import io
import json

import numpy as np
from conftest import ROOT

FIRST_RELEASE = ROOT / "tests" / "graphs_0_1"  # its workflows, and the nodes' inputs and outputs: never change these
WORKFLOW = ROOT / "workflows" / "api" / "live_image_driven_edit.json"
FEW = {"Tune Video.clip_steps": 2, "Tune Video.photo_steps": 2, "Invert Video (DDIM).steps": 4}
# Node -> input -> value: with these on the first node of a kind every shipped workflow runs within a minute.
SHORT = {
    "LIVE_Tune": {"clip_steps": 2, "photo_steps": 2},
    "LIVE_Invert": {"steps": 4},
    "LIVE_NullText": {"inner_steps": 1},
    "LIVE_PaintByExample": {"steps": 2},
    "LIVE_Inpaint": {"steps": 2},
    "LIVE_AdaptToEdit": {"steps": 2, "edit_steps": 2},
    "LIVE_Instruct": {"steps": 4},
    "LIVE_StreamInstruct": {"steps": 4},
    "LIVE_EditLong": {"steps": 2},
    "LIVE_StreamEdit": {"steps": 2},
    "LIVE_ChangeMask": {"draws": 1},
}


def message(events) -> str:
    return events[-1][2].get("exception_message", "")


def shortened(graph: dict) -> list[tuple[str, str, int]]:
    """(node, input, value): what `SHORT` changes in a graph. Without a photo there are no steps on it."""
    kinds = sorted({node["class_type"] for node in graph.values()})
    changes = [(kind, field, value) for kind in kinds for field, value in SHORT.get(kind, {}).items()]
    bound = "LIVE_BindConcept" in kinds
    return [(kind, field, value if bound or field != "photo_steps" else 0) for kind, field, value in changes]


def with_nodes(graph, rewire, **nodes):
    """Add core nodes and put them before inputs: rewire = {(node id, input): [node, output]}."""
    graph.update({name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()})
    for (node, field), link in rewire.items():
        graph[node]["inputs"][field] = link
    return graph


def load(path) -> dict:
    return json.loads(path.read_text())


def small(graph: dict, frames: int = 2) -> dict:
    """A copy whose clips are cut to their first frames, and whose loops take a step or two."""
    graph = copy.deepcopy(graph)
    kinds = {node["class_type"] for node in graph.values()}
    steps = {
        "clip_steps": 1,
        "photo_steps": 1 if "LIVE_BindConcept" in kinds else 0,
        "steps": 2,
        "edit_steps": 2,
        "inner_steps": 1,
    }
    for node in graph.values():
        node["inputs"] |= {name: count for name, count in steps.items() if name in node["inputs"]}
    for clip in [i for i, node in graph.items() if node["class_type"] == "LIVE_DemoClip"]:
        rewire = {
            (i, name): [f"{clip} first", 0]
            for i, node in graph.items()
            for name, link in node["inputs"].items()
            if link == [clip, 0]
        }
        with_nodes(
            graph,
            rewire,
            **{f"{clip} first": ("ImageFromBatch", {"image": [clip, 0], "batch_index": 0, "length": frames})},
        )
    return graph


def up_to(graph: dict, node: str) -> dict:
    """A copy that holds only `node`, what it stands on, and core's Preview Any of its first output, if it has one."""
    kept, left = set(), [node]
    while left:
        if (name := left.pop()) not in kept:
            kept.add(name)
            left += [
                value[0]
                for value in graph[name]["inputs"].values()
                if isinstance(value, list) and value and value[0] in tuple(graph)
            ]
    found = {name: copy.deepcopy(graph[name]) for name in graph if name in kept}
    if graph[node]["class_type"] == "LIVE_SaveTuning":
        return found
    return {**found, "shown": {"class_type": "PreviewAny", "inputs": {"source": [node, 0]}}}


async def freed(client, still: dict | None = None) -> None:
    """What the page's "Unload Models and Execution Cache" does, or, with the graph that `still` was the last, "Unload
    Models" alone. The server sees to it when it next looks at its queue: by the end of a graph at the latest.
    """
    await client.json("POST", "/free", json={"unload_models": True, "free_memory": still is None})
    outcome, _, _ = await client.run(still or with_nodes({}, {}, any=("PreviewAny", {"source": "any"})))
    assert outcome == "success"


def frames_of(video: bytes) -> np.ndarray:
    import av

    with av.open(io.BytesIO(video)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def pixels(picture: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
