"""The pack's other ways in on the real page: App mode, and subgraph blueprints."""

import json
import os
import shutil

import pytest
from conftest import ROOT, absent
from graphs import shortened

pytestmark = pytest.mark.browser
APPS = json.loads((ROOT / "scripts" / "apps.json").read_text())
BLUEPRINTS = json.loads((ROOT / "scripts" / "blueprints.json").read_text())
DEMO = "demo model for instructions (ships with LIVE)"


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if not found:
        absent("no chromium on this machine")
    return found


@pytest.mark.parametrize("name", sorted(APPS))
def test_an_app_asks_for_what_matters_runs_and_shows_the_result(server, chromium, tmp_path, name):
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, ROOT / "workflows" / f"{name}.json")
        for _, _, label in APPS[name]["inputs"]:
            assert page.get_by_text(label, exact=True).filter(visible=True).count() == 1, label
        exported, _ = browser.export(page)
        assert exported == json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
        for change in shortened(exported):
            browser.set_widget(page, *change)
        kind, detail = browser.run(page, page.get_by_role("button", name="Run", exact=True).last)
        assert kind == "execution_success", detail
        page.wait_for_function(
            "() => [...document.querySelectorAll('video')].some(v => v.offsetWidth > 300 && v.videoWidth)"
        )
        page.screenshot(path=os.path.join(os.environ.get("LIVE_SCREENSHOTS", tmp_path), f"{name}-run.png"))


def test_blueprints_are_offered_with_their_words(talk):
    _, offered = talk(lambda client: client.json("GET", "/global_subgraphs"))
    ours = {entry["name"] for entry in offered.values() if entry["info"]["node_pack"].endswith("live-video-editing")}
    assert ours == set(BLUEPRINTS)
    for name, blueprint in BLUEPRINTS.items():
        made = json.loads((ROOT / "subgraphs" / f"{name}.json").read_text())
        (outside,) = made["nodes"]
        assert {each["name"]: each["label"] for each in outside["inputs"]} == blueprint["inputs"]
        assert made["extra"]["BlueprintDescription"] == blueprint["description"]


def test_a_blueprint_is_found_dropped_and_runs(server, chromium, tmp_path):
    """By a double click on the canvas and its first words, as one finds a node."""
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        page.mouse.dblclick(900, 500)
        page.keyboard.type("Edit a Clip by Instr", delay=30)
        page.get_by_text("Blueprint", exact=True).first.wait_for()
        page.keyboard.press("Enter")
        page.wait_for_function("app.graph.nodes.length === 1")
        page.evaluate(
            """demo => {
                const add = (type, values) => {
                    const node = LiteGraph.createNode(type);
                    app.graph.add(node);
                    for (const [name, value] of Object.entries(values))
                        node.widgets.find(w => w.name === name).value = value;
                    return node;
                };
                const [edit] = app.graph.nodes;
                for (const n of edit.subgraph.nodes) {
                    const steps = n.widgets.find(w => w.name === 'steps' || w.name === 'draws');
                    if (steps) steps.value = 2;
                }
                const to = name => edit.inputs.findIndex(i => i.name === name);
                add('LIVE_LoadModel', { model: demo }).connect(0, edit, to('model'));
                add('LIVE_DemoClip', {}).connect(0, edit, to('images'));
                const result = edit.outputs.findIndex(o => o.name === 'images');
                edit.connect(result, add('SaveImage', { filename_prefix: 'blueprint' }), 0);
            }""",
            DEMO,
        )
        kind, detail = browser.run(page)
        page.screenshot(path=os.path.join(os.environ.get("LIVE_SCREENSHOTS", tmp_path), "blueprint.png"))
        assert kind == "execution_success", detail
        graph, _ = browser.export(page)
    assert {entry["class_type"] for entry in graph.values()} >= {
        "LIVE_ChangeMask",
        "LIVE_LocalLatents",
        "LIVE_Instruct",
    }
