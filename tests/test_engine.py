"""Who runs the windows of a clip: this process, or workers on Ray, to the same bytes."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import psutil
import pytest
import torch
from conftest import ROOT, absent

from live_core import LiveError
from live_core.engine import Here
from live_core.frames import GroupPlan
from live_core.instruct import instruct
from live_core.instruct_settings import GATHER_AND_SWAP, Instruction
from live_core.instruct_stream import InstructedWindows, edit_task
from live_core.interrupts import heeding
from live_core.local import Local
from live_core.notes import gathered
from live_core.on_ray import AHEAD, OnRay, _how_many
from live_core.ray_cluster import connected
from live_core.shares import Share, share
from live_core.streaming import Task
from live_core.workers import receive, send


@pytest.fixture(scope="module")
def nine(instruct_model):
    """(9, 4, 8, 8)."""
    return torch.randn(9, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def edited(model, clip, **options) -> torch.Tensor:
    return instruct(model, clip, Instruction("make the ball blue", steps=2, seed=3), GATHER_AND_SWAP, **options)


def silent(done: float, latents: torch.Tensor) -> None:
    pass


# ------------------------------------------------------------------------------------------------------- without Ray
def test_parts_are_the_whole_in_whole_windows(instruct_model, nine):
    """Key frames are the clip's, whatever part is edited."""
    whole = edited(instruct_model, nine, window=2)
    for n in (2, 3, 5):
        parts = [edited(instruct_model, nine, window=2, part=f"{i + 1}/{n}") for i in range(n)]
        assert torch.equal(torch.cat(parts), whole)
    for part, says in {
        "2/1": "part: '2/1'; write i/n",
        "half": "part: 'half'; write i/n",
        "1/6": "part: '1/6', but the clip has 5 windows; give 5 parts or fewer",
    }.items():
        with pytest.raises(LiveError, match=says):
            edited(instruct_model, nine, window=2, part=part)


def test_windows_are_drawn_as_they_are_begun():
    drawn = []

    def tasks():
        for i in range(5):
            drawn.append(i)
            yield i

    given = Here().map(lambda model, task, callback: torch.tensor(task), None, tasks(), silent)
    assert [next(given).item(), next(given).item()] == drawn == [0, 1]


def test_a_model_arrives_as_it_was_sent(instruct_model, demo_model):
    """In its number formats too, and what it does is the same."""
    for model in (instruct_model, demo_model):
        there = receive(pickle.loads(pickle.dumps(send(model))), "cpu")
        ours, theirs = model.networks.state_dict(), there.networks.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)
        assert torch.equal(model.encode_text("a red ball"), there.encode_text("a red ball"))
        assert there.fingerprint == model.fingerprint and there.base is model.base
        assert not there.unet.unet.training


def test_an_engine_that_cannot_be(instruct_model, nine, monkeypatch):
    for address in ("http://10.0.0.1:6379", "10.0.0.1", "ray://10.0.0.1:10001", "--port"):
        with pytest.raises(LiveError, match="address: .*write HOST:PORT"):
            OnRay(address)
    with pytest.raises(LiveError, match="^workers: -1"):
        OnRay(workers=-1)
    for resources, workers, says in (
        ({"CPU": 4.0}, 5, "workers: 5, but Ray has 4 cores, and a worker has 1 threads; give 4 or fewer$"),
        ({"CPU": 4.0, "GPU": 2.0}, 3, "workers: 3, but Ray has 2 GPUs; give 2 or fewer$"),
        ({}, 0, "workers: 1, but Ray has 0 cores"),
    ):
        with pytest.raises(LiveError, match=says):
            _how_many(resources, workers, 1)
    with pytest.raises(LiveError, match="fewer threads"):
        _how_many({"CPU": 4.0}, 2, 4)
    assert _how_many({"CPU": 4.0}, 0, 2) == (2, False) and _how_many({"CPU": 4.0, "GPU": 3.0}, 0, 2) == (3, True)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LiveError, match="engine: Ray is not installed; run `python -m pip install ray`"):
        edited(instruct_model, nine, engine=OnRay())


def test_a_cluster_that_is_not_there(instruct_model, nine):
    """Nobody at the port, or somebody who is no Ray; within seconds, and nothing is left of Ray."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: no wheel for this Python")
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        threading.Thread(target=_hang_up, args=(stranger,), daemon=True).start()
        for address in ("127.0.0.1:9", taken):
            begun = time.monotonic()
            with pytest.raises(LiveError, match=f"address: no Ray cluster answers at '{address}'.*ray start --head"):
                edited(instruct_model, nine, engine=OnRay(address))
            assert time.monotonic() - begun < 30 and not ray.is_initialized()


def _hang_up(listener) -> None:
    while True:
        listener.accept()[0].close()


# ------------------------------------------------------------------------------------------------------------ on Ray
@pytest.fixture(scope="module")
def ray():
    """Ray, connected to a cluster that was started here."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: no wheel for this Python")
    if os.cpu_count() < 2:
        absent("a second core, which two workers need")
    with connected("", 0):
        yield ray


def test_two_workers_give_the_bytes_of_one_process(ray, instruct_model, nine):
    mask = torch.zeros(9, 64, 64)
    mask[:, 16:48, 16:48] = 1
    told = []
    options = {"window": 2, "local": Local(mask)}
    here = edited(instruct_model, nine, **options)
    there = edited(
        instruct_model,
        nine,
        engine=OnRay(workers=2),
        callback=lambda step, total, latents: told.append((step, total, len(latents))),
        **options,
    )
    assert torch.equal(here, there)
    assert [step for step, _, _ in told] == [2, 4, 6, 8, 10] and {total for _, total, _ in told} == {10}
    assert sorted(count for _, _, count in told) == [1, 2, 2, 2, 2]


