"""ComfyUI's own command line: it finds the pack ready for the registry, and runs its workflows of either format.

`python -m venv cli && cli/bin/pip install comfy-cli`, then COMFY_CLI=cli/bin/comfy.
"""

import json
import os
import shutil
import subprocess

import pytest
from conftest import ROOT

COMFY = os.environ.get("COMFY_CLI") or shutil.which("comfy")
pytestmark = pytest.mark.skipif(COMFY is None, reason="no comfy-cli: COMFY_CLI names none")


def comfy(*words: str, folder=ROOT) -> subprocess.CompletedProcess:
    command = [COMFY, "--skip-prompt", "--no-enable-telemetry", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "DO_NOT_TRACK": "1"})


def data_of(done: subprocess.CompletedProcess) -> dict:
    """What the last line, a JSON object, tells."""
    return json.loads(done.stdout.strip().splitlines()[-1])["data"]


def test_the_pack_is_what_the_registry_takes(tmp_path):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    done = comfy("node", "validate", folder=tmp_path)
    assert done.returncode == 0 and "All validation checks passed" in done.stdout + done.stderr, done


@pytest.mark.host
def test_a_workflow_for_scripts_runs(server, tmp_path):
    graph = json.loads((ROOT / "workflows" / "api" / "fatezero_style.json").read_text())
    (steps,) = [node["inputs"] for node in graph.values() if node["class_type"] == "LIVE_Invert"]
    steps["steps"] = 2
    (tmp_path / "few.json").write_text(json.dumps(graph))
    place = ("--host", "127.0.0.1", "--port", str(server.port))
    told = data_of(comfy("run", "--workflow", str(tmp_path / "few.json"), *place, "--wait", "--timeout", "300"))
    assert told["status"] == "completed" and told["outputs_by_node"]["11"][0].count("style_")


@pytest.mark.host
@pytest.mark.parametrize("name", ["live_stable_diffusion", "method_of_your_own"])
def test_a_workflow_of_the_page_is_its_twin_for_scripts(server, name):
    place = ("--host", "127.0.0.1", "--port", str(server.port))
    told = data_of(comfy("run", "--workflow", f"workflows/{name}.json", *place, "--print-prompt"))
    twin = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    assert {n: inputs_of(node) for n, node in told["prompt"].items()} == {n: inputs_of(v) for n, v in twin.items()}


def inputs_of(node: dict) -> dict:
    """Without what the page alone shows."""
    return {name: value for name, value in node["inputs"].items() if name != "video-preview"}
