"""Methods on the page and in the queue: each shows its own settings, every setting reaches the edit."""

import json

import numpy as np
import pytest
from conftest import ROOT
from graphs import frames_of, message

pytestmark = pytest.mark.host


def test_a_method_of_one_s_own(talk, workflow):
    """FateZero's attribute row put together from small nodes gives the row's own edit, frame by frame."""
    graph = json.loads((ROOT / "workflows" / "api" / "fatezero_attribute.json").read_text())
    graph["7"]["inputs"]["steps"] = 4
    custom = json.loads(json.dumps(graph))
    custom |= {
        "a": {
            "class_type": "LIVE_MethodFrames",
            "inputs": {
                "frame_plan": "middle",
                "source": "inversion",
                "guidance_scale": 3.5,
                "image_guidance_scale": 0.0,
                "start": 0.0,
                "min_width": 0.5,
                "decoupled_guidance": False,
                "norm_latent_prompt": False,
                "edit_latent_prompt": "trained",
                "unconditional_latent_prompt": "trained",
            },
        },
        "b": {
            "class_type": "LIVE_MethodWords",
            "inputs": {
                "method": ["a", 0],
                "word_edit": "replace",
                "cross_ratio": 0.7,
                "place_ratio": 0.0,
                "cross_max_tokens": 1024,
            },
        },
        "c": {
            "class_type": "LIVE_MethodSelf",
            "inputs": {
                "method": ["b", 0],
                "self_target": "spatial",
                "self_start": 0.0,
                "self_ratio": 0.7,
                "self_max_tokens": 1024,
                "self_blend_threshold": 0.3,
            },
        },
    }
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
    assert np.array_equal(frames_of(a), frames_of(b))
    custom["d"] = {
        "class_type": "LIVE_MethodBlend",
        "inputs": {
            "method": ["c", 0],
            "blend_threshold": 0.3,
            "subtract_threshold": 0.3,
            "blend_start": 0.0,
            "blend_end": 1.0,
            "mask_from": "both",
            "mask_grow": 1,
            "mask_neighbours": 0,
        },
    }
    custom["8"]["inputs"]["method.row"] = ["d", 0]
    outcome, events, history = talk(lambda c: c.run(custom))
    assert outcome == "success", message(events)
    custom["a"]["inputs"]["frame_plan"] = "sideways"
    outcome, events, _ = talk(lambda c: c.run(custom))
    assert outcome == "error" and "each slot must be one of" in message(events)


def test_what_a_clip_is_inverted_under_and_when_words_begin_reach_the_edit(talk):
    """Tune-A-Video's row put together from nodes gives the row's own edit; each setting that came later changes it."""
    row = json.loads((ROOT / "workflows" / "api" / "fatezero_attribute.json").read_text())
    row["7"]["inputs"]["steps"] = 4
    for node in ("7", "8"):
        for field in [field for field in row[node]["inputs"] if field.startswith("method")]:
            del row[node]["inputs"][field]

    def built(words: dict, **frames) -> dict:
        graph = json.loads(json.dumps(row))
        frames = {"frame_plan": "first, previous", "source": "reconstruction", "guidance_scale": 3.5} | frames
        rest = {"start": 0.0, "min_width": 0.0, "decoupled_guidance": False, "norm_latent_prompt": False}
        seats = {"edit_latent_prompt": "trained", "unconditional_latent_prompt": "trained", "image_guidance_scale": 0.0}
        words = {"word_edit": "refine", "cross_ratio": 0.0, "place_ratio": 0.0, "cross_max_tokens": 0} | words
        graph["a"] = {"class_type": "LIVE_MethodFrames", "inputs": frames | rest | seats}
        graph["b"] = {"class_type": "LIVE_MethodWords", "inputs": {"method": ["a", 0], **words}}
        for node in ("7", "8"):
            graph[node]["inputs"] |= {"method": "custom", "method.row": ["b", 0]}
        return graph

    for node, more in (("7", {}), ("8", {"method.guidance_scale": 3.5})):
        row[node]["inputs"] |= {"method": "tav-ddim", **more}
    graphs = [
        row,
        built({}, inversion_prompt="empty"),
        built({}),
        built({}, inversion_prompt="empty", inversion_frame_plan="self"),
        built({"cross_ratio": 1.0}, inversion_prompt="empty"),
        built({"cross_ratio": 1.0, "cross_start": 0.5}, inversion_prompt="empty"),
    ]

    async def frames(client):
        found = []
        for graph in graphs:
            outcome, events, history = await client.run(graph)
            assert outcome == "success", message(events)
            found.append(frames_of(await client.fetch(history["outputs"]["11"]["images"][0])))
        return found

    named, *made = talk(frames)
    assert np.array_equal(named, made[0])
    assert not any(np.array_equal(a, b) for i, a in enumerate(made) for b in made[:i])