def test_a_killed_worker_costs_its_window(ray, instruct_model, tmp_path):
    """It dies within the third window of a clip that comes from a file, between two steps; notes, frames and their
    order are as if it had not."""
    once = str(tmp_path / "died")
    asked = InstructedWindows(Instruction("make it night", 2), replace(GATHER_AND_SWAP, frame_plan=GroupPlan(size=2)))
    work = partial(edit_task, asked=asked)
    clip = torch.rand(8, 64, 64, 3, generator=torch.Generator().manual_seed(0))

    def dies(model, task, callback):
        import importlib

        importlib.import_module("live_core.notes").note("frames: some were edited")

        def step(*_):
            if task.number == 2 and not os.path.exists(once):
                open(once, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)

        return work(model, task, step)

    def tasks():
        for i, window in enumerate(asked.windows(instruct_model, 8, 2)):
            yield Task(window, i, 4, clip[window.positions])

    with gathered() as notes:
        there = list(OnRay(workers=2).map(dies, instruct_model, tasks(), silent))
    assert os.path.exists(once) and notes.count("frames: some were edited") == 1
    here = list(Here().map(work, instruct_model, tasks(), silent))
    assert len(there) == 4 and all(map(torch.equal, there, here)) and there[0].shape == (2, 64, 64, 3)


def test_workers_save_memory_by_their_share_of_it(ray, instruct_model, nine, monkeypatch):
    """By what their machine has, and the same in all; where that is too little for so many, they are refused."""
    seen, little = [], Share(4e6, 2, 1e6)  # bytes; a window of 4 frames and 4 riders takes 8.1e6, or 1.6e6 at the least

    def known(places, coming, model):
        seen.append(share(places, coming, model))
        return little

    monkeypatch.setattr("live_core.on_ray.share", known)
    with gathered() as notes:
        there = edited(instruct_model, nine, window=4, engine=OnRay(workers=2))
    total, (each,) = psutil.virtual_memory().total, seen
    assert each.workers == 2 and 0 < each.free < total / 2
    assert each.model == sum(tensor.nbytes for tensor in instruct_model.networks.state_dict().values())
    assert any("each of 2 workers has" in text and "so it goes on one stream after another" in text for text in notes)
    torch.testing.assert_close(there, edited(instruct_model, nine, window=4), rtol=1e-3, atol=1e-4)
    little = Share(1e6, 2, 2e6)
    with pytest.raises(LiveError, match="^workers: 2 share a machine's memory.* give 1, or give a smaller window"):
        edited(instruct_model, nine, window=4, engine=OnRay(workers=2))


def test_what_goes_wrong_within_a_worker_is_said_and_what_stops_the_run_stops_the_workers(ray, instruct_model):
    drawn = []

    def tasks():
        for i in range(1000):
            drawn.append(i)
            yield i

    def fails(model, task, callback):
        import importlib
        import time

        time.sleep(0.02)
        if task == 7:
            raise importlib.import_module("live_core").LiveError("window: the eighth is refused")
        return importlib.import_module("torch").tensor([task, os.getpid()])

    seen = []
    with pytest.raises(LiveError, match="^window: the eighth is refused$"):
        for result in OnRay(workers=2).map(fails, instruct_model, tasks(), silent):
            seen.append(result)
            assert len(drawn) <= len(seen) + AHEAD * 2
    assert [int(result[0]) for result in seen] == list(range(len(seen))) and len(seen) <= 7
    pids = {int(result[1]) for result in seen}
    _wait_until_gone(pids)

    def stop():
        if len(seen) > 3:
            raise InterruptedError

    seen, begun = [], time.monotonic()

    def sleeps(model, task, callback):
        import importlib
        import time

        time.sleep(0 if task < 4 else 600)
        return importlib.import_module("torch").tensor([task, os.getpid()])

    with heeding(stop), pytest.raises(InterruptedError):
        seen.extend(OnRay(workers=2).map(sleeps, instruct_model, tasks(), lambda done, result: seen.append(result)))
    assert time.monotonic() - begun < 300
    _wait_until_gone({int(result[1]) for result in seen})


def _wait_until_gone(pids: set) -> None:
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}/stat") and _state(pid) != "Z" for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_cluster_started_here_listens_to_this_machine_alone(ray):
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    names = {process.name() for process in mine}
    assert {"raylet", "gcs_server"} <= names
    listening = {
        connection.laddr.ip
        for process in mine
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening and all(ip.removeprefix("::ffff:").startswith("127.") for ip in listening)


def test_a_cluster_is_joined_by_its_address(ray):
    """By another process, which leaves it as it was; one without its token is told so."""
    address = ray.get_runtime_context().gcs_address
    for mode, says in (("token", "joined"), ("disabled", "no Ray cluster answers .*Authentication token")):
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "ray_child.py"), address],
            env={**os.environ, "RAY_AUTH_MODE": mode},
            capture_output=True,
            text=True,
        )
        assert re.search(says, done.stdout), done.stdout + done.stderr
    assert ray.cluster_resources()["CPU"] >= 2


def test_another_cluster_than_the_one_this_process_is_on(ray, instruct_model, nine):
    with pytest.raises(LiveError, match="address: '127.0.0.1:1', but this ComfyUI is on the cluster at 127.0.0.1"):
        edited(instruct_model, nine, engine=OnRay("127.0.0.1:1"))
