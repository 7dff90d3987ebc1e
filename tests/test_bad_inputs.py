"""Bad input through the real queue: an answer that names the input, quotes the value and says what would work; then all
is as before.
"""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from bad_inputs import ROWS
from bad_values import ERROR, NOTE, REFUSED, SAID, Node
from chinese import not_said
from conftest import ROOT
from good_graph import GOOD
from graphs import message, pixels, up_to, with_nodes
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.host
REMEDY = re.compile(
    r"\b(choose|give|say|fetch|takes|divide|wrap|left out|by itself|use|write|set|connect|disconnect|link|put|make|take"
    r"|load|save|invert|tune|bind|name|draw|scale|raise|lower|keep|leave|rename|remove|change|convert|crop|resize"
    r"|expected|must|needs?|can be|so that|to have)\b",
    re.IGNORECASE,
)


def graph_of(node: str, inputs: dict) -> dict:
    """The good graph up to `node`, with `inputs` changed there; an input of None is left out."""
    graph = {name: {"class_type": kind, "inputs": dict(values)} for name, (kind, values) in GOOD.items()}
    # What feeds on the node itself gets one like it.
    graph["another"] = {
        "class_type": GOOD[node][0],
        "inputs": dict(GOOD[node][1]),
    }

    def told(name, value):
        """What stands in the graph for `value`, before which nodes may come."""
        if isinstance(value, Node):
            made = {n: told(f"{name} {n}", v) for n, v in value.inputs.items()}
            graph[f"odd {name}"] = {"class_type": value.kind, "inputs": made}
            return [f"odd {name}", 0]
        return ["another", value[1]] if isinstance(value, list) and value[:1] == [node] else value

    for name, value in inputs.items():
        if value is None:
            del graph[node]["inputs"][name]
        else:
            graph[node]["inputs"][name] = told(name, value)
    if "method" in inputs:  # settings of the other method go
        for name in [name for name in graph[node]["inputs"] if name.startswith("method.") and name not in inputs]:
            del graph[node]["inputs"][name]
    return up_to(graph, node)


async def verdict(
    client, heard: set[str], node: str, inputs: dict, field: str, value: str, kind: str = ERROR
) -> str | None:
    """What is wrong with the answer to a row; None if nothing is. `heard` gets what was said."""
    try:
        outcome, events, history = await client.run(graph_of(node, inputs), timeout=120)
    except ValueError as refusal:
        if kind != REFUSED:
            return f"ComfyUI refused it: {refusal}"
        lines = str(refusal).splitlines()
        return (
            None
            if any(field in line and value in line for line in lines)
            else f"does not name {field} and {value}: {refusal}"
        )
    data = events[-1][2]
    if outcome == "error":
        said = [message(events)]
        if data["exception_type"] != "LiveError":
            return f"{data['exception_type']}: {said[0].strip()}"
        if data["node_id"] != node:
            return f"at node {data['node_id']!r}: {said[0]}"
    else:
        said = history["outputs"].get(node, {}).get("text", [])
    lines = said if outcome == "error" else [line for text in said for line in text.split("\n")]
    heard.update(line.strip() for line in lines if not line.startswith("|"))  # a table has few words
    if (
        outcome not in {ERROR: ("error",), NOTE: ("success",), SAID: ("error", "success"), REFUSED: ()}[kind]
        or not said
    ):
        return f"{outcome}, and {said or 'nothing'} said, instead of {kind}"
    named = [text for text in said if re.match(rf"((method|which)\.)?({field})\b", text, re.IGNORECASE)]
    if not named:
        return f"does not begin with {field}: {said}"
    quoted = [text for text in named if re.search(value, text)]
    if not quoted:
        return f"does not quote {value}: {named}"
    return None if any(REMEDY.search(text) for text in quoted) else f"says no remedy: {quoted}"


