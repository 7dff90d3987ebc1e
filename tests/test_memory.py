"""Memory that runs out once in any stage: the work goes on with less, ends in the same result, and the next run has all
of it again.
"""

import json

import numpy as np
import pytest
import torch
from graphs import frames_of, freed, message, with_nodes

from live_core.interrupts import heed, heeding
from live_core.memory import (
    NotEnoughMemory,
    copies,
    each_frame,
    halves,
    in_parts,
    is_out_of_memory,
    on_cpu,
    one_run,
    with_less,
)
from live_core.notes import gathered


def ways(fails: int, done: list):
    """Three, of which the first `fails` run out of memory."""

    def way(i):
        def compute():
            done.append(i)
            if i < fails:
                raise torch.OutOfMemoryError("no room")
            return i

        return compute

    return [(f"as way {i}", way(i)) for i in range(3)]


def test_the_next_way_is_taken_for_the_rest_of_the_run_and_no_longer():
    with gathered() as notes:
        with one_run():
            done = []
            with one_run():
                assert with_less("sums", ways(2, done)) == 2 and done == [0, 1, 2]
            assert with_less("sums", ways(0, done)) == 2  # the outer run is not over
            assert with_less("products", ways(0, done)) == 0  # another stage
        assert with_less("sums", ways(0, done)) == 0  # another run, of this one call
    assert notes == ["memory ran out: sums went on as way 1", "memory ran out: sums went on as way 2"]


def test_a_run_ends_whatever_happens():
    with pytest.raises(ZeroDivisionError), one_run():
        with_less("sums", ways(1, []))
        raise ZeroDivisionError
    assert with_less("sums", ways(0, [])) == 0


def test_when_the_last_way_runs_out_the_error_is_of_the_device_s_kind_and_says_what_to_do():
    with pytest.raises(
        torch.OutOfMemoryError, match=r"memory: not enough for sums \(no room\); give fewer frames"
    ) as raised:
        with_less("all", [("", lambda: with_less("sums", ways(3, [])))])
    assert isinstance(raised.value, NotEnoughMemory) and str(raised.value).count("not enough") == 1


def test_another_error_is_no_shortage():
    with pytest.raises(RuntimeError, match="sizes do not match"):
        with_less(
            "sums", [("", lambda: (_ for _ in ()).throw(RuntimeError("sizes do not match"))), ("as way 1", lambda: 1)]
        )


def test_the_cpu_s_own_shortage_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**14)
    assert is_out_of_memory(raised.value) and is_out_of_memory(MemoryError())


def test_parts_are_halved_and_what_is_done_stays_done():
    sizes, frames = [], torch.arange(10)

    def crowded(part):
        sizes.append(len(part))
        if 5 in part and len(part) > 2:
            raise torch.OutOfMemoryError("no room")
        return part * 2

    assert torch.equal(in_parts("doubling", lambda part: crowded(frames[part]), 10, 4), frames * 2)
    assert sizes == [4, 4, 2, 2, 2] and halves(4) == [2, 1]


def test_frames_one_by_one_go_on_by_the_cpu():
    a, b, calls = torch.rand(4, 2), torch.rand(4, 2), []

    def crowded(x, y):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no room")
        return (x + y).sum()

    with gathered() as notes:
        assert torch.equal(
            each_frame("sums", crowded, a, b), torch.stack([(x + y).sum() for x, y in zip(a, b, strict=True)])
        )
    assert notes == ["memory ran out: sums went on on the CPU, to the same result"] and len(calls) == 5


def test_interrupts_are_heard_before_every_part():
    rounds = []

    def stop():
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heeding(stop):
        in_parts("doubling", lambda part: torch.arange(10)[part], 10, 2)
    assert len(rounds) == 3
    heed()  # over


def test_on_the_cpu_weights_stay_as_they_are():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).half().eval()
    x = torch.randn(2, 3).half()
    torch.testing.assert_close(on_cpu(network, x), network.float()(x.float()))
    assert network.half()[0].weight.dtype == torch.float16


def test_copies_are_copies_in_either_way():
    weights = {"w": torch.ones(2, requires_grad=True)}
    with one_run():
        for fails in (0, 1):
            with_less("the copy of the weights", ways(fails, []))
            (copy,), (double,) = copies(weights).values(), copies(weights, torch.float64).values()
            assert (
                not copy.requires_grad
                and copy.data_ptr() != weights["w"].data_ptr()
                and torch.equal(copy, weights["w"])
            )
            assert double.dtype == torch.float64


@pytest.mark.host
@pytest.mark.parametrize(
    "node,network,at,says",
    [
        ("8", "vae.decoder", 2, "the autoencoder (latents to pictures) went on on the CPU, to the same pictures"),
        ("6", "vae.encoder", 2, "the autoencoder (pictures to latents) went on on the CPU, to the same pictures"),
        ("7", "text_encoder", 1, "the text encoder went on on the CPU"),
    ],
    ids=["final decode", "encode", "text encoder"],
)
def test_a_shortage_is_said_on_the_node_and_costs_nothing(talk, workflow, node, network, at, says):
    """Through the queue: the same video as without, the node's own note, and none when it runs again. Edit Video's
    previews decode too, of which a shortage is of no concern: there the second picture is the edit's own. Of the
    encoded pictures the photo may be the first, and the second is the clip's."""
    graph = workflow(**{"Tune Video.seed": 40})
    short = with_nodes(
        json.loads(json.dumps(graph)),
        {(node, "model"): ["short", 0]},
        short=("TestShortOfMemory", {"model": graph[node]["inputs"]["model"], "network": network, "at": at}),
    )

    async def each(client):
        made = []
        for g in (graph, short, graph):
            await freed(client)
            outcome, events, history = await client.run(g)
            assert outcome == "success", message(events)
            said = [text for text in history["outputs"].get(node, {}).get("text", []) if "memory" in text]
            made.append((said, await client.fetch(history["outputs"]["11"]["images"][0])))
        return made

    (said, video), (said_short, video_short), (said_again, video_again) = talk(each)
    assert said == said_again == [] and said_short == [f"memory ran out: {says}"]
    assert np.array_equal(frames_of(video_short), frames_of(video)) and np.array_equal(
        frames_of(video_again), frames_of(video)
    )
