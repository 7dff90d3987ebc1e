"""The pack's second language is whole: every name, tooltip and help page is there in Chinese, and says the same."""

import json
import re
import shutil

import pytest
import test_notes_on_the_page as notes
from conftest import ROOT, absent

DOCS = ROOT / "web" / "docs"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:]")  # signs that Chinese writes at full width


def tooltips_of(groups: dict, owner: str = "") -> dict[str, str]:
    """Input, as the page looks up its translation (what a choice brings after the choice's own name) -> its tooltip."""
    found = {}
    for inputs in groups.values():
        for name, (_, *options) in inputs.items():
            more = options[0] if options else {}
            found[owner + name] = more.get("tooltip", "")
            for option in more.get("options", []):
                if isinstance(option, dict):
                    found |= tooltips_of(option["inputs"], f"{owner}{name}_")
    return found


@pytest.mark.host
def test_what_the_page_says_of_our_nodes_it_says_in_chinese(talk):
    _, info = talk(lambda client: client.json("GET", "/object_info"))
    _, served = talk(lambda client: client.json("GET", "/i18n"))
    missing = []
    for name, node in info.items():
        if not name.startswith("LIVE_"):
            continue
        entry = served["zh"]["nodeDefs"][name]
        said = {"name": entry["display_name"], "description": entry["description"]}
        groups = {kind: node["input"].get(kind, {}) for kind in ("required", "optional")}
        for field in (field for field, tooltip in tooltips_of(groups).items() if tooltip):
            said[field] = entry["inputs"][field].get("tooltip", "")
        missing += [f"{name}.{field}" for field, text in said.items() if not CHINESE.search(text)]
        missing += [f"{name}.{field}: {text}" for field, text in said.items() if HALF_WIDTH.search(text)]
    assert missing == []


SHOWN = """() => Object.keys(LiteGraph.registered_node_types).filter(type => type.startsWith('LIVE_')).map(type => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    const label = each => each.label ?? each.localized_name ?? each.name;
    const shown = [...node.widgets ?? [], ...node.inputs, ...node.outputs].map(label);
    return [type, node.title, ...shown];
})"""
TEXTS = """() => [
    ...app.graph.groups.map(group => group.title),
    ...app.graph.nodes.map(node => node.title),
    ...app.graph.nodes.filter(node => node.type === 'MarkdownNote').map(node => node.widgets[0].value)
]"""
SAID_OTHERWISE = {
    "\u53cd\u6f14\u89c6\u9891",  # Invert Video, for Invert Video (DDIM)
    "\u53d6\u6d88",  # the page's button that cancels
    "\u663e\u793a\u9ad8\u7ea7\u8f93\u5165",  # its "show advanced inputs"
}
NAMES = {"CLIP", "VAE", "Tem-Con", "Frame-Acc", "PSNR", "SSIM"}  # the same in both languages


@pytest.fixture(scope="module")
def chinese_page(server):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:

        def speak(language):
            page.evaluate("language => app.extensionManager.setting.set('Comfy.Locale', language)", language)
            page.wait_for_timeout(1000)

        speak("zh")
        try:
            page.reload()
            page.wait_for_function(
                "window.app?.vueAppReady && app.graph && !app.extensionManager.spinner", timeout=120_000
            )
            browser.listen(page)
            yield page
        finally:
            speak("en")  # the setting is kept by the server


@pytest.mark.browser
def test_the_page_in_chinese_shows_no_english_name_of_ours(chinese_page):
    shown = chinese_page.evaluate(SHOWN)
    assert len(shown) >= 30
    for kind, *names in shown:
        assert [name for name in names if not CHINESE.search(name) and name not in NAMES] == [], kind


@pytest.mark.browser
def test_a_shipped_workflow_is_in_chinese_on_the_page_and_in_english_where_it_is_saved(chinese_page):
    """Its groups, its note, the titles of its nodes; what the user writes into it stays as it is written."""
    import page as browser

    file = ROOT / "workflows" / "live_image_driven_edit.json"
    written = json.loads(file.read_text())
    browser.drop(chinese_page, file)
    shown = chinese_page.evaluate(TEXTS)
    assert len(shown) > 15 and [text for text in shown if not CHINESE.search(text)] == []
    chinese_page.evaluate("() => { app.graph.groups[0].title = '\u6211\u7684' }")
    _, saved = browser.export(chinese_page)
    mine, *others = saved["groups"]
    assert mine["title"] == "\u6211\u7684"
    assert [group["title"] for group in others] == [group["title"] for group in written["groups"][1:]]
    for node in written["nodes"]:
        same = next(each for each in saved["nodes"] if each["id"] == node["id"])
        if "title" in node:
            assert same["title"] == node["title"]
        if node["type"] == "MarkdownNote":
            assert same["widgets_values"] == node["widgets_values"]


