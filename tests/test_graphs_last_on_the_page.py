"""The first release's workflows on the real page, which saves a node's values by position, without their names."""

import copy
import json
import shutil

import pytest
from conftest import absent
from graphs import FIRST_RELEASE, load

pytestmark = pytest.mark.browser
REGISTER = "async ([name, definition]) => { await app.registerNodeDef(name, definition) }"


@pytest.fixture(scope="module")
def page(server):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as opened:
        yield opened


def opened(page, path, folder, **renamed):
    """(API format, UI format) of a workflow file that was dropped on the page, some nodes under other names."""
    import page as browser

    workflow = load(path)
    for node in workflow["nodes"]:
        node["type"] = renamed.get(node["type"], node["type"])
    (folder / path.name).write_text(json.dumps(workflow))
    browser.drop(page, folder / path.name)
    assert browser.complaints(page) == ([], [])
    return browser.export(page)


def assert_kept(exported: dict, released: dict) -> None:
    """Every value and link that the release's API format has is still there."""
    for i, node in released.items():
        now = exported[i]
        assert now["class_type"] == node["class_type"]
        assert {field: now["inputs"].get(field, "is gone") for field in node["inputs"]} == node["inputs"], node[
            "class_type"
        ]


@pytest.mark.parametrize("name", sorted(path.stem for path in (FIRST_RELEASE / "page").glob("*.json")))
def test_a_workflow_of_the_first_release_opens_as_it_was(page, tmp_path, name):
    exported, _ = opened(page, FIRST_RELEASE / "page" / f"{name}.json", tmp_path)
    assert_kept(exported, load(FIRST_RELEASE / "api" / f"{name}.json"))


def test_a_renamed_node_on_the_page(page, tmp_path):
    exported, _ = opened(
        page, FIRST_RELEASE / "page" / "live_image_driven_edit.json", tmp_path, LIVE_Invert="LIVE_InvertByDDIM"
    )
    assert_kept(exported, load(FIRST_RELEASE / "api" / "live_image_driven_edit.json"))


def test_an_input_more_moves_no_value(page, tmp_path):
    """Edit Video with a setting more in the midst of its method's, and an input more before them: a workflow of the
    first release keeps every value; what this page saves is read right by a page without them, and the other way round.
    """
    info = page.evaluate("async () => await (await fetch('/object_info/LIVE_Edit')).json()")
    today, tomorrow = info["LIVE_Edit"], copy.deepcopy(info["LIVE_Edit"])
    live = next(option for option in tomorrow["input"]["required"]["method"][1]["options"] if option["key"] == "live")
    (first, spec), *others = live["inputs"]["optional"].items()
    live["inputs"]["optional"] = {first: spec, "gain": ["FLOAT", {"default": 0.125, "since": "9"}], **dict(others)}
    tomorrow["input"]["required"] = {
        "tint": ["STRING", {"default": "none", "since": "9"}],
        **tomorrow["input"]["required"],
    }
    tomorrow["input_order"]["required"].insert(0, "tint")
    name, released = "live_image_driven_edit.json", load(FIRST_RELEASE / "api" / "live_image_driven_edit.json")
    try:
        page.evaluate(REGISTER, ["LIVE_Edit", tomorrow])
        exported, saved = opened(page, FIRST_RELEASE / "page" / name, tmp_path)
        assert_kept(exported, released)
        assert (exported["8"]["inputs"]["method.gain"], exported["8"]["inputs"]["tint"]) == (0.125, "none")
        page.evaluate(
            """() => {
                const node = app.graph.nodes.find(n => n.type === 'LIVE_Edit');
                node.widgets.find(w => w.name === 'method.gain').value = 0.5;
                node.widgets.find(w => w.name === 'tint').value = 'red';
            }"""
        )
        import page as browser

        _, saved = browser.export(page)
        (tmp_path / "saved.json").write_text(json.dumps(saved))
        again, _ = opened(page, tmp_path / "saved.json", tmp_path)
        assert (again["8"]["inputs"]["method.gain"], again["8"]["inputs"]["tint"]) == (0.5, "red")
        assert_kept(again, released)
    finally:
        page.evaluate(REGISTER, ["LIVE_Edit", today])
    exported, saved = opened(page, tmp_path / "saved.json", tmp_path)
    assert_kept(exported, released)
    assert "method.gain" not in exported["8"]["inputs"] and "tint" not in exported["8"]["inputs"]
