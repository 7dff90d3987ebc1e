"""The pack's second language is whole: every name, tooltip and help page is there in Chinese, and says the same."""

import json
import re
import shutil

import pytest
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
NAMES = {"CLIP", "VAE", "Tem-Con", "Frame-Acc", "PSNR", "SSIM"}  # the same in both languages


@pytest.mark.browser
def test_the_page_in_chinese_shows_no_english_name_of_ours(server):
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
            shown = page.evaluate(SHOWN)
        finally:
            speak("en")  # the setting is kept by the server
    assert len(shown) >= 30
    for kind, *names in shown:
        assert [name for name in names if not CHINESE.search(name) and name not in NAMES] == [], kind


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
