// A text of several lines has no label on its node: while it is empty the page writes the input's id into it. On LIVE's
// nodes it is the input's name, in the language of the page.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "LIVE.Placeholders",

  nodeCreated(node) {
    if (!node.comfyClass.startsWith("LIVE_")) return;
    for (const { element, name, label } of node.widgets ?? [])
      if (element?.placeholder === name && label) element.placeholder = label;
  },
});
