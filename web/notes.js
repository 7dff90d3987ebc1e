// What a node said when its outputs were made holds for them when they come from ComfyUI's cache: it is sent again with
// "executed", which the page itself shows of its own nodes alone.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "LIVE.Notes",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("LIVE_")) return;
    const { onExecuted } = nodeType.prototype;

    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.call(this, output);
      const notes = new Set(output?.notes);
      const lines = (output?.text ?? []).map((text) => (notes.has(text) ? `\u26a0 ${text}` : text));
      const text = lines.join("\n").replaceAll("<", "<\u2060"); // no HTML, as nodes/host/page.py sends it
      if (text) api.dispatchCustomEvent("progress_text", { nodeId: String(this.id), text });
    };
  },
});
