"""What the tests that drive a real server share: the shipped workflow with few steps, core nodes put into it, and what came out."""
import io

import numpy as np
from conftest import ROOT

WORKFLOW = ROOT / "workflows" / "api" / "live_image_driven_edit.json"
FEW = {"Tune Video.clip_steps": 2, "Tune Video.photo_steps": 2, "Invert Video (DDIM).steps": 4}


def message(events) -> str:
    return events[-1][2].get("exception_message", "")


def with_nodes(graph, rewire, **nodes):
    """Add core nodes and put them before inputs: rewire = {(node id, input): [node, output]}."""
    graph.update({name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()})
    for (node, field), link in rewire.items():
        graph[node]["inputs"][field] = link
    return graph


def frames_of(video: bytes) -> np.ndarray:
    import av
    with av.open(io.BytesIO(video)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
