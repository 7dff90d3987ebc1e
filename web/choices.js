// A choice that shows its own settings, such as Edit Video's method, makes them anew with their defaults each time it
// is taken. On LIVE's nodes one comes back to the values that one left.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "LIVE.Choices",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("LIVE_")) return;
    const { onNodeCreated } = nodeType.prototype;
    const inputs = Object.entries({ ...nodeData.input.required, ...nodeData.input.optional });
    const choices = inputs.filter(([, [type]]) => type === "COMFY_DYNAMICCOMBO_V3").map(([name]) => name);

    nodeType.prototype.onNodeCreated = function () {
      onNodeCreated?.call(this);
      choices.forEach((name) => keepValues(this, name));
    };
  },
});

function keepValues(node, name) {
  const choice = node.widgets?.find((widget) => widget.name === name);
  if (!choice) return;
  const left = {}; // choices and the values of their settings
  const settings = () => node.widgets.filter((widget) => widget.name.startsWith(`${name}.`));

  // A setting is asked for its value when it goes: by then the choice itself is the next one.
  function watch() {
    const kept = (left[choice.value] ??= {});
    for (const widget of settings()) {
      const { onRemove } = widget;
      widget.onRemove = function () {
        kept[widget.name] = widget.value;
        onRemove?.call(this);
      };
    }
  }

  const { callback } = choice;
  choice.callback = function (chosen, ...rest) {
    for (const widget of settings()) widget.value = left[chosen]?.[widget.name] ?? widget.value;
    watch();
    return callback?.call(this, chosen, ...rest);
  };
  watch();
}
