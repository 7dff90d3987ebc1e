"""Lay the API workflows out as UI workflows with the real ComfyUI page: workflows/api/*.json -> workflows/*.json.

    make workflows        # or, for some of them: $COMFYUI_PYTHON scripts/make_workflows.py NAME ...

Where nodes stand, layout.py says, by the size each has in either of ComfyUI's renderings: the classic one, and Nodes
2.0, which draws most of them taller. What apps.json names opens in App mode, with those widgets, by their nodes' titles
and with these labels, and those results. With LIVE_SCREENSHOTS set to a folder, a picture of each goes there.
"""

import json
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
import page as browser  # noqa: E402
from headless import Server  # noqa: E402
from layout import NOTE_WIDE, arrange  # noqa: E402

# A note a workflow. Inputs in italics, as nodes: the page draws code in blue on the note's brown.
NOTES = ROOT / "scripts" / "notes"
APPS = json.loads((ROOT / "scripts" / "apps.json").read_text())

# A preview that comes later would cover the next node: the loaders have theirs before they are placed.
PREVIEWS = """() => app.graph.nodes.every(n => {
    if (n.type === 'LoadImage') return n.imgs?.length;
    const isVideo = w => w.element?.querySelector?.('video') ?? w.element?.tagName === 'VIDEO';
    return n.type !== 'LoadVideo' || n.widgets.some(isVideo);
})"""
ADD_NOTE = """([text, wide]) => {
    const note = LiteGraph.createNode('MarkdownNote');
    app.graph.add(note);
    note.widgets[0].value = text;
    note.title = 'Read me';
    note.setSize([wide, 75 + text.length / 3]);
}"""
# As high as either rendering needs: the page keeps the larger height of the two when it is turned back.
SIZES = "() => Object.fromEntries(app.graph.nodes.map(n => [n.id, [n.type, Math.max(n.size[1], n.computeSize()[1])]]))"
PLACE = """([nodes, groups]) => {
    for (const n of app.graph.nodes) {
        const [x, y, wide, tall] = nodes[n.id];
        n.pos = [x, y];
        n.widgets?.filter(w => w.name === 'control_after_generate').forEach(w => { w.value = 'fixed'; });
        n.setSize([wide, tall]);
    }
    for (const [title, [x, y, wide, tall]] of Object.entries(groups)) {
        const group = new LiteGraph.LGraphGroup(title);
        group.pos = [x, y];
        group.size = [wide, tall];
        app.graph.add(group);
    }
}"""
# App mode: which widgets are asked for, and which nodes' results are shown. Labels are kept by the nodes.
OPEN_AS_APP = """({ inputs, outputs }) => {
    const titled = title => app.graph.nodes.find(n => n.title === title);
    for (const [title, name, label] of inputs) {
        const n = titled(title);
        n.widgets.find(w => w.name === name).label = label;
        n.inputs.find(i => i.widget?.name === name).label = label;
    }
    app.graph.extra.linearMode = true;
    app.graph.extra.linearData = {
        inputs: inputs.map(([title, name]) => [titled(title).id, name]),
        outputs: outputs.map(title => titled(title).id),
    };
}"""


def lay_out(url: str, path: pathlib.Path) -> None:
    """One workflow, on a page of its own: what the page knows of a node it knows by its number, from one workflow to
    the next.
    """
    api, note = json.loads(path.read_text()), (NOTES / f"{path.stem}.md").read_text().rstrip("\n")
    with browser.open_page(url, shutil.which("chromium")) as page:
        page.evaluate("([api, name]) => app.loadApiJson(api, name)", [api, path.stem])
        page.wait_for_function("n => app.graph.nodes.length === n", arg=len(api))
        page.wait_for_function(PREVIEWS, timeout=60_000)
        page.wait_for_timeout(1000)
        page.evaluate(ADD_NOTE, [note, NOTE_WIDE])
        for either in (True, False):
            browser.render_as_nodes_2(page, either)
        page.evaluate(PLACE, arrange(page.evaluate(SIZES)))
        if path.stem in APPS:
            page.evaluate(OPEN_AS_APP, APPS[path.stem])
        exported, ui = browser.export(page)
        if "LIVE_SCREENSHOTS" in os.environ:
            browser.fit(page)
            page.screenshot(path=os.path.join(os.environ["LIVE_SCREENSHOTS"], f"{path.stem}.png"))
    ui["extra"].pop("ds", None)
    (ROOT / "workflows" / path.name).write_text(json.dumps(ui, indent=1) + "\n")
    path.write_text(json.dumps(exported, indent=1) + "\n")
    print(path.stem, len(exported), "nodes")


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
    with Server(ROOT) as server:
        for name in names:
            lay_out(server.url, ROOT / "workflows" / "api" / f"{name}.json")


if __name__ == "__main__":
    main()
