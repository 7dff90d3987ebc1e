// What stands in the workflows that come with LIVE, which are in English, is shown in the page's language: groups,
// notes, titles of nodes and labels of subgraphs, by web/zh/graphs.json. What is saved, or sent along with a run, has
// the English again, so that a workflow is the same for everyone; what the user has written stays.
import { app } from "../../scripts/app.js";
import { withNames } from "./catalogue.js";
import { isChinese, namesInChinese, translations } from "./messages.js";

let chinese = null; // of each text, while the page is in Chinese
let shown = new Map(); // places in the graph that is open -> what stands there, in English and as it is shown

app.registerExtension({
  name: "LIVE.Graphs",

  setup() {
    const { onSerialize, onNodeAdded } = app.graph;
    app.graph.onSerialize = function (data) {
      onSerialize?.call(this, data);
      for (const { place, owner, key } of texts(data)) {
        const [english, inChinese] = shown.get(place) ?? [];
        if (english && owner[key] === inChinese) owner[key] = english;
      }
    };
    // A blueprint comes alone, and has its labels once it has been added.
    app.graph.onNodeAdded = function (node) {
      onNodeAdded?.call(this, node);
      if (node.subgraph) setTimeout(() => show({ nodes: [node], definitions: { subgraphs: [node.subgraph] } }));
    };
  },

  async beforeConfigureGraph(data) {
    chinese = isChinese() ? await readTexts() : null;
    shown = new Map();
    show(data);
  },
});

async function readTexts() {
  const [all, names] = await Promise.all([translations("graphs"), namesInChinese()]);
  return Object.fromEntries(Object.entries(all).map(([english, text]) => [english, withNames(text, names)]));
}

function show(data) {
  if (!chinese || !nodesOf(data).some((node) => node.type.startsWith("LIVE_"))) return;
  for (const { place, owner, key } of texts(data)) {
    if (!Object.hasOwn(chinese, owner[key])) continue;
    shown.set(place, [owner[key], chinese[owner[key]]]);
    owner[key] = chinese[owner[key]];
  }
  app.canvas?.setDirty(true, true);
}

function graphsOf(data) {
  return [data, ...(data.definitions?.subgraphs ?? [])];
}

function nodesOf(data) {
  return graphsOf(data).flatMap((graph) => graph.nodes ?? []);
}

// Every text of a saved graph: its place, and where it is kept.
function* texts(data) {
  for (const [i, graph] of graphsOf(data).entries()) {
    const at = i ? graph.id : "";
    for (const group of graph.groups ?? []) yield { place: `${at}/group/${group.id}`, owner: group, key: "title" };
    for (const node of graph.nodes ?? []) {
      yield { place: `${at}/title/${node.id}`, owner: node, key: "title" };
      if (/^(Markdown)?Note$/.test(node.type) && node.widgets_values)
        yield { place: `${at}/note/${node.id}`, owner: node.widgets_values, key: 0 };
      yield* labels(node, `${at}/${node.id}`);
      // Those of a node on the page, which has them beside the inputs.
      for (const widget of node.widgets ?? []) yield { place: `${at}/widget/${node.id}`, owner: widget, key: "label" };
    }
    if (!i) continue;
    yield { place: `${at}/name`, owner: graph, key: "name" };
    yield* labels(graph, at);
  }
}

// An output of a subgraph that has no label is shown by its name in the language of whoever made it.
function* labels({ inputs, outputs }, at) {
  const shownAs = (slot) => (slot.label ? "label" : "localized_name");
  for (const slot of inputs ?? []) yield { place: `${at}/input/${slot.name}`, owner: slot, key: "label" };
  for (const slot of outputs ?? []) yield { place: `${at}/output/${slot.name}`, owner: slot, key: shownAs(slot) };
}
