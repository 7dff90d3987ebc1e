// The page saves a node's values in the order of its inputs, without names: once an input is added, or a method gets
// one more setting, every value after it would land in its neighbour's place. LIVE's nodes save the names too. A
// workflow of 0.1 has none: its values are those of the inputs that were there then; the later ones say `since`.
import { app } from "../../scripts/app.js";

const NAMES = "LIVE inputs";

app.registerExtension({
  name: "LIVE.ValuesByName",

  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("LIVE_")) return;
    const { configure, onSerialize } = nodeType.prototype;

    nodeType.prototype.onSerialize = function (data) {
      onSerialize?.call(this, data);
      const names = (this.widgets ?? []).map((widget) => (isSaved(widget) ? widget.name : null));
      data.properties = { ...data.properties, [NAMES]: names };
    };

    nodeType.prototype.configure = function (data) {
      const values = data.widgets_values;
      if (!Array.isArray(values) || !this.widgets?.length) return configure.call(this, data);
      const names = data.properties?.[NAMES];
      if (names) setByName(this.widgets, names, values);
      else setInOrder(this.widgets, values, nodeData.input);
      configure.call(this, { ...data, widgets_values: this.widgets.filter(isSaved).map((widget) => widget.value) });
    };
  },
});

function isSaved(widget) {
  return widget.serialize !== false;
}

// A choice comes before what it shows, so setting it makes the widgets of the names that follow.
function setByName(widgets, names, values) {
  names.forEach((name, i) => {
    const widget = name && widgets.find((widget) => widget.name === name);
    if (widget) widget.value = values[i];
  });
}

function setInOrder(widgets, values, input) {
  let i = 0;
  // `widgets` grows while it is read, where a choice shows its settings.
  for (const widget of widgets) {
    if (i === values.length) return;
    if (isSaved(widget) && !isLater(widgets, widget.name, input)) widget.value = values[i++];
  }
}

// Whether the input came after 0.1. `name` is "input", or "choice.setting".
function isLater(widgets, name, input) {
  const [outer, inner] = name.split(".");
  let options = { ...input.required, ...input.optional }[outer]?.[1];
  if (inner) {
    const chosen = widgets.find((widget) => widget.name === outer).value;
    const shown = options?.options.find((option) => option.key === chosen)?.inputs ?? {};
    options = { ...shown.required, ...shown.optional }[inner]?.[1];
  }
  return options?.since !== undefined;
}
