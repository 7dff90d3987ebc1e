"""Graphs that were damaged in any way: ComfyUI refuses them, or they run, or a node of ours says in words what is
wrong.
"""

import asyncio
import json
import os
import time

import pytest
from good_graph import GOOD
from graphs import up_to
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.host
OURS = [name for name, (kind, _) in GOOD.items() if kind.startswith("LIVE_")]
LINKS = [[name, output] for name in GOOD for output in range(3)]
EXAMPLES = int(os.environ.get("LIVE_EXAMPLES", 100))
SECONDS = 5  # a damaged graph may ask for thousands of steps, which is its good right

numbers = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400]), st.floats(width=64), st.floats(-2, 2)
)
texts = st.one_of(
    st.text(st.characters(codec=None), max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            ",",
            "a red ball",
            "<thing*>",
            "(ball:1.2)",
            "ball=",
            "ball: 0-",
            "../x",
            "C:\\x",
            "\x00",
            "\ud800",
            "live",
            "custom",
            "none",
            "nan",
        ]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)


@st.composite
def damaged(draw) -> dict:
    """The good graph up to one of our nodes, after one to three changes to it and to what stands before it."""
    graph = {name: {"class_type": kind, "inputs": dict(inputs)} for name, (kind, inputs) in GOOD.items()}
    last = draw(st.sampled_from(OURS))
    for number in range(draw(st.integers(1, 3))):
        name = last if number == 0 else draw(st.sampled_from(OURS))
        inputs = graph[name]["inputs"]
        field = draw(st.sampled_from([*inputs, "surprise"]))
        change = draw(st.sampled_from(["value", "value", "linked", "linked", "gone", "link", "kind"]))
        if change == "value":
            inputs[field] = draw(values)
        elif change == "linked":
            graph[f"odd {number}"] = {"class_type": "TestValue", "inputs": {"json": json.dumps(draw(values))}}
            inputs[field] = [f"odd {number}", 0]
        elif change == "gone":
            inputs.pop(field, None)
        elif change == "link":
            inputs[field] = list(draw(st.sampled_from(LINKS)))
        else:
            graph[name]["class_type"] = GOOD[draw(st.sampled_from(OURS))][0]
    return up_to(graph, last)


def links_to_nothing(graph: dict, info: dict) -> bool:
    """Whether a link names an output that is not there. On an input that the node has not ComfyUI looks at no link, and
    its queue dies of such a one: ours to find nothing in."""
    links = [
        value
        for node in graph.values()
        for value in node["inputs"].values()
        if isinstance(value, list) and len(value) == 2 and value[0] in tuple(graph)
    ]
    return any(
        not isinstance(output, int) or output >= len(info[graph[name]["class_type"]]["output"])
        for name, output in links
    )


async def fault_of(client, graph: dict) -> str | None:
    """What is wrong with how ComfyUI and the pack take a graph; None if nothing is."""
    async with client.http.post(f"{client.url}/prompt", json={"prompt": graph, "client_id": client.id}) as refused:
        answer = await refused.text()
        if refused.status != 200:  # by ComfyUI, whatever it made of it
            return answer if "live-video-editing/" in answer else None  # a traceback through our files
    identity, asked_to_stop = json.loads(answer)["prompt_id"], False
    end = time.monotonic() + SECONDS
    while identity not in (history := (await client.json("GET", f"/history/{identity}"))[1]):
        assert time.monotonic() < end + 60, f"the server no longer answers: {graph}"
        if time.monotonic() > end and not asked_to_stop:
            asked_to_stop = True
            await client.json("POST", "/interrupt")
        await asyncio.sleep(0.02)
    errors = [data for kind, data in history[identity]["status"]["messages"] if kind == "execution_error"]
    # Links in a circle ComfyUI refuses itself, in these words, and lays it to one of the nodes before any runs.
    in_words = "LiveError", "graph.DependencyCycleError"
    ours = [data for data in errors if data["node_type"].startswith("LIVE_") and data["exception_type"] not in in_words]
    return (
        f"{ours[0]['exception_type']}: {ours[0]['exception_message']}{''.join(ours[0]['traceback'][-3:])}"
        if ours
        else None
    )


def test_a_damaged_graph_is_refused_in_words_or_runs(talk):
    _, info = talk(lambda client: client.json("GET", "/object_info"))

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    @given(damaged())
    def each(graph):
        assume(not links_to_nothing(graph, info))
        fault = talk(lambda client: fault_of(client, graph))
        assert fault is None, f"{fault}\n{json.dumps(graph)}"

    each()
