"""Graphs saved by the first release run for ever: its workflows and its nodes' inputs are frozen in graphs_0_1."""

import json

import numpy as np
import pytest
from graphs import FIRST_RELEASE, frames_of, load, message, small, up_to

pytestmark = pytest.mark.host
CHOICE = "COMFY_DYNAMICCOMBO_V3"
VALUES = {"INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", CHOICE}  # what the page has a widget for
LISTED = {"LIVE_LoadModel.model", "LIVE_LoadTuning.tuning", "LIVE_Measure.clip_folder"}  # what lies on the machine
WORKFLOWS = {path.stem: load(path) for path in sorted((FIRST_RELEASE / "api").glob("*.json"))}
NODES = load(FIRST_RELEASE / "nodes.json")


def inputs_of(node: str, groups: dict, prefix: str = "") -> dict:
    """Every input of a node's schema, those of its choices as "choice=option.input": (required, type, options)."""
    found = {}
    for group in ("required", "optional"):
        for name, (kind, *rest) in groups.get(group, {}).items():
            options = rest[0] if rest else {}
            found[f"{node}.{prefix}{name}"] = group == "required", kind, options
            if kind == CHOICE:
                for option in options["options"]:
                    found |= inputs_of(node, option["inputs"], f"{prefix}{name}={option['key']}.")
    return found


def choices(options: dict) -> list:
    return [option["key"] if isinstance(option, dict) else option for option in options.get("options", [])]


def test_what_the_first_release_took_is_taken_still(talk):
    _, info = talk(lambda c: c.json("GET", "/object_info"))
    for node, was in NODES.items():
        assert info[node]["output"][: len(was["output"])] == was["output"], node
        now = inputs_of(node, info[node]["input"])
        before = inputs_of(node, was["input"])
        for name, (required, kind, options) in before.items():
            assert name in now, f"{name} is gone; keep it, and refuse or note what it can no longer do"
            assert now[name][1] == kind and (required or not now[name][0]), name
            assert name in LISTED or set(choices(options)) <= set(choices(now[name][2])), name
            assert now[name][2].get("min", 0) <= options.get("min", 0) and now[name][2].get("max", 0) >= options.get(
                "max", 0
            ), name
        for name in now.keys() - before.keys():
            required, kind, options = now[name]
            added = name.rpartition(".")[0]
            if "=" in added and not any(other.startswith(f"{added}.") for other in before):
                continue  # of an option that is itself new
            assert not required, (
                f"{name} is new: make it optional, with a default under which older graphs do what they did"
            )
            assert kind not in VALUES or options.get("since") and "default" in options, (
                f"{name} is new: declare it with **LATER and a default"
            )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_of_the_first_release_runs(talk, name):
    outcome, events, history = talk(lambda c: c.run(small(WORKFLOWS[name])))
    assert outcome == "success", message(events)
    assert history["outputs"]["11"]["images"]


def without(graph: dict, node: str, fields) -> dict:
    """`node` of a graph, and what it stands on, without `fields`."""
    graph = up_to(graph, node)
    for field in fields:
        del graph[node]["inputs"][field]
    return graph


def test_a_graph_that_lacks_inputs_runs_or_says_which(talk):
    """Every node of every workflow without all it may lack at once, which is what later releases make of a saved graph;
    and without each value that it must have."""
    _, info = talk(lambda c: c.json("GET", "/object_info"))
    without_optional, without_one = {}, {}
    for workflow in map(small, WORKFLOWS.values()):
        for i, node in workflow.items():
            if (kind := node["class_type"]) not in NODES:
                continue
            known = inputs_of(kind, info[kind]["input"])
            values = {field: value for field, value in node["inputs"].items() if not isinstance(value, list)}
            chosen = {
                field: f"{field}={value}"
                for field, value in values.items()
                if known.get(f"{kind}.{field}", ("", ""))[1] == CHOICE
            }
            required = {
                field
                for field in values
                if known[
                    ".".join([kind, *(chosen.get(part, part) for part in field.split(".")[:-1]), field.split(".")[-1]])
                ][0]
            }
            what = kind, *chosen.values()
            without_optional[what] = without(workflow, i, values.keys() - required)
            without_one |= {(*what, field): without(workflow, i, [field]) for field in required}
    assert len(without_optional) >= 18 and len(without_one) >= 60

    async def each(client):
        for what, graph in without_optional.items():
            outcome, events, _ = await client.run(graph)
            assert outcome == "success", (what, message(events))
        for (*what, field), graph in without_one.items():
            try:
                outcome, events, _ = await client.run(graph)
            except ValueError as refusal:
                assert str(refusal).endswith(f"Required input is missing: {field.split('.')[-1]}"), (
                    what,
                    field,
                    str(refusal),
                )
            else:
                assert outcome == "error" and message(events).startswith(f"{field}: None; choose "), (
                    what,
                    field,
                    message(events),
                )

    talk(each)


def test_without_image_guidance_as_before_there_was_one(talk):
    """The setting that first broke saved graphs: without it, the same pixels as where it is 0."""
    graph = small(WORKFLOWS["live_image_driven_edit"])
    lacking = json.loads(json.dumps(graph))
    graph["8"]["inputs"]["method.image_guidance_scale"] = 0
    del lacking["8"]["inputs"]["method.image_guidance_scale"]

    async def both(client):
        made = []
        for g in (graph, lacking):
            outcome, events, history = await client.run(g)
            assert outcome == "success", message(events)
            made.append(frames_of(await client.fetch(history["outputs"]["11"]["images"][0])))
        return made

    first, second = talk(both)
    assert np.array_equal(first, second)


def test_a_renamed_node(talk):
    """Through the API, also where the client sends no titles; the table is ComfyUI's too, for its page."""
    graph = small(WORKFLOWS["live_image_driven_edit"])
    graph["7"]["class_type"] = "LIVE_InvertByDDIM"
    for node in graph.values():
        node.pop("_meta", None)

    async def go(client):
        return await client.json("GET", "/node_replacements"), await client.run(graph)

    (_, table), (outcome, events, _) = talk(go)
    assert outcome == "success", message(events)
    assert table["LIVE_InvertByDDIM"][0]["new_node_id"] == "LIVE_Invert"
