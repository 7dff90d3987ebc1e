"""Lay the API workflows out as UI workflows with the real ComfyUI page: workflows/api/*.json -> workflows/*.json.

    make workflows        # or, for some of them: $COMFYUI_PYTHON scripts/make_workflows.py NAME ...

A group for each stage, few enough that the page shows them all at a size that can be read; the note stands below the
shorter of the first two. Nodes stand far enough apart for ComfyUI's other renderer too, Nodes 2.0, which draws them
taller; below Invert Video is room for its preview, by which it grows while it runs. What apps.json names opens in App
mode, with those widgets, by their nodes' titles and with these labels, and those results. With LIVE_SCREENSHOTS set to
a folder, a picture of each goes there.
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

# A note a workflow. Inputs in italics, as nodes: the page draws code in blue on the note's brown.
NOTES = ROOT / "scripts" / "notes"
APPS = json.loads((ROOT / "scripts" / "apps.json").read_text())

# The groups, left to right, and what stands in each from top to bottom; the first holds the rest.
STAGES = {
    "Model and clip": (
        "LIVE_LoadModel",
        "CheckpointLoaderSimple",
        "LIVE_FromComfy",
        "LIVE_DemoClip",
        "LoadVideo",
        "LIVE_FitClip",
    ),
    "Words and photo": (
        "PrimitiveString",
        "CLIPTextEncode",
        "LoadImage",
        "InvertMask",
        "LIVE_BindConcept",
        "ImageFromBatch",
        "SolidMask",
        "MaskComposite",
    ),
    "Method": ("LIVE_MethodFrames", "LIVE_MethodWords", "LIVE_MethodSelf", "LIVE_MethodBlend"),
    "Prepare": (
        "LIVE_Tune",
        "LIVE_SaveTuning",
        "LIVE_AdaptToEdit",
        "LIVE_Invert",
        "LIVE_NullText",
        "LIVE_ChangeMask",
        "SAM3_VideoTrack",
        "SAM3_TrackToMask",
        "GrowMask",
        "LIVE_LocalLatents",
        "InstructPixToPixConditioning",
        "LatentBatchSeedBehavior",
        "RandomNoise",
        "KSamplerSelect",
        "BasicScheduler",
    ),
    "Edit": (
        "LIVE_Edit",
        "LIVE_EditLong",
        "LIVE_Instruct",
        "LIVE_StreamInstruct",
        "LIVE_PaintByExample",
        "DualCFGGuider",
        "SamplerCustomAdvanced",
        "VAEDecode",
    ),
    "Result": ("LIVE_Reconstruct", "LIVE_Composite", "LIVE_Compare", "CreateVideo", "SaveVideo", "SaveImage"),
    "Attention": ("LIVE_Inspect",),
    "Pictures": ("LIVE_Measure", "PreviewImage"),
}


def columns(api: dict) -> dict[str, list[str]]:
    """The nodes of each stage that has any, from top to bottom."""
    places = {
        node: next(
            (
                (stage, kinds.index(entry["class_type"]))
                for stage, kinds in enumerate(STAGES.values())
                if entry["class_type"] in kinds
            ),
            (0, 0),
        )
        for node, entry in api.items()
    }
    found = {
        title: sorted((node for node in api if places[node][0] == stage), key=lambda node: (places[node][1], int(node)))
        for stage, title in enumerate(STAGES)
    }
    return {title: nodes for title, nodes in found.items() if nodes}


# A preview that comes later would cover the next node: the loaders have theirs before they are placed.
PREVIEWS = """() => app.graph.nodes.every(n => {
    if (n.type === 'LoadImage') return n.imgs?.length;
    const isVideo = w => w.element?.querySelector?.('video') ?? w.element?.tagName === 'VIDEO';
    return n.type !== 'LoadVideo' || n.widgets.some(isVideo);
})"""
LAY_OUT = """([columns, text]) => {
    let x = 0;
    const bottoms = Object.entries(columns).map(([title, ids]) => {
        const nodes = ids.map(id => app.graph.getNodeById(id));
        const wide = Math.max(340, ...nodes.map(n => n.size[0]));
        let y = 0;
        for (const n of nodes) {
            const tall = { PreviewImage: 420, LoadVideo: 300, LoadImage: 300, LIVE_Compare: 440 }[n.type] ?? n.size[1];
            n.pos = [x, y];
            n.widgets?.filter(w => w.name === 'control_after_generate').forEach(w => { w.value = 'fixed'; });
            n.setSize([wide, tall]);
            y += tall + (n.type === 'LIVE_Invert' && n !== nodes.at(-1) ? 320 : 100);
        }
        const group = new LiteGraph.LGraphGroup(title);
        group.pos = [x - 20, -80];
        group.size = [wide + 40, y + 20];
        app.graph.add(group);
        x += wide + 70;
        return [x - wide - 70, y];
    });
    const note = LiteGraph.createNode('MarkdownNote');
    app.graph.add(note);
    note.widgets[0].value = text;
    note.title = 'Read me';
    // Under the shorter of the first two columns: the nodes of the others grow while they run.
    const [x0, bottom] = bottoms.slice(0, 2).reduce((a, b) => b[1] < a[1] ? b : a);
    note.pos = [x0 - 20, bottom];
    note.setSize([380, 95 + 0.185 * text.length]);
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
        page.evaluate(LAY_OUT, [columns(api), note])
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
