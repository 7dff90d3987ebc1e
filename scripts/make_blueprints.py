"""Make the subgraph blueprints that ComfyUI offers beside nodes, of the API workflows, with the real ComfyUI page:
blueprints.json -> subgraphs/*.json.

    make workflows        # or: $COMFYUI_PYTHON scripts/make_blueprints.py

A blueprint is one node outside and the nodes `inside` of its workflow within. `inputs`: what the page calls them ->
their labels; what is a text or a number in the workflow stands on the node as a widget.
"""

import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
import page as browser  # noqa: E402
from headless import Server  # noqa: E402

BLUEPRINTS = json.loads((ROOT / "scripts" / "blueprints.json").read_text())

# Subgraphs have a socket for each link that comes in; its widget shows what stood before it.
TO_SUBGRAPH = """([name, inside, labels]) => {
    const graph = app.graph;
    const { subgraph, node } = graph.convertToSubgraph(new Set(graph.nodes.filter(n => inside.includes(n.type))));
    subgraph.name = node.title = name;
    for (const input of [...subgraph.inputs]) {
        const label = labels[input.name];
        if (label === undefined) { subgraph.removeInput(input); continue; }
        input.label = label;
    }
    const typed = node.inputs.map(input => [input.name, graph.getNodeById(graph.links.get(input.link)?.origin_id)]);
    for (const n of [...graph.nodes]) if (n !== node) graph.remove(n);
    for (const [input, before] of typed) {
        const widget = node.widgets.find(w => w.name === input);
        if (widget && before?.type.startsWith('Primitive')) widget.value = before.widgets[0].value;
    }
    for (const input of node.inputs) input.label = labels[input.name] ?? input.label;
    for (const w of node.widgets) w.label = labels[w.name] ?? w.label;
    for (const group of [...graph.groups]) graph.remove(group);
    node.pos = [0, 0];
    node.setSize(node.computeSize());
    return [subgraph.inputs.map(i => i.name), node.widgets.map(w => [w.name, w.value])];
}"""


def opened(api: dict, blueprint: dict) -> dict:
    """The workflow with a node before each text and number that becomes an input."""
    nodes = dict(api)
    for entry in api.values():
        if entry["class_type"] in blueprint["inside"]:
            for name in blueprint["inputs"]:
                kind = kind_of(name, entry["inputs"].get(name))
                if kind is not None:
                    number = str(max(map(int, nodes)) + 1)
                    inputs = {"value": entry["inputs"][name]}
                    nodes[number] = {"class_type": kind, "inputs": inputs, "_meta": {"title": name}}
                    entry["inputs"][name] = [number, 0]
    return nodes


def kind_of(name: str, value: object) -> str | None:
    """The node that holds such a value; None for a link."""
    if isinstance(value, str):
        return "PrimitiveString"
    if isinstance(value, int | float):
        return "PrimitiveInt" if name == "seed" else "PrimitiveFloat"
    return None


def make(url: str, name: str, blueprint: dict) -> None:
    api = json.loads((ROOT / "workflows" / "api" / f"{blueprint['workflow']}.json").read_text())
    graph = opened(api, blueprint)
    with browser.open_page(url, shutil.which("chromium")) as page:
        page.evaluate("([api, name]) => app.loadApiJson(api, name)", [graph, name])
        page.wait_for_function("n => app.graph.nodes.length === n", arg=len(graph))
        made = page.evaluate(TO_SUBGRAPH, [name, blueprint["inside"], blueprint["inputs"]])
        _, ui = browser.export(page)
    ui["extra"] = {
        "BlueprintDescription": blueprint["description"],
        "BlueprintSearchAliases": blueprint["aliases"],
    }
    (ROOT / "subgraphs" / f"{name}.json").write_text(json.dumps(ui, indent=1) + "\n")
    print(name, made)


def main() -> None:
    (ROOT / "subgraphs").mkdir(exist_ok=True)
    with Server(ROOT) as server:
        for name, blueprint in BLUEPRINTS.items():
            make(server.url, name, blueprint)


if __name__ == "__main__":
    main()
