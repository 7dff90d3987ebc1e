"""What ComfyUI's own nodes put on a MODEL or CLIP beside its weights is refused or named, never dropped in silence."""

import json
import subprocess

import pytest
from conftest import ROOT
from graphs import message

pytestmark = pytest.mark.host


def test_patches_that_are_not_weights(comfyui, tmp_path):
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "patches_child.py"), str(ROOT), str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    for name in ("plain", "LoRA", "sampling"):  # worked into the weights, or read
        assert report.pop(name) == [], name
    for name, socket in (("bypassed LoRA", "model"), ("bypassed LoRA of the text", "clip")):
        (refused,) = report.pop(name)
        assert (
            refused.startswith(f"error: {socket}: bypass_lora is computed beside the weights")
            and "Load LoRA (Bypass)" in refused
        )
    makers = {
        "FreeU": "FreeU_V2",
        "guidance": "RescaleCFG",
        "perturbed attention": "PerturbedAttentionGuidance",
        "merged tokens": "TomePatchModel",
        "hypernetwork": "load_hypernetwork_patch",
        "hooks": "Set CLIP Hooks",
        "compiled": "compile",
    }
    assert report.keys() == makers.keys()
    for name, maker in makers.items():
        (said,) = report[name]
        assert maker in said and "LIVE edits without it" in said, (name, said)


def test_a_model_in_a_nested_folder_is_listed_and_loaded(server, talk):
    nested = server.base / "models" / "diffusers" / "some one" / "v1" / "mine"
    nested.parent.mkdir(parents=True)
    nested.symlink_to(ROOT / "demo" / "model", target_is_directory=True)
    graph = {
        "1": {"class_type": "LIVE_LoadModel", "inputs": {"model": "some one/v1/mine", "precision": "auto"}},
        "2": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        "3": {"class_type": "LIVE_SaveTuning", "inputs": {"model": ["1", 0], "name": "nothing"}},
    }
    _, info = talk(lambda c: c.json("GET", "/object_info/LIVE_LoadModel"))
    listed = info["LIVE_LoadModel"]["input"]["required"]["model"]
    assert "some one/v1/mine" in json.dumps(listed)
    _, events, _ = talk(lambda c: c.run(graph))
    assert "it has no tuning to save" in message(events)  # so it was loaded
