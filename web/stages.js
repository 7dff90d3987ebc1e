// What each stage of LIVE's took in the last run that it was part of stands above its node: seconds and memory.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isChinese } from "./messages.js";

const marks = new WeakMap(); // nodes and their badges

app.registerExtension({
  name: "LIVE.Stages",

  setup() {
    api.addEventListener("live.stage", ({ detail }) => {
      const node = app.graph.getNodeById(detail.node_id);
      if (!node) return; // inside a subgraph, or of another workflow
      const [seconds, memory] = [detail.seconds.toFixed(1), (detail.bytes / 1e9).toFixed(2)];
      const text = isChinese() ? `${seconds} \u79d2\uff0c${memory} GB` : `${seconds} s, ${memory} GB`;
      const badge = new LGraphBadge({ text, fgColor: "white", bgColor: "#345" });
      node.badges = [...node.badges.filter((other) => other !== marks.get(node)), badge];
      marks.set(node, badge);
      app.canvas.setDirty(true);
    });
  },
});
