// What a node said when its outputs were made holds for them when they come from ComfyUI's cache: it is sent again with
// "executed", which the page itself shows of its own nodes alone. It goes when the node runs again, and not before:
// later pages take what was said away when a run ends.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const said = new Map(); // ids of nodes that show text -> the text
const ENDS = ["execution_success", "execution_error", "execution_interrupted"];

function show(nodeId, text) {
  api.dispatchCustomEvent("progress_text", { nodeId, text });
}

app.registerExtension({
  name: "LIVE.Notes",

  setup() {
    api.addEventListener("executing", ({ detail }) => said.delete(String(detail)) && show(String(detail), " "));
    const showAgain = () => requestAnimationFrame(() => said.forEach((text, nodeId) => show(nodeId, text)));
    for (const end of ENDS) api.addEventListener(end, showAgain);
  },

  afterConfigureGraph() {
    said.clear(); // another graph's nodes have the same ids
  },

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("LIVE_")) return;
    const { onExecuted } = nodeType.prototype;

    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.call(this, output);
      const notes = new Set(output?.notes);
      const lines = (output?.text ?? []).map((text) => (notes.has(text) ? `\u26a0 ${text}` : text));
      const text = lines.join("\n").replaceAll("<", "<\u2060"); // no HTML, as nodes/host/page.py sends it
      if (!text) return;
      said.set(String(this.id), text);
      show(String(this.id), text);
    };
  },
});
