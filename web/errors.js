// What a node of LIVE's cannot do as it was asked, it says in a sentence that names the input and what would work. The
// page itself says only that a node failed, and keeps the sentence behind "View details"; here it is shown at once,
// until the next run.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { nodeOf } from "./messages.js";

app.registerExtension({
  name: "LIVE.Errors",

  setup() {
    const { toast } = app.extensionManager;
    const shown = [];

    api.addEventListener("execution_start", () => shown.splice(0).forEach((message) => toast.remove(message)));
    api.addEventListener("execution_error", ({ detail }) => {
      if (!detail.node_type?.startsWith("LIVE_")) return;
      const title = nodeOf(detail.node_id)?.title ?? detail.node_type;
      const message = { severity: "error", summary: title, detail: detail.exception_message.trim() };
      shown.push(message);
      toast.add(message);
    });
  },
});
