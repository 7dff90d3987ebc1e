"""Runs that are stopped in a real ComfyUI: at once, without a trace, and gone on with."""

import time

import numpy as np
import pytest
from graphs import frames_of

pytestmark = pytest.mark.host


def test_interrupt_during_tuning_then_run_again(talk, workflow):
    async def stop(client):
        asked = {}

        async def on(kind, data):
            if kind == "progress" and data["node"] == "6" and not asked:
                asked["at"] = time.time()
                await client.json("POST", "/interrupt")

        outcome, events, _ = await client.run(
            workflow(**{"Tune Video.clip_steps": 500, "Tune Video.photo_steps": 500, "Tune Video.seed": 12}), on
        )
        again = await client.run(workflow(**{"Tune Video.seed": 12}))
        return outcome, events[-1][0] - asked["at"], again

    outcome, took, again = talk(stop)
    assert outcome == "interrupted" and took < 2
    assert again[0] == "success"


def test_an_interrupted_tuning_goes_on_at_the_next_run(talk, workflow):
    long = {"Tune Video.clip_steps": 500, "Tune Video.photo_steps": 500, "Tune Video.seed": 15}

    async def until(client, step):
        seen = []

        async def on(kind, data):
            if kind == "progress" and data["node"] == "6":
                seen.append(data["value"])
                if data["value"] >= step:
                    await client.json("POST", "/interrupt")

        await client.run(workflow(**long), on)
        return seen

    async def twice(client):
        return await until(client, 4), await until(client, 1)

    first, second = talk(twice)
    assert first[0] == 1 and second[0] > first[-1] >= 4


def test_an_interrupted_tuning_leaves_the_model_as_it_was(talk, workflow, comfy):
    """The same edit before and after an interrupted run of another tuning gives the same video, byte for byte."""

    async def around(client):
        async def edit():
            outcome, _, history = await client.run(workflow(**{"Tune Video.seed": 13}))
            assert outcome == "success"
            return await client.fetch(history["outputs"]["11"]["images"][0])

        before = await edit()

        async def on(kind, data):
            if kind == "progress" and data["node"] == "6" and data["value"] >= 3:
                await client.json("POST", "/interrupt")

        await client.run(
            workflow(
                **{
                    "Tune Video.clip_steps": 500,
                    "Tune Video.photo_steps": 500,
                    "Tune Video.seed": 14,
                    "Tune Video.clip_rate": 0.1,
                }
            ),
            on,
        )
        # Past the cache, the same step.
        graph = workflow(**{"Tune Video.seed": 13, "Edit Video.method.blend_start": 0.21})
        outcome, _, history = await client.run(graph)
        assert outcome == "success"
        return before, await client.fetch(history["outputs"]["11"]["images"][0])

    before, after = talk(around)
    assert frames_of(before).shape == frames_of(after).shape and np.array_equal(frames_of(before), frames_of(after))
