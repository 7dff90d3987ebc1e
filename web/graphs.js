// What stands in the workflows that come with LIVE, which are in English, is shown in the page's language: groups,
// notes, titles of nodes and labels of subgraphs, by web/zh/graphs.json. What is saved, or sent along with a run, has
// the English again, so that a workflow is the same for everyone; what the user has written stays.
import { app } from "../../scripts/app.js";
import { withNames } from "./catalogue.js";
import { isChinese, namesInChinese, translations } from "./messages.js";

let shown = new Map(); // places in the graph that is open -> what stands there, in English and as it is shown

app.registerExtension({
  name: "LIVE.Graphs",

  setup() {
    const { onSerialize } = app.graph;
    app.graph.onSerialize = function (data) {
      onSerialize?.call(this, data);
      for (const { place, owner, key } of texts(data)) {
        const [english, chinese] = shown.get(place) ?? [];
        if (english && owner[key] === chinese) owner[key] = english;
      }
    };
  },

  async beforeConfigureGraph(data) {
    const now = new Map();
    if (isChinese() && nodesOf(data).some((node) => node.type.startsWith("LIVE_"))) {
      const [chinese, names] = await Promise.all([translations("graphs"), namesInChinese()]);
      for (const { place, owner, key } of texts(data)) {
        if (!Object.hasOwn(chinese, owner[key])) continue;
        now.set(place, [owner[key], withNames(chinese[owner[key]], names)]);
        [, owner[key]] = now.get(place);
      }
    }
    shown = now;
  },
});

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
    }
    if (!i) continue;
    yield { place: `${at}/name`, owner: graph, key: "name" };
    for (const slot of [...graph.inputs, ...graph.outputs])
      yield { place: `${at}/label/${slot.id}`, owner: slot, key: "label" };
  }
}
