// A workflow that was saved without a view of it, as those of LIVE's in Templates, opens at a zoom at which it can be
// read, with its beginning in sight; the page itself would shrink it until all of it is seen, without a word.
import { app } from "../../scripts/app.js";

const READABLE = 10 / 12; // labels are drawn 12 pixels high, and are to be 10
const MARGIN = 8;

app.registerExtension({
  name: "LIVE.OpeningView",

  afterConfigureGraph() {
    const { graph } = app;
    if (graph.extra?.ds || !graph.nodes.some((node) => node.type.startsWith("LIVE_"))) return;
    // After the page's own view, which some ways to open a workflow set in the next frame.
    requestAnimationFrame(() => requestAnimationFrame(() => show(bounds([...graph.nodes, ...graph.groups]))));
  },
});

function bounds(items) {
  const boxes = items.map((item) => item.boundingRect);
  const left = Math.min(...boxes.map((box) => box[0]));
  const top = Math.min(...boxes.map((box) => box[1]));
  const right = Math.max(...boxes.map((box) => box[0] + box[2]));
  const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
  return { left, top, width: right - left, height: bottom - top };
}

function show({ left, top, width, height }) {
  const { canvas, ds } = app.canvas;
  const whole = canvas.getBoundingClientRect();
  const free = document.querySelector(".graph-canvas-panel")?.getBoundingClientRect() ?? whole;
  const fits = Math.min((free.width - 2 * MARGIN) / width, (free.height - 2 * MARGIN) / height);
  ds.scale = Math.min(1, Math.max(READABLE, fits));
  ds.offset[0] = (free.left - whole.left + MARGIN) / ds.scale - left;
  ds.offset[1] = (free.top - whole.top + MARGIN) / ds.scale - top;
  app.canvas.setDirty(true, true);
}