def test_a_method_s_choice_shows_its_own_settings(talk):
    """What the page draws for each method: the settings that the row has to give, with the row's values or those we
    recommend, each with a tooltip.
    """
    from live_core.methods import LIVE_RECOMMENDED, METHODS

    rows = {"live": LIVE_RECOMMENDED, "live-paper": METHODS["live"]}
    rows |= {name: row for name, row in METHODS.items() if name != "live"}

    _, info = talk(lambda c: c.json("GET", "/object_info/LIVE_Edit"))
    options = {
        option["key"]: {**option["inputs"]["required"], **option["inputs"].get("optional", {})}
        for option in info["LIVE_Edit"]["input"]["required"]["method"][1]["options"]
    }
    assert list(options) == [*rows, "custom"] and list(options.pop("custom")) == ["row"]
    for name, shown in options.items():
        assert "guidance_scale" in shown and all(spec[1]["tooltip"] for spec in shown.values()), name
        for field, (_, spec) in shown.items():
            value = getattr(rows[name], field)
            assert spec["default"] == (0 if value is None else value), (name, field)
    assert list(options["ddim"]) == list(options["tav-ddim"]) == ["guidance_scale", "guidance_start", "guidance_end"]
    assert (
        "place_ratio" in options["live"],
        "agree_ratio" in options["live"],
        "agree_ratio" in options["fatezero-attribute"],
    ) == (True, True, False)


def test_every_setting_of_the_method_reaches_the_edit(talk, workflow):
    """Each of the shipped method's settings, set otherwise by itself, gives another video."""
    others = {
        "guidance_scale": 2.0,
        "guidance_start": 0.5,
        "guidance_end": 0.5,
        "image_guidance_scale": 2.0,
        "cross_ratio": 0.3,
        "cross_start": 0.3,
        "place_ratio": 0.0,
        "self_blend_threshold": 0.0,
        "self_blend_start": 1.0,
        "fresh_noise": 0.0,
        "noise_seed": 1,
        "agree_ratio": 0.0,
        "self_ratio": 0.0,
        "blend_threshold": 0.7,
        "self_target": "temporal",
        "blend_start": 0.9,
        "edit_latent_prompt": "trained",
        "unconditional_latent_prompt": "reference",
    }
    graph = workflow()
    assert {f"method.{name}" for name in others} == {
        name for name in graph["8"]["inputs"] if name.startswith("method.")
    }

    async def run(client, graph):
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        return frames_of(await client.fetch(history["outputs"]["11"]["images"][0]))

    first = shipped = talk(lambda c: run(c, graph))
    for name, value in others.items():
        changed = json.loads(json.dumps(graph))
        if name == "unconditional_latent_prompt":  # which is read where guidance starts from it
            changed["8"]["inputs"]["method.image_guidance_scale"] = 2.0
            assert not np.array_equal(guided := talk(lambda c, changed=changed: run(c, changed)), shipped)
            shipped = guided
        changed["8"]["inputs"][f"method.{name}"] = value
        assert not np.array_equal(talk(lambda c, changed=changed: run(c, changed)), shipped), name
    assert np.array_equal(talk(lambda c: run(c, graph)), first)  # made anew: it is the settings that differ