def make_bad_files(base) -> None:
    """Models and tunings that are damaged, beside the good tuning that the good graph saved."""
    tunings, checkpoints, folders = (base / "models" / name for name in ("live", "checkpoints", "diffusers"))
    good = tunings / "good.safetensors"
    tensors, metadata = load_file(good), read_metadata(good)
    first = next(name for name in tensors if name.startswith("unet/"))
    for folder in (tunings, checkpoints):
        folder.mkdir(exist_ok=True)
        (folder / "junk.safetensors").write_bytes(bytes(range(256)) * 8)
        (folder / "empty.safetensors").write_bytes(b"")
    save_file({"lora_unet_x.lora_up.weight": torch.ones(4, 4)}, checkpoints / "lora.safetensors")
    (tunings / "cut.safetensors").write_bytes(good.read_bytes()[:-1000])
    save_file(tensors, tunings / "no-metadata.safetensors")
    save_file(tensors, tunings / "odd-metadata.safetensors", {**metadata, "settings": "[", "concepts": "7"})
    save_file({**tensors, first: torch.full_like(tensors[first], torch.nan)}, tunings / "nan.safetensors", metadata)
    save_file({**tensors, first: tensors[first].flatten()[:1]}, tunings / "flat.safetensors", metadata)
    save_file({**tensors, "unet/nowhere": torch.ones(2)}, tunings / "surplus.safetensors", metadata)
    save_file(tensors, tunings / "other-base.safetensors", {**metadata, "base": "0" * 16, "base_name": "other"})
    for name in ("hollow", "pickled"):
        (folders / name / "unet").mkdir(parents=True)
    (folders / "pickled" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    shutil.copytree(ROOT / "demo" / "model", folders / "cut")
    weights = folders / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def read_metadata(path) -> dict:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]


async def good_run(client) -> list[np.ndarray]:
    """The whole good graph, the files that its nodes save too: the pixels of what it makes."""
    await client.json("POST", "/free", json={"unload_models": True, "free_memory": True})  # nothing from the cache
    graph = up_to(
        {name: {"class_type": kind, "inputs": dict(values)} for name, (kind, values) in GOOD.items()}, "composite"
    )
    kind, values = GOOD["save"]
    graph |= {
        "save": {"class_type": kind, "inputs": values},
        "seen": {"class_type": "PreviewImage", "inputs": {"images": ["composite", 0]}},
    }
    outcome, events, history = await client.run(graph)
    assert outcome == "success", message(events)
    return [pixels(await client.fetch(picture)) for picture in history["outputs"]["seen"]["images"]]


def test_every_bad_input_gets_a_clear_answer(talk, server, tmp_path):
    """Each row of the table, one after another through one server, which lives, and in the end makes the same pixels
    and files as before. A page in Chinese has every answer in Chinese.
    """
    heard: set[str] = set()

    def files():
        return {
            str(path.relative_to(server.base)): path.read_bytes()
            for folder in ("models", "output", "user")
            for path in (server.base / folder).rglob("*")
            if path.is_file()
        }

    async def go(client):
        before = await good_run(client)
        make_bad_files(server.base)
        kept, wrong = files(), {}
        for row in ROWS:
            if (fault := await verdict(client, heard, *row)) is not None:
                wrong[str(row)] = fault
        assert not wrong, "\n".join(f"{row}\n    {fault}" for row, fault in wrong.items())
        assert files() == kept
        return before, await good_run(client)

    before, after = talk(go)
    assert np.array_equal(before, after) and len(before) == 4
    assert len(heard) > 100 and not_said(sorted(heard), tmp_path) == {}


def test_an_empty_clip_and_nothing_half_written(talk, workflow, server):
    """At every stage that reads its frames; afterwards the folders that nodes write to hold what they held before."""

    def files():
        return sorted(
            str(path.relative_to(server.base))
            for folder in ("models", "output", "user")
            for path in (server.base / folder).rglob("*")
            if path.is_file()
        )

    before = files()
    for node in ("6", "7", "9"):
        graph = with_nodes(
            workflow(**{"Tune Video.seed": 18}),
            {(node, "images"): ["e", 0]},
            e=("TestEmptyClip", {}),
            s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "never"}),
        )
        if node != "6":
            del graph["s"]
        outcome, events, _ = talk(lambda c, graph=graph: c.run(graph))
        assert outcome == "error" and "images: " in message(events), (node, message(events))
        assert events[-1][2]["node_id"] == node
    assert files() == before
