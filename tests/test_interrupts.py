"""An interrupt is heard wherever there is a loop, not only where a network runs."""

import asyncio
import copy
import time

import pytest

pytestmark = pytest.mark.host
SIDE, FRAMES = 768, 48
CLIP = {
    "c": {
        "class_type": "EmptyImage",
        "inputs": {"width": SIDE, "height": SIDE, "batch_size": FRAMES, "color": 0x808080},
    },
    "m": {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": SIDE, "height": SIDE}},
}
PAIR = {"images": ["c", 0], "edited": ["c", 0], "mask": ["m", 0]}
NODES = {
    "Composite": (
        "LIVE_Composite",
        {**PAIR, "dilation": 512, "blur": 100.0, "edge_radius": 8},
        "PreviewImage",
        "images",
    ),
    "Measure": (
        "LIVE_Measure",
        {**PAIR, "clip_folder": "none", "prompt": "", "source_prompt": ""},
        "PreviewAny",
        "source",
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_it_is_heard_long_before_the_end(talk, name):
    kind, inputs, shown, field = NODES[name]
    graph = {
        **copy.deepcopy(CLIP),
        "n": {"class_type": kind, "inputs": inputs},
        "p": {"class_type": shown, "inputs": {field: ["n", 0]}},
    }
    times = {}

    async def interrupted(client):
        async def stop(event, data):
            if event == "executing" and data.get("node") == "n":
                await asyncio.sleep(0.5)
                times["asked"] = time.monotonic()
                await client.json("POST", "/interrupt")

        outcome, *_ = await client.run(graph, stop)
        times["heard"] = time.monotonic()
        start = time.monotonic()
        graph["c"]["inputs"]["batch_size"] = 4  # how long the whole would have taken, by a part of it
        assert (await client.run(graph))[0] == "success"
        times["whole"] = (time.monotonic() - start) * FRAMES / 4
        return outcome

    assert talk(interrupted) == "interrupted"
    assert times["heard"] - times["asked"] < times["whole"] / 4, times
