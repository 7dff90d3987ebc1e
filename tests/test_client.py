"""The headless client, scripts/headless.py, as a script calls it: what it saves, what it says, and its exit codes."""

import asyncio
import http.server
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import aiohttp
import pytest
from aiohttp import web
from conftest import ROOT
from graphs import FEW, WORKFLOW

PHOTO = str(ROOT / "demo" / "cases" / "box-to-heart" / "photo.png")

pytestmark = pytest.mark.host


def command(*arguments) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / "headless.py"), "run", *map(str, arguments)]


def client(*arguments, server=None):
    """The client's run to its end; without `server` it looks for one where none is."""
    there = [] if server is None else ["--server", server.url, "--quiet"]
    return subprocess.run(command(*arguments, *there), capture_output=True, text=True)


def wait_for_jobs(server, count: int, alive=lambda: True) -> None:
    """Until the server has `count` jobs, running and waiting."""
    deadline = time.monotonic() + 120  # a tuning of 5,000 steps takes longer anywhere
    while json.load(urllib.request.urlopen(f"{server.url}/prompt"))["exec_info"]["queue_remaining"] != count:
        assert time.monotonic() < deadline and alive()
        time.sleep(0.1)


def test_with_the_user_s_own_files(server, tmp_path):
    case = ROOT / "demo" / "cases" / "box-to-heart"
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    done = client(
        WORKFLOW,
        "--clip",
        case / "clip.mp4",
        "--photo",
        case / "photo.png",
        "--prompt",
        "a green box moving on the snow",
        "--edit-prompt",
        "a <thing*> moving on the snow",
        "--seed",
        5,
        "--out",
        tmp_path,
        *sets,
        server=server,
    )
    assert done.returncode == 0, done.stderr
    assert [p.suffix for p in tmp_path.iterdir()] == [".mp4"] and str(next(tmp_path.iterdir())) in done.stdout


def test_exit_codes(server, tmp_path):
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    failed = client(
        WORKFLOW, *sets, "--edit-prompt", "a red ball moving on the meadow", "--out", tmp_path, server=server
    )
    assert failed.returncode == 1 and "does not say where the thing" in failed.stderr and not list(tmp_path.iterdir())
    wrong = client(WORKFLOW, "--set", "Tune Video.no_such=1", server=server)
    assert wrong.returncode == 2 and "no input 'no_such'" in wrong.stderr
    refused = client(WORKFLOW, "--set", "Invert Video (DDIM).steps=0", server=server)
    assert refused.returncode == 2 and "steps" in refused.stderr
    late = client(WORKFLOW, "--set", "Tune Video.clip_steps=5000", "--timeout", 3, server=server)
    assert late.returncode == 4 and "not done within 3 s" in late.stderr
    wait_for_jobs(server, 0)  # the job that was given up does not hold up the next


@pytest.mark.parametrize(
    "arguments,code,says",
    [
        (["--server", "http://127.0.0.1:9"], 3, "no ComfyUI answers at http://127.0.0.1:9"),
        (["--server", "127.0.0.1:8188"], 2, "--server: '127.0.0.1:8188'; write it with http://"),
        (["--photo", PHOTO, "--photo", PHOTO], 2, "--photo: given 2 times, and this workflow takes 1"),
    ],
    ids=["nobody", "no scheme", "two photos"],
)
def test_before_it_is_connected(arguments, code, says):
    done = client(WORKFLOW, *arguments)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


def test_names_what_is_wrong(server, tmp_path):
    (tmp_path / "broken.json").write_text("{")
    broken = client(tmp_path / "broken.json")
    assert broken.returncode == 2 and "broken.json: not a JSON file" in broken.stderr
    untuned = client(WORKFLOW.with_name("fatezero_style.json"), "--seed", 1, server=server)
    assert untuned.returncode == 2 and "--seed: 'Tune Video' names 0 nodes" in untuned.stderr
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stranger = client(WORKFLOW, "--server", f"http://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert stranger.returncode == 3 and "no ComfyUI answers" in stranger.stderr


def test_with_two_photos_and_with_previews(server, tmp_path):
    two, cases = WORKFLOW.with_name("live_two_objects.json"), ROOT / "demo" / "cases"
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    done = client(
        two,
        "--photo",
        cases / "tree-to-fish" / "photo.png",
        "--photo",
        cases / "cone-to-moon" / "photo.png",
        "--out",
        tmp_path / "two",
        *sets,
        server=server,
    )
    assert done.returncode == 0 and [p.suffix for p in (tmp_path / "two").iterdir()] == [".mp4"], done.stderr
    seen = client(
        WORKFLOW.with_name("show_attention.json"),
        "--set=Invert Video (DDIM).steps=4",
        "--out",
        tmp_path / "seen",
        server=server,
    )
    assert seen.returncode == 0 and {p.suffix for p in (tmp_path / "seen").iterdir()} == {".mp4", ".png"}, seen.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_client_that_is_stopped_cancels_its_own_job(server, name):
    """And no other: one that waits behind it comes to run."""
    # A shell's background job, as a test run may be, ignores some.
    stopped, other = (
        subprocess.Popen(
            command(WORKFLOW, f"--set=Tune Video.clip_steps={steps}", "--server", server.url, "--quiet"),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
        )
        for steps in (5000, 4999)
    )
    wait_for_jobs(server, 2, lambda: stopped.poll() is None and other.poll() is None)
    stopped.send_signal(getattr(signal, name))
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 130 and "the job is cancelled" in said and "Traceback" not in said
    wait_for_jobs(server, 1, lambda: other.poll() is None)
    other.send_signal(getattr(signal, name))
    assert other.wait(60) == 130
    wait_for_jobs(server, 0)


@pytest.mark.parametrize("after", [0, 0.01, 0.03, 0.1])
def test_a_job_whose_queueing_is_cut_short_is_cancelled(server, comfy, after):
    """Before the server answers, and in the moment in which the job begins, when ComfyUI forgets what it was asked."""

    async def cut_short():
        graph = json.loads(WORKFLOW.read_text())
        comfy.override(graph, "Tune Video.clip_steps", 5000)
        async with comfy.Client(server.url) as client:
            running = asyncio.ensure_future(client.run(graph))
            await asyncio.sleep(after)  # it has begun
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(cut_short())
    wait_for_jobs(server, 0)


def test_a_job_is_cancelled_until_it_is_gone(comfy):
    """ComfyUI forgets what comes as a job begins, a moment that no test can meet; this server forgets twice."""
    answers, asked = [True, True, False], []

    async def cancel(request):
        asked.append(request.path)
        return web.json_response({"cancelled": answers[len(asked) - 1]})

    async def run():
        app = web.Application()
        app.router.add_post("/api/jobs/{job}/cancel", cancel)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = comfy.Client("http://{}:{}".format(*runner.addresses[0][:2]))
        async with aiohttp.ClientSession() as client.http:
            await client.cancel("mine")
        await runner.cleanup()

    asyncio.run(run())
    assert asked == ["/api/jobs/mine/cancel"] * 3


def test_a_server_that_goes_away(comfy, comfyui):
    with comfy.Server(ROOT) as own:
        running = subprocess.Popen(
            command(WORKFLOW, "--set=Tune Video.clip_steps=5000", "--server", own.url, "--quiet"),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_jobs(own, 1, lambda: running.poll() is None)
        own.process.kill()
        _, said = running.communicate(timeout=60)
    assert running.returncode == 3 and "the server closed the connection" in said
