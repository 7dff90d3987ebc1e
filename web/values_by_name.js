// The page saves a node's values in the order of its inputs, without names: once an input is added, or a method gets
// one more setting, every value after it would land in its neighbour's place. LIVE's nodes save the names too. A
// workflow of 0.1 has none: its values are those of the inputs that were there then; the later ones say `since`. An
// input that a graph lacks is as a fresh node has it, unless it says what graphs had without it: `absent`.
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
      const given = names ? setByName(this.widgets, names, values) : setInOrder(this.widgets, values, nodeData.input);
      setAbsent(this.widgets, given, nodeData.input);
      configure.call(this, { ...data, widgets_values: this.widgets.filter(isSaved).map((widget) => widget.value) });
    };
  },

  // A file in ComfyUI's API format names its values, and is opened without `configure`; by later pages not at once.
  setup() {
    const { loadApiJson } = app;
    app.loadApiJson = async function (prompt, ...rest) {
      const loaded = await loadApiJson.call(this, prompt, ...rest);
      for (const [id, { class_type: type, inputs }] of Object.entries(prompt)) {
        const node = app.rootGraph.getNodeById(id);
        const input = node?.constructor.nodeData?.input;
        if (type.startsWith("LIVE_") && input) setAbsent(node.widgets ?? [], new Set(Object.keys(inputs)), input);
      }
      return loaded;
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
  return new Set(names);
}

function setInOrder(widgets, values, input) {
  const given = new Set();
  let i = 0;
  // `widgets` grows while it is read, where a choice shows its settings.
  for (const widget of widgets) {
    if (i === values.length) break;
    if (!isSaved(widget) || optionsOf(widgets, widget.name, input)?.since !== undefined) continue;
    widget.value = values[i++];
    given.add(widget.name);
  }
  return given;
}

function setAbsent(widgets, given, input) {
  for (const widget of widgets) {
    const absent = given.has(widget.name) ? undefined : optionsOf(widgets, widget.name, input)?.absent;
    if (absent !== undefined) widget.value = absent;
  }
}

// What the schema says of an input: its default and limits, `since` where it came after 0.1, and `absent`. `name` is
// "input", or "choice.setting".
function optionsOf(widgets, name, input) {
  const [outer, inner] = name.split(".");
  const options = { ...input.required, ...input.optional }[outer]?.[1];
  if (!inner) return options;
  const chosen = widgets.find((widget) => widget.name === outer).value;
  const shown = options?.options.find((option) => option.key === chosen)?.inputs ?? {};
  return { ...shown.required, ...shown.optional }[inner]?.[1];
}