@pytest.mark.browser
def test_an_app_and_a_blueprint_are_in_chinese_and_saved_in_english(chinese_page):
    """What an app asks for; a blueprint's name, inputs and outputs, as it is found and dropped."""
    import page as browser

    file = ROOT / "workflows" / "app_photo_into_clip.json"
    browser.drop(chinese_page, file)
    asked = chinese_page.evaluate("app.graph.nodes.flatMap(node => node.inputs.map(input => input.label))")
    assert len([label for label in asked if label and CHINESE.search(label)]) == 6
    _, saved = browser.export(chinese_page)
    assert labels(saved) == labels(json.loads(file.read_text()))

    chinese_page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    chinese_page.wait_for_function("!app.graph.nodes.length")
    chinese_page.mouse.dblclick(900, 500)
    chinese_page.keyboard.type("Edit a Clip by Instr", delay=30)
    chinese_page.locator("[role=option], [role=listbox] li, mark").first.wait_for()
    chinese_page.wait_for_timeout(1000)
    chinese_page.keyboard.press("Enter")
    chinese_page.wait_for_function("app.graph.nodes.length === 1")
    chinese_page.wait_for_timeout(500)
    shown = chinese_page.evaluate(
        """() => {
            const [node] = app.graph.nodes;
            const label = each => each.label ?? each.localized_name ?? each.name;
            return [node.title, ...[...node.inputs, ...node.outputs, ...node.widgets].map(label)];
        }"""
    )
    assert len(shown) == 11 and [text for text in shown if not CHINESE.search(text)] == []
    _, saved = browser.export(chinese_page)
    made = json.loads((ROOT / "subgraphs" / "Edit a Clip by Instruction.json").read_text())
    assert labels(saved) == labels(made)
    assert saved["definitions"]["subgraphs"][0]["name"] == made["definitions"]["subgraphs"][0]["name"]


def labels(graph: dict) -> list[str]:
    graphs = [graph, *graph.get("definitions", {}).get("subgraphs", [])]
    slots = [slot for each in graphs for node in each["nodes"] for slot in node.get("inputs", [])]
    return sorted(slot["label"] for slot in slots if "label" in slot)


@pytest.mark.browser
def test_an_error_is_in_chinese_wherever_the_page_shows_it(chinese_page):
    """And in English in the history."""
    import page as browser

    browser.drop(chinese_page, ROOT / "workflows" / "live_image_driven_edit.json")
    browser.set_widget(chinese_page, "LIVE_BindConcept", "placeholder", "ball")
    kind, detail = browser.run(chinese_page)
    sentence = (
        "\u5360\u4f4d\u8bcd\uff08placeholder\uff09\uff1a'ball' \u5df2\u7ecf\u662f"
        "\u8fd9\u4e2a\u6a21\u578b\u7684\u8bcd\u5143"
    )
    assert kind == "execution_error" and detail["exception_message"].startswith(sentence)
    toast = chinese_page.locator(".p-toast-message:visible")
    toast.wait_for()
    title, shown = toast.inner_text().strip().split("\n")
    assert title == "\u628a\u7167\u7247\u7ed1\u5b9a\u5230\u5360\u4f4d\u8bcd" and shown.startswith(sentence)


@pytest.mark.browser
def test_a_note_is_in_chinese_on_its_node(chinese_page):
    """From the run, and from the cache."""
    import page as browser

    chinese_page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    chinese_page.wait_for_function("!app.graph.nodes.length")
    chinese_page.evaluate(notes.BUILD)
    browser.set_widget(chinese_page, "TestTensor", "value", "7")
    for _ in range(2):
        chinese_page.evaluate(notes.FORGET)
        assert browser.run(chinese_page)[0] == "execution_success"
        chinese_page.wait_for_timeout(300)
        said = chinese_page.evaluate(notes.SAID)
        assert said.startswith("\u26a0 \u906e\u7f69\uff08mask\uff09\uff1a\u6570\u503c\u4ece 7")


@pytest.mark.browser
def test_what_is_named_in_chinese_has_that_name_on_the_page(chinese_page):
    """Nodes and inputs in help pages, tooltips, messages and the shipped workflows, core's too."""
    titles = set(chinese_page.evaluate("Object.values(LiteGraph.registered_node_types).map(type => type.title)"))
    ours = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text())
    slots = {
        each["name"] for node in ours.values() for side in ("inputs", "outputs") for each in node.get(side, {}).values()
    }
    files = [*DOCS.glob("*/zh.md"), *(ROOT / "web" / "zh").glob("*.json"), ROOT / "locales" / "zh" / "nodeDefs.json"]
    named = {name for file in files for name in re.findall("\u201c([^\u201d]*)\u201d", file.read_text())}
    named = {name for name in named if CHINESE.search(name)}
    assert len(named) > 50 and named - titles - slots - SAID_OTHERWISE == set()


def bold(text: str) -> set[str]:
    return set(re.findall(r"\*\*([^*]+)\*\*", text))


@pytest.mark.parametrize("english", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_a_help_page_in_chinese_says_what_the_english_one_says(english):
    """As many rows and points, the same inputs by the names that the Chinese page shows, the same values."""
    names = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text())[english.stem]
    original, chinese = english.read_text(), (DOCS / english.stem / "zh.md").read_text()
    assert chinese.startswith(f"# {names['display_name']}\n")
    for mark in ("\n## ", "\n|", "\n- "):
        assert chinese.count(mark) == original.count(mark), repr(mark)
    shown = {each["name"] for group in ("inputs", "outputs") for each in names.get(group, {}).values()}
    assert len(bold(chinese)) == len(bold(original)) and bold(chinese) - bold(original) <= shown
    assert not HALF_WIDTH.search(chinese)
