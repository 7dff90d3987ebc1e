"""The pack in a real ComfyUI server, through the real queue."""
import asyncio
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
import torch
from conftest import ROOT, SHARED
from PIL import Image
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.host
WORKFLOW = ROOT / "workflows" / "api" / "live_image_driven_edit.json"
FEW = {"Tune Video.clip_steps": 2, "Tune Video.photo_steps": 2, "Invert Video (DDIM).steps": 4}


@pytest.fixture
def workflow(comfy):
    """The shipped workflow with few steps; call it with more overrides."""
    def make(**changes):
        graph = json.loads(WORKFLOW.read_text())
        for target, value in {**FEW, **changes}.items():
            comfy.override(graph, target, value)
        return graph
    return make


def message(events) -> str:
    return events[-1][2].get("exception_message", "")


def test_loads_without_complaint_and_fast(server):
    log = server.log.read_text()
    assert "IMPORT FAILED" not in log and "Traceback" not in log
    line = next(line for line in log.splitlines() if "seconds:" in line and "live-video-editing" in line)
    assert float(line.split(" seconds")[0].split()[-1]) < 0.3


def test_schemas_are_complete(talk):
    status, info = talk(lambda c: c.json("GET", "/object_info"))
    ours = {name: node for name, node in info.items() if name.startswith("LIVE_")}
    assert len(ours) == 17
    for name, node in ours.items():
        assert node["description"], name
        assert (ROOT / "web" / "docs" / f"{name}.md").is_file(), f"{name} has no help page"
        for group in (node["input"].get("required", {}), node["input"].get("optional", {})):
            for field, spec in group.items():
                assert spec[1].get("tooltip"), f"{name}.{field} has no tooltip"


def test_translations_name_nodes_inputs_and_outputs_that_are_there(talk):
    """What ComfyUI serves of `locales` for its page: every node, under the names that the schemas have."""
    (_, served), (_, info) = talk(lambda c: asyncio.gather(c.json("GET", "/i18n"), c.json("GET", "/object_info")))
    ours = {name: entry for name, entry in served["zh"]["nodeDefs"].items() if name.startswith("LIVE_")}
    assert set(ours) == {name for name in info if name.startswith("LIVE_")}
    for name, entry in ours.items():
        fields = {*info[name]["input"].get("required", {}), *info[name]["input"].get("optional", {})}
        assert entry["display_name"] and entry["description"] and set(entry.get("inputs", {})) <= fields, name
        assert all(int(i) < len(info[name]["output"]) for i in entry.get("outputs", {})), name


def test_full_workflow_then_from_cache(talk, workflow, tmp_path):
    node, previews = None, {}

    def on(kind, data):
        nonlocal node
        if kind == "progress":
            node = data["node"]
        elif kind == "preview":
            previews.setdefault(node, []).append(Image.open(io.BytesIO(data[data.index(b"\xff\xd8\xff"):])))

    async def twice(client):
        first, second = [await client.run(workflow(**{"Tune Video.seed": 11}), on) for _ in range(2)]
        return first, second, await client.fetch(first[2]["outputs"]["11"]["images"][0])
    first, second, video = talk(twice)
    assert first[0] == second[0] == "success"
    cached = next(data["nodes"] for _, kind, data in second[1] if kind == "execution_cached")
    assert set(cached) == set(workflow())
    (tmp_path / "out.mp4").write_bytes(video)
    import av
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert frames.shape == (8, 128, 128, 3)
    assert sum(kind == "progress" and data["node"] == "8" for _, kind, data in first[1]) >= 2
    for stage in ("6", "7", "8"):                                    # tuning, inversion, edit: a contact sheet of eight frames each
        assert previews[stage][-1].size == (512, 64) and np.asarray(previews[stage][-1]).std() > 10, stage


