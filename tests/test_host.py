"""The pack in a real ComfyUI server, through the real queue. The shipped workflows run on the page: test_browser.py,
test_front_doors.py."""

import asyncio
import io
import json
import re
import subprocess

import numpy as np
import pytest
from conftest import ROOT, SHARED
from graphs import frames_of, message, with_nodes
from PIL import Image
from safetensors.torch import load_file

from demo.cases import write_video
from demo.world import make_clip

pytestmark = pytest.mark.host
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3")
FILMED = SHARED / "clips" / "wolf.mp4"


def test_loads_without_complaint(server):
    """How fast is held in test_house.py."""
    # What follows is of the workflows run so far, failing ones too.
    started, ready, _ = server.log.read_text().partition("Starting server")
    assert ready and "IMPORT FAILED" not in started and "Traceback" not in started
    # The list of import times, and no warning beside it.
    assert sum("live-video-editing" in line for line in started.splitlines()) == 1


def test_schemas_are_complete(talk):
    status, info = talk(lambda c: c.json("GET", "/object_info"))
    ours = {name: node for name, node in info.items() if name.startswith("LIVE_")}
    assert len(ours) == 31
    for name, node in ours.items():
        assert node["description"], name
        assert (ROOT / "web" / "docs" / f"{name}.md").is_file(), f"{name} has no help page"
        for group in (node["input"].get("required", {}), node["input"].get("optional", {})):
            for field, spec in group.items():
                assert spec[1].get("tooltip"), f"{name}.{field} has no tooltip"


def test_every_node_is_in_a_workflow(talk):
    _, info = talk(lambda c: c.json("GET", "/object_info"))
    shipped = [json.loads(path.read_text()) for path in (ROOT / "workflows" / "api").glob("*.json")]
    used = {node["class_type"] for graph in shipped for node in graph.values()}
    assert {name for name in info if name.startswith("LIVE_")} - used == set()


def test_help_pages_name_the_inputs_that_are_there(talk):
    """What a user types or chooses stands in bold on its node's page; what is bold there is an input or output."""
    _, info = talk(lambda c: c.json("GET", "/object_info"))
    for name, node in info.items():
        if not name.startswith("LIVE_"):
            continue
        page = (ROOT / "web" / "docs" / f"{name}.md").read_text()
        bold, fields = set(re.findall(r"\*\*([^*]+)\*\*", page)), fields_of(node["input"])
        chosen = {field for field, spec in fields.items() if isinstance(spec[0], list) or spec[0] in WIDGETS}
        assert chosen - bold == set(), f"{name}'s page does not name them"
        assert bold - set(fields) - set(node["output_name"]) == set(), f"{name} has no such input or output"


def names_of(groups: dict, owner: str = "") -> set[str]:
    """Every input as the page looks up its translation: what a choice brings stands after the choice's own name."""
    found = set()
    for name, spec in (
        (name, spec) for kind in ("required", "optional") for name, spec in groups.get(kind, {}).items()
    ):
        found.add(owner + name)
        for option in spec[1].get("options", []):
            if isinstance(option, dict):
                found |= names_of(option["inputs"], f"{owner}{name}_")
    return found


def fields_of(groups: dict) -> dict[str, list]:
    """Input -> its spec, those that a choice brings too."""
    fields = {name: spec for kind in ("required", "optional") for name, spec in groups.get(kind, {}).items()}
    for _, more in list(fields.values()):
        for option in more.get("options", []):
            if isinstance(option, dict):
                fields |= fields_of(option["inputs"])
    return fields


def test_translations_name_nodes_inputs_and_outputs_that_are_there(talk):
    """What ComfyUI serves of `locales` for its page: every node and every input, under the names that the schemas
    have.
    """
    (_, served), (_, info) = talk(lambda c: asyncio.gather(c.json("GET", "/i18n"), c.json("GET", "/object_info")))
    ours = {name: entry for name, entry in served["zh"]["nodeDefs"].items() if name.startswith("LIVE_")}
    assert set(ours) == {name for name in info if name.startswith("LIVE_")}
    for name, entry in ours.items():
        assert entry["display_name"] and entry["description"], name
        assert set(entry.get("inputs", {})) == names_of(info[name]["input"]), name
        assert all(each["name"] for each in entry.get("inputs", {}).values()), name
        assert all(int(i) < len(info[name]["output"]) for i in entry.get("outputs", {})), name


