"""A choice that shows its own settings, on the real page."""

import shutil

import pytest
from conftest import absent

pytestmark = pytest.mark.browser
CHOOSE = """([chosen, values]) => {
    const node = app.graph.nodes[0] ?? (app.graph.add(LiteGraph.createNode('LIVE_Edit')), app.graph.nodes[0]);
    const named = name => node.widgets.find(widget => widget.name === name);
    const choice = named('method');
    choice.setValue(chosen, { e: new MouseEvent('click'), node, canvas: app.canvas });
    for (const [name, value] of Object.entries(values)) named(`method.${name}`).value = value;
    return Object.fromEntries(node.widgets.map(widget => [widget.name.replace('method.', ''), widget.value]));
}"""


def test_changing_the_method_and_coming_back_keeps_its_values(server):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:

        def choose(method, **values):
            return page.evaluate(CHOOSE, [method, values])

        fresh = choose("fatezero-style")
        choose("live", self_ratio=0.25, guidance_scale=3.5)
        assert choose("fatezero-style", self_ratio=0.1)["guidance_scale"] == fresh["guidance_scale"]
        came_back = choose("live")
        assert (came_back["self_ratio"], came_back["guidance_scale"]) == (0.25, 3.5)
        assert choose("fatezero-style")["self_ratio"] == 0.1
        assert choose("custom")["method"] == "custom" and choose("live")["self_ratio"] == 0.25