def test_interrupt_during_tuning_then_run_again(talk, workflow):
    async def stop(client):
        asked = {}

        async def on(kind, data):
            if kind == "progress" and data["node"] == "6" and not asked:
                asked["at"] = time.time()
                await client.json("POST", "/interrupt")
        outcome, events, _ = await client.run(workflow(**{"Tune Video.clip_steps": 500, "Tune Video.photo_steps": 500, "Tune Video.seed": 12}), on)
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
        await client.run(workflow(**{"Tune Video.clip_steps": 500, "Tune Video.photo_steps": 500, "Tune Video.seed": 14, "Tune Video.clip_rate": 0.1}), on)
        graph = workflow(**{"Tune Video.seed": 13, "Edit Video.method.blend_start": 0.21})      # past the cache, the same step
        outcome, _, history = await client.run(graph)
        assert outcome == "success"
        return before, await client.fetch(history["outputs"]["11"]["images"][0])
    before, after = talk(around)
    assert _frames(before).shape == _frames(after).shape and np.array_equal(_frames(before), _frames(after))


def _frames(video: bytes) -> np.ndarray:
    import av
    with av.open(io.BytesIO(video)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.mark.parametrize("changes,says", [
    ({"Edit Video.keep_words": "elephant"}, "'elephant' is not in the prompt"),
    ({"Edit Video.source_words": "elephant"}, "source words: 'elephant'"),
    ({"Bind Photo to Placeholder.placeholder": "ball"}, "'ball' is already a token"),
    ({"Bind Photo to Placeholder.placeholder": "two words"}, "must be one string without spaces"),
    ({"Bind Photo to Placeholder.initial_word": "hippopotamus"}, "choose one common word of one token"),
    ({"Edit prompt.value": "a red ball moving on the meadow"}, "same words as the source prompt"),
    ({"Edit Video.word_windows": "moving: 0.4"}, "word windows: 'moving: 0.4'; write word: start-end"),
], ids=["keep word", "source word", "known placeholder", "placeholder of two words", "initial word", "same prompt", "window"])
def test_bad_words_get_a_clear_error(talk, workflow, changes, says):
    outcome, events, _ = talk(lambda c: c.run(workflow(**changes)))
    assert outcome == "error" and says in message(events)


def with_nodes(graph, rewire, **nodes):
    """Add core nodes and put them before inputs: rewire = {(node id, input): [node, output]}."""
    graph.update({name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()})
    for (node, field), link in rewire.items():
        graph[node]["inputs"][field] = link
    return graph


def test_a_mask_of_another_size(talk, workflow):
    graph = with_nodes(workflow(), {("9", "mask"): ["m", 0]}, m=("SolidMask", {"value": 1.0, "width": 64, "height": 128}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "1 frames of 64x128" in message(events)


def test_a_photo_with_alpha(talk, workflow):
    graph = with_nodes(workflow(), {("5", "photo"): ["j", 0]}, m=("SolidMask", {"value": 0.5, "width": 128, "height": 128}), j=("JoinImageWithAlpha", {"image": ["2", 1], "alpha": ["m", 0]}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "photo: 4 channels" in message(events)


def test_an_empty_clip_and_nothing_half_written(talk, workflow, server):
    """At every stage that reads its frames; afterwards the folders that nodes write to hold what they held before."""
    def files():
        return sorted(str(path.relative_to(server.base)) for folder in ("models", "output", "user") for path in (server.base / folder).rglob("*") if path.is_file())
    before = files()
    for node in ("6", "7", "9"):
        graph = with_nodes(workflow(**{"Tune Video.seed": 18}), {(node, "images"): ["e", 0]}, e=("TestEmptyClip", {}), s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "never"}))
        if node != "6":
            del graph["s"]
        outcome, events, _ = talk(lambda c: c.run(graph))
        assert outcome == "error" and "images: " in message(events) and events[-1][2]["node_id"] == node, (node, message(events))
    assert files() == before


def test_zero_steps_and_no_steps(talk, workflow):
    status, answer = talk(lambda c: c.queue(workflow(**{"Invert Video (DDIM).steps": 0})))
    assert status == 400 and answer["node_errors"]["7"]["errors"][0]["type"] == "value_smaller_than_min"
    outcome, events, _ = talk(lambda c: c.run(workflow(**{"Tune Video.clip_steps": 0, "Tune Video.photo_steps": 0})))
    assert outcome == "error" and "both 0" in message(events)


def test_save_and_load_a_tuning(talk, workflow, server):
    graph = with_nodes(workflow(), {}, s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "mine", "save_embedding": True}))
    assert talk(lambda c: c.run(graph))[0] == "success"
    assert load_file(server.base / "models" / "embeddings" / "mine.safetensors")["emb_params"].shape == (1, 128)
    folder = server.base / "models" / "live"
    assert [p.name for p in folder.iterdir()] == ["mine.safetensors"]
    graph = with_nodes(workflow(), {("7", "model"): ["l", 0], ("8", "model"): ["l", 0]}, l=("LIVE_LoadTuning", {"model": ["1", 0], "tuning": "mine.safetensors"}))
    del graph["6"], graph["5"]
    assert talk(lambda c: c.run(graph))[0] == "success"
    again = with_nodes(workflow(**{"Tune Video.seed": 17}), {}, s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "mine", "save_embedding": False}))
    assert talk(lambda c: c.run(again))[0] == "success"
    outcome, events, _ = talk(lambda c: c.run(graph))
    cached = next(data["nodes"] for _, kind, data in events if kind == "execution_cached")
    assert outcome == "success" and "1" in cached and "l" not in cached              # the file is another, by the same name
    for name in ("../outside", "", "a/b"):
        graph = with_nodes(workflow(), {}, s=("LIVE_SaveTuning", {"model": ["6", 0], "name": name}))
        outcome, events, _ = talk(lambda c: c.run(graph))
        assert outcome == "error" and "name:" in message(events)
    assert [p.name for p in folder.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json")))
def test_every_shipped_workflow_runs(talk, comfy, name):
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    titles = {node["_meta"]["title"] for node in graph.values()}
    for target, value in {**FEW, "Tune Video.photo_steps": 2 if "Bind Photo to Placeholder" in titles else 0, "Null-Text Inversion.inner_steps": 1}.items():
        if target.split(".")[0] in titles:
            comfy.override(graph, target, value)
    outcome, events, history = talk(lambda c: c.run(graph))
    assert outcome == "success", message(events)
    assert history["outputs"]["11"]["images"]
    assert (ROOT / "workflows" / f"{name}.jpg").stat().st_size < 30_000          # its picture in Templates


def test_a_method_of_one_s_own(talk, workflow):
    """FateZero's attribute row put together from small nodes gives the row's own edit, frame by frame."""
    graph = json.loads((ROOT / "workflows" / "api" / "fatezero_attribute.json").read_text())
    graph["7"]["inputs"]["steps"] = 4
    custom = json.loads(json.dumps(graph))
    custom |= {"a": {"class_type": "LIVE_MethodFrames", "inputs": {"frame_plan": "middle", "source": "inversion", "guidance_scale": 3.5, "start": 0.0, "min_width": 0.5, "decoupled_guidance": False,
                                                             "edit_latent_prompt": "trained", "unconditional_latent_prompt": "trained"}},
               "b": {"class_type": "LIVE_MethodWords", "inputs": {"method": ["a", 0], "word_edit": "replace", "cross_ratio": 0.7, "place_ratio": 0.0, "cross_max_tokens": 1024}},
               "c": {"class_type": "LIVE_MethodSelf", "inputs": {"method": ["b", 0], "self_target": "spatial", "self_start": 0.0, "self_ratio": 0.7, "self_max_tokens": 1024, "self_blend_threshold": 0.3}}}
    for node in ("7", "8"):
        inputs = custom[node]["inputs"]
        for field in [f for f in inputs if f.startswith("method")]:
            del inputs[field]
        inputs |= {"method": "custom", "method.row": ["c", 0]}

    async def both(client):
        videos = []
        for g in (graph, custom):
            outcome, events, history = await client.run(g)
            assert outcome == "success", message(events)
            videos.append(await client.fetch(history["outputs"]["11"]["images"][0]))
        return videos
    a, b = talk(both)
    assert np.array_equal(_frames(a), _frames(b))
    custom["d"] = {"class_type": "LIVE_MethodBlend", "inputs": {"method": ["c", 0], "blend_threshold": 0.3, "subtract_threshold": 0.3, "blend_start": 0.0, "blend_end": 1.0,
                                                             "mask_from": "both", "mask_grow": 1, "mask_neighbours": 0}}
    custom["8"]["inputs"]["method.row"] = ["d", 0]
    outcome, events, history = talk(lambda c: c.run(custom))
    assert outcome == "success", message(events)
    custom["a"]["inputs"]["frame_plan"] = "sideways"
    outcome, events, _ = talk(lambda c: c.run(custom))
    assert outcome == "error" and "each slot must be one of" in message(events)


def test_a_method_s_choice_shows_its_own_settings(talk):
    """What the page draws for each method: the settings that the row has to give, with the row's values, each with a tooltip."""
    from live_core.methods import METHODS
    _, info = talk(lambda c: c.json("GET", "/object_info/LIVE_Edit"))
    options = {option["key"]: option["inputs"].get("required", {}) for option in info["LIVE_Edit"]["input"]["required"]["method"][1]["options"]}
    assert list(options) == [*METHODS, "custom"] and list(options.pop("custom")) == ["row"]
    for name, shown in options.items():
        assert "guidance_scale" in shown and all(spec[1]["tooltip"] for spec in shown.values()), name
        for field, (_, spec) in shown.items():
            value = getattr(METHODS[name], field)
            assert spec["default"] == (0 if value is None else value), (name, field)
    assert list(options["ddim"]) == list(options["tav-ddim"]) == ["guidance_scale"]
    assert ("place_ratio" in options["live"], "self_blend_threshold" in options["live"], "self_blend_threshold" in options["fatezero-attribute"]) == (True, False, True)


def test_a_real_clip_and_photo(talk, workflow):
    """Load Video and Load Image through frames of another size and number than the demo's, as the note in live_stable_diffusion has it."""
    if not (SHARED / "clips" / "wolf.mp4").is_file():
        pytest.skip("no real clips (../shared/clips) beside the project")

    async def run(client):
        graph = workflow(**{"Prompt.value": "a wolf in the forest", "Edit prompt.value": "a <thing*> in the forest"})
        graph |= {"v": {"class_type": "LoadVideo", "inputs": {"file": await client.upload(SHARED / "clips" / "wolf.mp4")}},
                  "c": {"class_type": "GetVideoComponents", "inputs": {"video": ["v", 0]}},
                  "b": {"class_type": "ImageFromBatch", "inputs": {"image": ["c", 0], "batch_index": 8, "length": 5}},
                  "s": {"class_type": "ImageScale", "inputs": {"image": ["b", 0], "upscale_method": "area", "width": 160, "height": 96, "crop": "center"}},
                  "p": {"class_type": "LoadImage", "inputs": {"image": await client.upload(ROOT / "demo" / "cases" / "box-to-heart" / "photo.png")}}}
        instead = {0: ["s", 0], 1: ["p", 0], 2: ["c", 2]}
        for node in graph.values():
            node["inputs"] = {name: instead[value[1]] if isinstance(value, list) and value[0] == "2" else value for name, value in node["inputs"].items()}
        del graph["2"]
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        return await client.fetch(history["outputs"]["11"]["images"][0])
    edited = _frames(talk(run))
    assert edited.shape == (5, 96, 160, 3) and edited.std() > 10


def test_every_setting_of_the_method_reaches_the_edit(talk, workflow):
    """Each of the shipped method's settings, set otherwise by itself, gives another video."""
    others = {"guidance_scale": 2.0, "cross_ratio": 0.3, "place_ratio": 0.0, "self_ratio": 0.0, "blend_threshold": 0.7, "self_target": "temporal", "blend_start": 0.9,
              "edit_latent_prompt": "trained", "unconditional_latent_prompt": "reference"}
    graph = workflow()
    assert {f"method.{name}" for name in others} == {name for name in graph["8"]["inputs"] if name.startswith("method.")}

    async def run(client, graph):
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        return _frames(await client.fetch(history["outputs"]["11"]["images"][0]))
    shipped = talk(lambda c: run(c, graph))
    for name, value in others.items():
        changed = json.loads(json.dumps(graph))
        changed["8"]["inputs"][f"method.{name}"] = value
        assert not np.array_equal(talk(lambda c: run(c, changed)), shipped), name
    assert np.array_equal(talk(lambda c: run(c, graph)), shipped)                     # made anew: it is the settings that differ


def test_measures_of_an_edit(talk, workflow, server, clip_folder):
    shutil.copytree(clip_folder, server.base / "models" / "clip_vision" / "tiny-clip", dirs_exist_ok=True)
    measure = {"images": ["2", 0], "edited": ["9", 0], "mask": ["9", 1], "prompt": "a blue star moving on the meadow", "source_prompt": ["3", 0]}
    graph = with_nodes(workflow(), {}, e=("LIVE_Measure", {**measure, "clip_folder": "tiny-clip"}), p=("PreviewImage", {"images": ["e", 6]}))
    outcome, events, history = talk(lambda c: c.run(graph))
    assert outcome == "success", message(events)
    rows = dict(line.strip("| ").split(" | ") for line in history["outputs"]["e"]["text"][0].splitlines()[2:])
    assert set(rows) == {"CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM"} and all(np.isfinite(float(v)) for v in rows.values())
    assert float(rows["PSNR"]) > 30 and 0.9 < float(rows["SSIM"]) <= 1
    assert history["outputs"]["p"]["images"]
    graph = with_nodes(workflow(), {}, e=("LIVE_Measure", {**measure, "clip_folder": "none", "edited": ["2", 1]}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "both must be the same clip" in message(events)
    graph = with_nodes(workflow(), {}, m=("SolidMask", {"value": 1.0, "width": 64, "height": 128}), e=("LIVE_Measure", {**measure, "clip_folder": "none", "mask": ["m", 0]}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "mask: 1 frames of 64x128" in message(events)


def test_attention_is_shown_from_one_run(talk, server):
    graph = json.loads((ROOT / "workflows" / "api" / "show_attention.json").read_text())
    graph["7"]["inputs"]["steps"] = 4
    for number, node in enumerate(("12", "14", "16", "18")):                             # words, steps, masks, self-attention
        graph |= {f"i{number}": {"class_type": "PreviewImage", "inputs": {"images": [node, 1]}},
                  f"m{number}": {"class_type": "MaskToImage", "inputs": {"mask": [node, 2]}}, f"p{number}": {"class_type": "PreviewImage", "inputs": {"images": [f"m{number}", 0]}}}

    async def both(client):
        first = await client.run(graph)
        graph["12"]["inputs"] |= {"which.words": "red ball", "which.last": 0.5}
        second = await client.run(graph)
        graph["12"]["inputs"] |= {"which.words": "blue"}
        return first, second, await client.run(graph)
    (outcome, events, history), again, wrong = talk(both)
    assert outcome == "success", message(events)
    counts = {name: len(history["outputs"][name]["images"]) for name in ("13", "15", "17", "19", "i0", "i1", "i2", "i3", "p0")}
    assert counts == {"13": 1, "15": 1, "17": 1, "19": 1, "i0": 7 * 8, "i1": 4 * 8, "i2": 2 * 8, "i3": 8, "p0": 7 * 8}
    cached = next(data["nodes"] for _, kind, data in again[1] if kind == "execution_cached")
    assert again[0] == "success" and {"7", "8", "14"} <= set(cached) and "12" not in cached
    assert len(again[2]["outputs"]["i0"]["images"]) == 8
    assert wrong[0] == "error" and "words: 'blue' is not in the prompt 'a red ball moving on the meadow'; choose from its words: a, red, ball" in message(wrong[1])


def test_comfyui_s_own_clip_equals_transformers(comfyui, tmp_path):
    """CLIP_VISION and CLIP of a small random CLIP: projected embeddings within 1e-5 of transformers' (measured: below 1e-6), pictures of
    another size within 2e-2, since ComfyUI rounds scaled ones to 8 bits. What has no projection is refused, whatever its memory holds.
    And ComfyUI's reader of `embedding:name` finds the vector in the file that Save Tuning exports."""
    folder, python = comfyui
    done = subprocess.run([python, str(ROOT / "tests" / "clip_child.py"), str(ROOT), str(folder), str(tmp_path)], capture_output=True, text=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert max(report["texts"], report["images"]) < 1e-5 and report["scaled_images"] < 2e-2 and report["texts_differ"] > 0.05, report
    assert report["both"] == pytest.approx(report["expected"], abs=1e-3), report
    assert report["vision_alone"] == [None, pytest.approx(report["expected"][1], abs=1e-5), None], report
    assert report["embedding"], "ComfyUI does not read the embedding that Save Tuning exports"
    for name, says in (("no projection in the file", "no text_projection"), ("identity", "no text_projection"), ("other width", "64 numbers and clip_vision's pictures 32"),
                       ("blank", "no visual_projection"), ("siglip", "a siglip_vision_model is no CLIP"), ("no clip", "this text encoder is no CLIP")):
        assert says in report[name], report


def test_weights_that_moved_can_be_trained_and_go_back(comfyui):
    """On a device that is not the CPU ComfyUI moves weights under inference mode; what moved so could not be trained."""
    folder, python = comfyui
    done = subprocess.run([python, str(ROOT / "tests" / "device_child.py"), str(ROOT), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["moved"] == "torch.float64" and report["learned"] > 0 and report["null"][0] == 1 and report["back"], report
    assert [what in said for what, said in zip(("a Flux model", "a Stable Diffusion XL model", "an inpainting model"), report["others"])] == [True] * 3, report


def test_a_text_encoder_without_projection_is_refused(talk, server):
    """Load CLIP and Load CLIP Vision on files that hold just what ComfyUI tells a model by: the node speaks before anything is encoded."""
    tensors = {"clip_vision": {"vision_model.encoder.layers.22.layer_norm1.weight": (1024,), "vision_model.encoder.layers.0.layer_norm1.weight": (1024,),
                               "vision_model.embeddings.position_embedding.weight": (257, 1024), "visual_projection.weight": (768, 1024)},
               "text_encoders": {"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}}
    for folder, shapes in tensors.items():
        (server.base / "models" / folder).mkdir(exist_ok=True)
        save_file({name: torch.ones(shape, dtype=torch.float16) for name, shape in shapes.items()}, server.base / "models" / folder / "bare.safetensors")
    graph = {"1": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
             "2": {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "bare.safetensors"}},
             "3": {"class_type": "CLIPLoader", "inputs": {"clip_name": "bare.safetensors", "type": "stable_diffusion"}},
             "4": {"class_type": "LIVE_Measure", "inputs": {"images": ["1", 0], "edited": ["1", 0], "clip_folder": "none", "prompt": "a ball", "source_prompt": "",
                                                           "clip_vision": ["2", 0], "clip": ["3", 0]}}}
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "no text_projection" in message(events)
    del graph["4"]["inputs"]["clip_vision"]
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "connected without clip_vision" in message(events)


def client(server, *arguments):
    return subprocess.run([sys.executable, str(ROOT / "scripts" / "comfy.py"), "run", *map(str, arguments), "--server", server.url, "--quiet"], capture_output=True, text=True)


def test_headless_client_with_the_user_s_own_files(server, tmp_path):
    case = ROOT / "demo" / "cases" / "box-to-heart"
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    done = client(server, WORKFLOW, "--clip", case / "clip.mp4", "--photo", case / "photo.png", "--prompt", "a green box moving on the snow",
                  "--edit-prompt", "a <thing*> moving on the snow", "--seed", 5, "--out", tmp_path, *sets)
    assert done.returncode == 0, done.stderr
    assert [p.suffix for p in tmp_path.iterdir()] == [".mp4"] and str(next(tmp_path.iterdir())) in done.stdout


def test_headless_client_s_exit_codes(server, tmp_path):
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    failed = client(server, WORKFLOW, *sets, "--edit-prompt", "a red ball moving on the meadow", "--out", tmp_path)
    assert failed.returncode == 1 and "same words" in failed.stderr and not list(tmp_path.iterdir())
    wrong = client(server, WORKFLOW, "--set", "Tune Video.no_such=1")
    assert wrong.returncode == 2 and "no input 'no_such'" in wrong.stderr
    refused = client(server, WORKFLOW, "--set", "Invert Video (DDIM).steps=0")
    assert refused.returncode == 2 and "steps" in refused.stderr
    late = client(server, WORKFLOW, "--set", "Tune Video.clip_steps=5000", "--timeout", 3)
    assert late.returncode == 4 and "not done within 3 s" in late.stderr
    deadline = time.time() + 10                                      # the job that was given up does not hold up the next
    while not urllib.request.urlopen(f"{server.url}/prompt").read().endswith(b'"queue_remaining": 0}}'):
        assert time.time() < deadline
        time.sleep(0.2)


def nowhere(*arguments):
    """The client with a server that is not there."""
    return subprocess.run([sys.executable, str(ROOT / "scripts" / "comfy.py"), "run", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("arguments,code,says", [
    (["--server", "http://127.0.0.1:9"], 3, "no ComfyUI answers at http://127.0.0.1:9"),
    (["--server", "127.0.0.1:8188"], 2, "--server: '127.0.0.1:8188'; write it with http://"),
    (["--photo", "a.png", "--photo", "b.png"], 2, "--photo: given 2 times, and this workflow takes 1"),
], ids=["nobody", "no scheme", "two photos"])
def test_headless_client_before_it_is_connected(arguments, code, says):
    done = nowhere(WORKFLOW, *arguments)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


def test_headless_client_names_what_is_wrong(server, tmp_path):
    (tmp_path / "broken.json").write_text("{")
    broken = nowhere(tmp_path / "broken.json")
    assert broken.returncode == 2 and "broken.json: not a JSON file" in broken.stderr
    untuned = client(server, WORKFLOW.with_name("fatezero_style.json"), "--seed", 1)
    assert untuned.returncode == 2 and "--seed: 'Tune Video' names 0 nodes" in untuned.stderr
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stranger = nowhere(WORKFLOW, "--server", f"http://127.0.0.1:{other.server_port}")
        other.shutdown()
    assert stranger.returncode == 3 and "no ComfyUI answers" in stranger.stderr


def test_headless_client_with_two_photos_and_with_previews(server, tmp_path):
    two, cases = WORKFLOW.with_name("live_two_objects.json"), ROOT / "demo" / "cases"
    sets = [f"--set={target}={value}" for target, value in FEW.items()]
    done = client(server, two, "--photo", cases / "tree-to-fish" / "photo.png", "--photo", cases / "cone-to-moon" / "photo.png", "--out", tmp_path / "two", *sets)
    assert done.returncode == 0 and [p.suffix for p in (tmp_path / "two").iterdir()] == [".mp4"], done.stderr
    seen = client(server, WORKFLOW.with_name("show_attention.json"), "--set=Invert Video (DDIM).steps=4", "--out", tmp_path / "seen")
    assert seen.returncode == 0 and {p.suffix for p in (tmp_path / "seen").iterdir()} == {".mp4", ".png"}, seen.stderr


def test_headless_client_whose_server_goes_away(comfy, comfyui):
    with comfy.Server(ROOT) as own:
        running = subprocess.Popen([sys.executable, str(ROOT / "scripts" / "comfy.py"), "run", str(WORKFLOW), "--server", own.url, "--quiet", "--set=Tune Video.clip_steps=5000"],
                                   stderr=subprocess.PIPE, text=True)
        while not urllib.request.urlopen(f"{own.url}/prompt").read().endswith(b'"queue_remaining": 1}}'):
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.2)
        own.process.kill()
        _, said = running.communicate(timeout=60)
    assert running.returncode == 3 and "the server closed the connection" in said
