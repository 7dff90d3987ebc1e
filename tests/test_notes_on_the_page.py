"""What is said of a node's outputs stands on the node of the real page as long as it holds."""

import shutil

import pytest
from conftest import absent

pytestmark = pytest.mark.browser
BUILD = """() => {
    const add = type => app.graph.add(LiteGraph.createNode(type)) ?? app.graph.nodes.at(-1);
    for (const type of ["EmptyImage", "TestTensor", "LIVE_Composite", "PreviewImage"]) add(type);
    const [clip, mask, composite, shown] = app.graph.nodes;
    const set = (node, values) => node.widgets.forEach(w => { w.value = values[w.name] ?? w.value });
    set(clip, {width: 64, height: 64, batch_size: 2});
    set(mask, {shape: "[1, 64, 64]"});
    const into = name => composite.inputs.findIndex(input => input.name === name);
    clip.connect(0, composite, into("images"));
    clip.connect(0, composite, into("edited"));
    mask.connect(0, composite, into("mask"));
    composite.connect(0, shown, 0);
}"""
SAID = """() => app.graph.nodes.find(node => node.type === "LIVE_Composite").widgets
    .find(widget => widget.name === "$$node-text-preview")?.value.trim() ?? \"\""""
FORGET = """() => { for (const node of app.graph.nodes)
    for (const widget of node.widgets ?? []) if (widget.name === "$$node-text-preview") widget.value = "" }"""


def test_a_note_comes_back_from_the_cache_and_goes_with_its_cause(server):
    """On a page that has forgotten it, as one that is opened anew has, and once nothing is said any more."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        page.evaluate(BUILD)
        page.evaluate(f"() => app.api.addEventListener('execution_success', {FORGET})")  # as later pages do
        said = []
        for value in ("7", "7", "0.5"):
            if value == "7":
                page.evaluate(FORGET)
            browser.set_widget(page, "TestTensor", "value", value)
            kind, detail = browser.run(page)
            assert kind == "execution_success", detail
            page.wait_for_timeout(300)
            said.append(page.evaluate(SAID))
    assert said[0].startswith("\u26a0 mask: values from 7") and said[1] == said[0] and said[2] == ""