def test_full_workflow_then_from_cache(talk, workflow):
    node, previews = None, {}

    def on(kind, data):
        nonlocal node
        if kind == "progress":
            node = data["node"]
        elif kind == "preview":
            previews.setdefault(node, []).append(Image.open(io.BytesIO(data[data.index(b"\xff\xd8\xff") :])))

    async def twice(client):
        first, second = [await client.run(workflow(**{"Tune Video.seed": 11}), on) for _ in range(2)]
        return first, second, await client.fetch(first[2]["outputs"]["11"]["images"][0])

    first, second, video = talk(twice)
    assert first[0] == second[0] == "success"
    cached = next(data["nodes"] for _, kind, data in second[1] if kind == "execution_cached")
    assert set(cached) == set(workflow())
    frames = frames_of(video)
    assert frames.shape == (8, 128, 128, 3)
    assert sum(kind == "progress" and data["node"] == "8" for _, kind, data in first[1]) >= 2
    # Of tuning, inversion and edit: a sheet of eight frames in two rows, and below tuning's what the losses were.
    for stage, size in (("6", (512, 384)), ("7", (512, 256)), ("8", (512, 256))):
        assert previews[stage][-1].size == size, stage
    rows = [np.concatenate(list(frames[i : i + 4]), 1) for i in (0, 4)]
    sheet = Image.fromarray(np.concatenate(rows)).resize((512, 256), Image.Resampling.BOX)
    # Of the edit: the frames that came out.
    assert np.corrcoef(np.ravel(previews["8"][-1].convert("RGB")), np.ravel(sheet))[0, 1] > 0.9


def test_save_and_load_a_tuning(talk, workflow, server):
    graph = with_nodes(
        workflow(), {}, s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "mine", "save_embedding": True})
    )
    folder = server.base / "models" / "live"
    before = set(folder.iterdir()) if folder.exists() else set()
    assert talk(lambda c: c.run(graph))[0] == "success"
    assert load_file(server.base / "models" / "embeddings" / "mine.safetensors")["emb_params"].shape == (1, 128)
    assert {p.name for p in set(folder.iterdir()) - before} == {"mine.safetensors"}
    graph = with_nodes(
        workflow(),
        {("7", "model"): ["l", 0], ("8", "model"): ["l", 0]},
        l=("LIVE_LoadTuning", {"model": ["1", 0], "tuning": "mine.safetensors"}),
    )
    del graph["6"], graph["5"]
    assert talk(lambda c: c.run(graph))[0] == "success"
    again = with_nodes(
        workflow(**{"Tune Video.seed": 17}),
        {},
        s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "mine", "save_embedding": False}),
    )
    assert talk(lambda c: c.run(again))[0] == "success"
    outcome, events, _ = talk(lambda c: c.run(graph))
    cached = next(data["nodes"] for _, kind, data in events if kind == "execution_cached")
    assert outcome == "success" and "1" in cached and "l" not in cached  # the file is another, by the same name
    for name in ("../outside", "", "a/b"):
        graph = with_nodes(workflow(), {}, s=("LIVE_SaveTuning", {"model": ["6", 0], "name": name}))
        outcome, events, _ = talk(lambda c, graph=graph: c.run(graph))
        assert outcome == "error" and "name:" in message(events)
    assert {p.name for p in set(folder.iterdir()) - before} == {"mine.safetensors"}


def test_what_a_photo_is_bound_by_reaches_what_is_learned(talk, workflow, server):
    """Two vectors, and another pair where crops and mirror images are learned too."""

    def learned(name, **asked):
        changes = {f"Bind Photo to Placeholder.{key}": value for key, value in asked.items()}
        save = ("LIVE_SaveTuning", {"model": ["6", 0], "name": name, "save_embedding": True})
        assert talk(lambda c: c.run(with_nodes(workflow(**changes), {}, s=save)))[0] == "success"
        return load_file(server.base / "models" / "embeddings" / f"{name}.safetensors")["emb_params"]

    two, cropped, mirrored = (
        learned("two", vectors=2),
        learned("cropped", vectors=2, crops=8),
        learned("mirrored", vectors=2, flips=True),
    )
    assert two.shape == (2, 128) and not two[0].equal(two[1])
    assert not two.equal(cropped) and not two.equal(mirrored) and not cropped.equal(mirrored)


