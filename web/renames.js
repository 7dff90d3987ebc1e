// A workflow that names a LIVE node as it was called in an earlier release gets the node that has its place now.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "LIVE.Renames",

  async beforeConfigureGraph(graph) {
    const replacements = await (await api.fetchApi("/node_replacements")).json();
    const ours = (replacement) => replacement.new_node_id.startsWith("LIVE_");
    const renames = Object.values(replacements).flat().filter(ours);
    const now = new Map(renames.map((replacement) => [replacement.old_node_id, replacement.new_node_id]));
    for (const nodes of [graph.nodes, ...(graph.definitions?.subgraphs ?? []).map((subgraph) => subgraph.nodes)])
      for (const node of nodes ?? []) node.type = now.get(node.type) ?? node.type;
  },
});
