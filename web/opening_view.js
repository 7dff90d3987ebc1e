// A workflow that was saved without a view of it, as those of LIVE's in Templates, opens at a zoom at which it can be
// read, with its beginning in sight; the page itself would shrink it until all of it is seen, without a word.
import { app } from "../../scripts/app.js";

const READABLE = 10 / 12; // labels are drawn 12 pixels high, and are to be 10
const MARGIN = 8;
const SETTLED = 30; // frames after which the page sets no view of its own any more

let opening = new AbortController(); // of the workflow that was opened last

app.registerExtension({
  name: "LIVE.OpeningView",

  afterConfigureGraph() {
    const { graph } = app;
    opening.abort();
    if (graph.extra?.ds || !graph.nodes.some((node) => node.type.startsWith("LIVE_"))) return;
    open(graph);
  },
});

// The page's own view comes some frames after the graph, how many depends on the way it is opened and on the machine.
// So ours is set until the page has settled, or the user moves it.
function open(graph) {
  const mine = (opening = new AbortController());
  for (const event of ["pointerdown", "wheel", "keydown"])
    window.addEventListener(event, () => mine.abort(), { capture: true, signal: mine.signal });
  const frame = (left) => {
    if (!left) mine.abort();
    if (mine.signal.aborted) return;
    show(bounds([...graph.nodes, ...graph.groups]));
    requestAnimationFrame(() => frame(left - 1));
  };
  requestAnimationFrame(() => frame(SETTLED));
}

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
  const scale = Math.min(1, Math.max(READABLE, fits));
  const x = (free.left - whole.left + MARGIN) / scale - left;
  const y = (free.top - whole.top + MARGIN) / scale - top;
  if (ds.scale === scale && ds.offset[0] === x && ds.offset[1] === y) return;
  ds.scale = scale;
  ds.offset[0] = x;
  ds.offset[1] = y;
  app.canvas.setDirty(true, true);
}