@pytest.mark.parametrize(
    "made",
    [
        "drawn",
        pytest.param(
            "filmed", marks=pytest.mark.skipif(not FILMED.is_file(), reason="no ../shared/clips beside the project")
        ),
    ],
)
def test_a_clip_and_photo_of_one_s_own(talk, workflow, made, tmp_path):
    """Load Video, cut and scaled by core's own nodes, and Load Image: where the mask is black, the clip's pixels."""
    drawn = make_clip(5, 16, height=256, width=320)
    write_video(tmp_path / "drawn.mp4", drawn.frames())
    path, prompt, edit_prompt = {
        "drawn": (tmp_path / "drawn.mp4", drawn.caption, drawn.caption.replace(drawn.things[0].name, "<thing*>")),
        "filmed": (FILMED, "a wolf in the forest", "a <thing*> in the forest"),
    }[made]

    async def run(client):
        files = (
            {"file": await client.upload(path)},
            {"image": await client.upload(ROOT / "demo" / "cases" / "box-to-heart" / "photo.png")},
        )
        graph = with_nodes(
            workflow(**{"Prompt.value": prompt, "Edit prompt.value": edit_prompt}),
            {},
            v=("LoadVideo", files[0]),
            c=("GetVideoComponents", {"video": ["v", 0]}),
            p=("LoadImage", files[1]),
            b=("ImageFromBatch", {"image": ["c", 0], "batch_index": 8, "length": 5}),
            s=(
                "ImageScale",
                {"image": ["b", 0], "upscale_method": "area", "width": 160, "height": 96, "crop": "center"},
            ),
            clip=("PreviewImage", {"images": ["s", 0]}),
            m=("MaskToImage", {"mask": ["9", 1]}),
            mask=("PreviewImage", {"images": ["m", 0]}),
        )
        instead = {("12", 0): ["s", 0], ("12", 1): ["c", 1], ("12", 2): ["c", 2], ("2", 1): ["p", 0], ("2", 6): "thing"}
        for node in graph.values():
            node["inputs"] = {
                name: instead.get(tuple(value), value) if isinstance(value, list) else value
                for name, value in node["inputs"].items()
            }
        del graph["2"], graph["12"]
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        pictures = {
            name: np.stack(
                [
                    np.asarray(Image.open(io.BytesIO(await client.fetch(file))).convert("RGB"))
                    for file in history["outputs"][name]["images"]
                ]
            )
            for name in ("clip", "mask")
        }
        return (
            frames_of(await client.fetch(history["outputs"]["11"]["images"][0])),
            pictures["clip"],
            pictures["mask"].max(-1),
        )

    edited, clip, mask = talk(run)
    change = np.abs(edited.astype(float) - clip).mean(-1)
    assert edited.shape == clip.shape == (5, 96, 160, 3) and 0 < (mask == 0).mean() < 1
    # of 255: what the mp4 costs, and what the edit changed; a Gaussian's weights add up to 1 but for rounding, and PNG
    # rounds down
    assert change[mask == 0].mean() < 3 < change[mask >= 254].mean()


def test_attention_is_shown_from_one_run(talk, server):
    graph = json.loads((ROOT / "workflows" / "api" / "show_attention.json").read_text())
    graph["7"]["inputs"]["steps"] = 4
    for number, node in enumerate(("12", "14", "16", "18")):  # words, steps, masks, self-attention
        graph |= {
            f"i{number}": {"class_type": "PreviewImage", "inputs": {"images": [node, 1]}},
            f"m{number}": {"class_type": "MaskToImage", "inputs": {"mask": [node, 2]}},
            f"p{number}": {"class_type": "PreviewImage", "inputs": {"images": [f"m{number}", 0]}},
        }

    async def both(client):
        first = await client.run(graph)
        graph["12"]["inputs"] |= {"which.words": "red ball", "which.last": 0.5}
        second = await client.run(graph)
        graph["12"]["inputs"] |= {"which.words": "blue"}
        return first, second, await client.run(graph)

    (outcome, events, history), again, wrong = talk(both)
    assert outcome == "success", message(events)
    counts = {
        name: len(history["outputs"][name]["images"]) for name in ("13", "15", "17", "19", "i0", "i1", "i2", "i3", "p0")
    }
    assert counts == {"13": 1, "15": 1, "17": 1, "19": 1, "i0": 7 * 8, "i1": 4 * 8, "i2": 2 * 8, "i3": 8, "p0": 7 * 8}
    cached = next(data["nodes"] for _, kind, data in again[1] if kind == "execution_cached")
    assert again[0] == "success" and {"7", "8", "14"} <= set(cached) and "12" not in cached
    assert len(again[2]["outputs"]["i0"]["images"]) == 8
    assert (
        wrong[0] == "error"
        and "words: 'blue' is not in the prompt 'a red ball moving on the meadow'; choose from its words: a, red, ball"
        in message(wrong[1])
    )


def test_what_a_device_gets_and_a_preview_costs(comfyui):
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "device_child.py"), str(ROOT), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["auto"] == {
        "cpu, True": "torch.float32",
        "cuda, True": "torch.float16",
        "cuda, False": "torch.float32",
    }, report
    # A preview costs no run, and an interrupt is heard.
    assert report["previews"] == ["went on"] * 3 + ["InterruptProcessingException"], report
    assert [
        what in said
        for what, said in zip(
            ("a Flux model", "a Stable Diffusion XL model", "a depth model"), report["others"], strict=True
        )
    ] == [True] * 3, report
