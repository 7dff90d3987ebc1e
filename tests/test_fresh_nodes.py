"""A fresh node is the set-up we recommend, which `live_stable_diffusion` ships; a graph that lacks an input is as it
was before that was so, through the API and on the page.
"""

import copy
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, absent
from graphs import FIRST_RELEASE, frames_of, load, message, small

RECOMMENDED = load(ROOT / "workflows" / "api" / "live_stable_diffusion.json")
EDIT = "8"
LIVE_PAPER = {  # what an edit of the first release had where its graph said nothing
    "method.place_ratio": 0,
    "method.edit_latent_prompt": "trained",
    "method.unconditional_latent_prompt": "reference",
    "method.image_guidance_scale": 0,
}


def values(node: dict) -> dict:
    return {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}


def fresh_values(groups: dict, chosen: dict, owner: str = "") -> dict:
    """What a schema shows before anything is set; of a choice the option that is `chosen`."""
    found = {}
    for name, (kind, *more) in [each for group in groups.values() for each in group.items()]:
        options = more[0] if more else {}
        if kind == "COMFY_DYNAMICCOMBO_V3":
            keys = [option["key"] for option in options["options"]]
            found[owner + name] = options.get("default", keys[0])
            option = options["options"][keys.index(chosen[owner + name])]
            found |= fresh_values(option["inputs"], chosen, f"{owner}{name}.")
        elif "default" in options or options.get("options"):
            found[owner + name] = options.get("default", (options.get("options") or [None])[0])
    return found


@pytest.mark.host
def test_a_fresh_node_has_the_values_of_the_recommended_workflow(talk):
    _, info = talk(lambda client: client.json("GET", "/object_info"))
    ours = [node for node in RECOMMENDED.values() if node["class_type"].startswith("LIVE_")]
    assert len(ours) >= 8
    for node in ours:
        shown = info[node["class_type"]]["input"]
        fresh = fresh_values({kind: shown.get(kind, {}) for kind in ("required", "optional")}, node["inputs"])
        assert {name: fresh[name] for name in values(node)} == values(node), node["class_type"]


def test_the_app_for_a_photo_has_the_recommended_values():
    app = load(ROOT / "workflows" / "api" / "app_photo_into_clip.json")
    ours = [(i, node) for i, node in RECOMMENDED.items() if node["class_type"].startswith("LIVE_")]
    assert [values(app[i]) for i, _ in ours] == [values(node) for _, node in ours]


def test_the_papers_values_are_a_choice_of_their_own():
    """Edit Video's live-paper in the workflow of the papers' values; what the two methods share is one."""
    papers = load(ROOT / "workflows" / "api" / "live_paper_values.json")[EDIT]["inputs"]
    ours = RECOMMENDED[EDIT]["inputs"]
    assert (papers["method"], ours["method"]) == ("live-paper", "live")
    assert {name for name in ours if name != "method" and papers[name] != ours[name]} == LIVE_PAPER.keys()
    assert {name: papers[name] for name in LIVE_PAPER} == LIVE_PAPER


@pytest.mark.host
@pytest.mark.parametrize("method", ["live", "live-paper"])
def test_without_what_we_recommend_a_graph_has_the_papers_values(talk, method):
    lacking = small(load(FIRST_RELEASE / "api" / "live_image_driven_edit.json"))
    inputs = lacking[EDIT]["inputs"]
    inputs["method"] = method
    papers, recommended = copy.deepcopy(lacking), copy.deepcopy(lacking)
    papers[EDIT]["inputs"] |= LIVE_PAPER
    recommended[EDIT]["inputs"] |= {name: RECOMMENDED[EDIT]["inputs"][name] for name in LIVE_PAPER}
    for name in LIVE_PAPER:
        del inputs[name]

    async def all_three(client):
        made = []
        for graph in (lacking, papers, recommended):
            outcome, events, history = await client.run(graph)
            assert outcome == "success", message(events)
            made.append(frames_of(await client.fetch(history["outputs"]["11"]["images"][0])))
        return made

    without, theirs, ours = talk(all_three)
    assert np.array_equal(without, theirs) and not np.array_equal(without, ours)


ON_A_FRESH_NODE = """() => {
    const node = LiteGraph.createNode('LIVE_Edit');
    app.graph.add(node);
    return Object.fromEntries(node.widgets.map(widget => [widget.name, widget.value]));
}"""


@pytest.mark.browser
def test_a_fresh_node_and_graphs_that_lack_inputs_on_the_page(server, tmp_path):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    asked = copy.deepcopy(RECOMMENDED)
    for name in LIVE_PAPER:
        del asked[EDIT]["inputs"][name]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    saved = load(ROOT / "workflows" / "live_stable_diffusion.json")
    (edit,) = (node for node in saved["nodes"] if node["type"] == "LIVE_Edit")
    named = zip(edit["properties"]["LIVE inputs"], edit["widgets_values"], strict=True)
    kept = [each for each in named if each[0] not in LIVE_PAPER]
    edit["properties"]["LIVE inputs"], edit["widgets_values"] = (list(each) for each in zip(*kept, strict=True))
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    with browser.open_page(server.url, chromium) as page:
        fresh = page.evaluate(ON_A_FRESH_NODE)
        recommended = values(RECOMMENDED[EDIT])
        assert {name: fresh[name] for name in recommended} == recommended
        for file in ("asked.json", "saved.json"):
            browser.drop(page, tmp_path / file)
            exported, _ = browser.export(page)
            assert values(exported[EDIT]) == recommended | LIVE_PAPER, file
