"""What a bypassed node hands on: never the clip where the edit is expected."""

import json
import shutil

import pytest
from conftest import ROOT, absent

# Node -> output -> the input that the page passes in its place. A node that is not here hands on nothing.
HANDED_ON = {
    "LIVE_BindConcept": {"concept": "concept"},
    "LIVE_Tune": {"tuned model": "model"},
    "LIVE_AdaptToEdit": {"adapted model": "model", "sheet": "images"},
    "LIVE_NullText": {"inversion": "inversion"},
    "LIVE_LoadTuning": {"tuned model": "model"},
    "LIVE_Edit": {"mask": "mask"},
    "LIVE_EditLong": {"images": "images", "mask": "mask"},
    "LIVE_Composite": {"images": "edited", "mask": "mask"},
    "LIVE_Compare": {"images": "edited"},
    "LIVE_Reconstruct": {"images": "images"},
    "LIVE_Inspect": {"sheet": "images", "images": "images"},
    "LIVE_Measure": {"table": "prompt", "plot": "images"},
    "LIVE_MethodWords": {"method": "method"},
    "LIVE_MethodSelf": {"method": "method"},
    "LIVE_MethodBlend": {"method": "method"},
    "LIVE_Instruct": {"images": "images"},
    "LIVE_StreamInstruct": {"video": "video"},
    "LIVE_StreamEdit": {"video": "video"},
    "LIVE_PaintByExample": {"images": "images"},
    "LIVE_Inpaint": {"images": "images"},
}


def handed_on(node: dict) -> dict[str, str]:
    """The page's rule (LGraphNode's bypass in ComfyUI's frontend): the input at the output's own place if it has its
    type, else the first of its type.
    """
    inputs = [
        (name, spec[0])
        for group in ("required", "optional")
        for name in node["input_order"].get(group, [])
        for spec in [node["input"][group][name]]
    ]
    found = {}
    for i, (name, kind) in enumerate(zip(node["output_name"], node["output"], strict=True)):
        same = (
            [inputs[i]] if i < len(inputs) and inputs[i][1] == kind else [entry for entry in inputs if entry[1] == kind]
        )
        if same:
            found[name] = same[0][0]
    return found


@pytest.mark.host
def test_every_node(talk):
    _, info = talk(lambda c: c.json("GET", "/object_info"))
    found = {name: handed for name, node in info.items() if name.startswith("LIVE_") and (handed := handed_on(node))}
    assert found == HANDED_ON


def graph_of_the_first_release() -> dict:
    """The shipped workflow as it was saved when Composite asked for the clip before the edit: in that order, its links
    by that order.
    """
    ui = json.loads((ROOT / "workflows" / "live_image_driven_edit.json").read_text())
    composite = next(node for node in ui["nodes"] if node["type"] == "LIVE_Composite")
    places = [
        next(i for i, entry in enumerate(composite["inputs"]) if entry["name"] == name) for name in ("images", "edited")
    ]
    first, second = sorted(places)
    if composite["inputs"][first]["name"] != "images":
        composite["inputs"][first], composite["inputs"][second] = (
            composite["inputs"][second],
            composite["inputs"][first],
        )
        for link in ui["links"]:
            if link[3] == composite["id"] and link[4] in places:
                link[4] = first + second - link[4]
    return ui


@pytest.mark.browser
def test_on_the_page(server, tmp_path):
    """Composite bypassed hands on the edit; and a graph saved with its inputs in the first release's order is linked as
    it was.
    """
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    (tmp_path / "old.json").write_text(json.dumps(graph_of_the_first_release()))
    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, tmp_path / "old.json")
        exported, _ = browser.export(page)
        kept = json.loads((ROOT / "workflows" / "api" / "live_image_driven_edit.json").read_text())
        assert exported == kept
        composite, edit, create = (
            next(name for name, node in kept.items() if node["class_type"] == kind)
            for kind in ("LIVE_Composite", "LIVE_Edit", "CreateVideo")
        )
        assert kept[create]["inputs"]["images"] == [composite, 0]
        page.evaluate("id => { app.graph.getNodeById(id).mode = 4 }", composite)
        exported, _ = browser.export(page)
        assert composite not in exported and exported[create]["inputs"]["images"] == [edit, 0]
