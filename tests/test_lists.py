"""Lists are lists: a string that comes by a link, which ComfyUI compares with no list, leads to nothing outside."""

import json
import shutil
import subprocess

import pytest
from conftest import ROOT
from graphs import message, with_nodes

pytestmark = pytest.mark.host
NAMES = [
    "../outside",
    "../../models/diffusers/../outside",
    "/etc/passwd",
    "..",
    ".",
    "",
    "/",
    "a/b",
    "a\\b",
    "~",
    "tuning.safetensors/..",
    "\x00",
    "model\n",
    "none ",
    "../live/tuning.safetensors",
]


@pytest.mark.parametrize(
    "node,inputs,field,instead",
    [
        ("LIVE_LoadModel", {"precision": "auto"}, "model", "demo model (ships with LIVE)"),
        ("LIVE_DemoClip", {}, "case", "ball-to-star"),
        ("LIVE_LoadTuning", {"model": ["1", 0]}, "tuning", "mine.safetensors"),
        (
            "LIVE_Measure",
            {"images": ["2", 0], "edited": ["2", 0], "prompt": "", "source_prompt": ""},
            "clip_folder",
            "none",
        ),
    ],
)
def test_a_linked_name_that_is_in_no_list_is_refused_with_what_is(
    talk, workflow, server, clip_folder, node, inputs, field, instead
):
    """Though the place that it leads to holds just what is wanted there."""
    models = server.base / "models"
    (models / "live").mkdir(exist_ok=True)
    (models / "live" / "mine.safetensors").touch()
    for place in (models / "outside", models / "diffusers" / "a" / "b"):
        if not place.exists():
            shutil.copytree(ROOT / "demo" / "model", place)
            shutil.copytree(clip_folder, place, dirs_exist_ok=True)
    shutil.rmtree(models / "diffusers" / "a")  # gone since it was listed
    base = {key: value for key, value in workflow().items() if key in ("1", "2")}

    async def each(client):
        answers = []
        for name in NAMES:
            graph = with_nodes(
                json.loads(json.dumps(base)),
                {},
                q=("PrimitiveString", {"value": name}),
                p=("ComfySwitchNode", {"switch": True, "on_true": ["q", 0], "on_false": ["q", 0]}),
                n=(node, {**inputs, field: ["p", 0]}),
                s=("PreviewAny", {"source": ["n", 0]}),
            )
            answers.append(await client.run(graph))
        return answers

    for name, (outcome, events, _) in zip(NAMES, talk(each), strict=True):
        assert (
            outcome == "error"
            and message(events).startswith(f"{field}: {name!r}; choose ")
            and instead in message(events)
        ), (name, message(events))
    graph = with_nodes(
        base,
        {},
        q=("PrimitiveString", {"value": instead}),
        p=("ComfySwitchNode", {"switch": True, "on_true": ["q", 0], "on_false": ["q", 0]}),
        n=(node, {**inputs, field: ["p", 0]}),
        s=("PreviewAny", {"source": ["n", 0]}),
    )
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert (
        outcome == "success" or node == "LIVE_LoadTuning" and "'mine.safetensors' cannot be read" in message(events)
    ), message(events)


def test_no_name_leads_out_of_its_folder(comfyui, tmp_path):
    """Even past the lists: what a node would be given whose list a folder was in a moment ago."""
    folder, python = comfyui
    program = f"""
import importlib.util, json, sys
sys.argv = ["x", "--cpu", "--base-directory", {str(tmp_path)!r}]
sys.path.insert(0, {str(folder)!r})
import comfy.options; comfy.options.enable_args_parsing()
init = {str(ROOT / "__init__.py")!r}
spec = importlib.util.spec_from_file_location("live_pack", init, submodule_search_locations=[{str(ROOT)!r}])
sys.modules["live_pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["live_pack"])
from live_pack.nodes import host
from live_pack.live_core import LiveError
host.register_folders()
said = []
for name in {NAMES!r}:
    for look in (
        lambda: host.load_model(name, None),
        lambda: host.clip_folder(name),
        lambda: host.tuning_path(name),
        lambda: host.load_model(name + ".safetensors", None),
    ):
        try:
            said.append(f"found {{look()}}")
        except LiveError as error:
            said.append(str(error))
print(json.dumps(said))
"""
    for name in ("outside/unet", "live", "diffusers", "clip_vision", "checkpoints"):
        (tmp_path / "models" / name).mkdir(parents=True)
    done = subprocess.run([python, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) == 4 * len(NAMES)
    for text in said:
        assert " is not in models/" in text, text
