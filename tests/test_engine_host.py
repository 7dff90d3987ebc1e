"""Windows on several machines through ComfyUI: on a Ray cluster, and on several servers by the headless client."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from client_calls import client
from conftest import ROOT
from graphs import message
from PIL import Image
from test_client import command, wait_for_jobs
from test_instruct_host import graph, pictures

pytestmark = pytest.mark.host


@pytest.fixture(scope="module", autouse=True)
def with_instruct_model(server, instruct_folder):
    shutil.copytree(instruct_folder, server.base / "models" / "diffusers" / "instruct", dirs_exist_ok=True)


def on_ray(address: str, workers: int = 0) -> dict:
    made = graph(edit={"engine": ["ray", 0]})
    return {**made, "ray": {"class_type": "LIVE_Ray", "inputs": {"address": address, "workers": workers}}}


def test_on_ray(talk):
    """What ComfyUI calls the pack is no name that workers could import it by."""
    pytest.importorskip("ray", reason="Ray is not installed: no wheel for this Python")
    said = {
        "address: no Ray cluster answers at '127.0.0.1:9'": on_ray("127.0.0.1:9"),
        "address: 'here'; write HOST:PORT": on_ray("here"),
        "workers: 900, but Ray has": on_ray("", 900),
    }

    async def run(client):
        here, there = await pictures(client, graph()), await pictures(client, on_ray(""))
        return here, there, [message((await client.run(prompt))[1]) for prompt in said.values()]

    here, there, answers = talk(run)
    assert np.array_equal(here, there)
    for words, answer in zip(said, answers, strict=True):
        assert words in answer, answer


def test_a_graph_alone_chooses_no_cluster_of_another_machine(talk):
    """It is refused before anything is sent there."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        other.setblocking(False)
        address = f"127.0.0.2:{other.getsockname()[1]}"
        answer = talk(lambda client: client.run(on_ray(address)))
        assert f"address: '{address}' is on another machine" in message(answer[1])
        with pytest.raises(BlockingIOError):
            other.accept()


def test_parts_are_decoded_by_a_node_of_their_own(talk):
    """To the same pictures; and what is no part, or another model's latents, is said."""

    def decoded(latents: list) -> dict:
        made = graph(save={"images": ["decode", 0]})
        made["decode"] = {"class_type": "LIVE_Decode", "inputs": {"model": ["model", 0], "latents": latents}}
        made["other"] = {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
        return made

    said = {
        "latents: shape (1, 16, 8, 8); 'instruct' decodes (frames, 4, height, width)": decoded(["other", 0]),
        "part: '1/9', but the clip has 3 windows; give 3 parts or fewer": graph(edit={"part": "1/9"}),
        "part: 'first'; write i/n": graph(edit={"part": "first"}),
    }

    async def run(client):
        answers = [message((await client.run(prompt))[1]) for prompt in said.values()]
        prompts = [graph(), decoded(["edit", 1]), *(graph(edit={"part": f"{i}/2"}) for i in (1, 2))]
        return answers, [await pictures(client, prompt) for prompt in prompts]

    answers, (whole, again, first, second) = talk(run)
    for words, answer in zip(said, answers, strict=True):
        assert words in answer, answer
    assert np.array_equal(whole, again) and len(first) == 2 and np.array_equal(whole, np.concatenate([first, second]))


# ------------------------------------------------------------------------------------------------- several servers
def frames_in(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))])


def test_two_servers_give_the_frames_of_one_and_one_that_dies_is_replaced(
    server, comfy, comfyui, instruct_folder, tmp_path
):
    file = tmp_path / "edit.json"
    file.write_text(json.dumps(graph(edit={"steps": 4, "local": ["local", 0]}, mask={"threshold": 0})))
    starting = comfy.Server(ROOT)
    shutil.copytree(instruct_folder, starting.base / "models" / "diffusers" / "instruct")
    with starting as other:
        both = ["--server", server.url, "--server", other.url, "--quiet"]
        for folder, more in (("one", both[:2]), ("two", both[:4])):
            done = client(file, "--out", tmp_path / folder, *more, "--quiet")
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("note: threshold: 0 finds the whole picture") == 1
        assert f"part 2/2 is done by {other.url}" in done.stderr or f"part 1/2 is done by {other.url}" in done.stderr

        file.write_text(json.dumps(graph(edit={"window": 8})))
        few = client(file, "--out", tmp_path / "few", *both)
        assert few.returncode == 1 and "/2', but the clip has 1 window; give 1 part" in few.stderr

        file.write_text(json.dumps(graph(edit={"steps": 6})))
        one = client(file, "--out", tmp_path / "six", *both[:2], "--quiet")
        running = subprocess.Popen(command(file, "--out", tmp_path / "left", *both), stderr=subprocess.PIPE, text=True)
        wait_for_jobs(other, 1, lambda: running.poll() is None)
        other.process.kill()
        _, said = running.communicate(timeout=300)
    assert one.returncode == running.returncode == 0, said
    assert f"{other.url} is lost" in said and "its part goes to another" in said
    assert len(frames_in(tmp_path / "one")) == 5
    assert np.array_equal(frames_in(tmp_path / "one"), frames_in(tmp_path / "two"))
    assert np.array_equal(frames_in(tmp_path / "six"), frames_in(tmp_path / "left"))


def test_what_cannot_be_shared_out(server, tmp_path):
    both = ["--server", server.url, "--server", "http://127.0.0.1:9", "--quiet"]
    other = client(ROOT / "workflows" / "api" / "fatezero_style.json", "--out", tmp_path, *both)
    assert other.returncode == 2 and "one Edit by Instruction, all of it, and this has 0" in other.stderr
    file = tmp_path / "edit.json"
    file.write_text(json.dumps(graph()))
    nobody = client(file, "--out", tmp_path, "--server", "http://127.0.0.1:9", "--server", "http://127.0.0.1:8")
    assert nobody.returncode == 3 and "no server is left for part 1/2, 2/2" in nobody.stderr


def test_sound_and_rate_are_the_workflow_s_own(comfy):
    """What joins the parts is the workflow, but for the edit and what led to it alone."""
    from comfy_parts import graph_of_part, graph_of_whole, shared_node

    workflow = json.loads((ROOT / "workflows" / "api" / "instruct_clip.json").read_text())
    node = shared_node(workflow)
    part, whole = graph_of_part(workflow, node, "1/2"), graph_of_whole(workflow, node, ["a.latent", "b.latent"])
    assert {each["class_type"] for each in part.values()}.isdisjoint({"CreateVideo", "SaveVideo"})
    assert {name: each for name, each in whole.items() if name in workflow and name != node} == {
        name: each for name, each in workflow.items() if name != node
    }
    joined = whole[whole[node]["inputs"]["latents"][0]]["inputs"]
    assert [whole[link[0]]["inputs"]["latent"] for link in joined.values()] == ["a.latent", "b.latent"]
