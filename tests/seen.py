"""What the page draws, measured: how high labels are, and which nodes lie over which."""

from __future__ import annotations

import re

SCREEN = {"width": 1600, "height": 1000}
LABEL = 10  # pixels a label is high at least

# From now on: every text on the canvas with its height in pixels, of the last frame that is asked for.
WATCH_LABELS = """() => {
    window.__labels = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        const { a, b } = this.getTransform();
        const high = parseFloat(/([\\d.]+)px/.exec(this.font)[1]) * Math.hypot(a, b) / (window.devicePixelRatio || 1);
        if (this.canvas.id === 'graph-canvas') window.__labels.push([String(text), high]);
        return fillText.call(this, text, ...place);
    };
}"""
DRAW = "() => { window.__labels.length = 0; app.canvas.setDirty(true, true); }"
# Nodes 2.0 are elements of the page, which the zoom scales. What one writes into a box is no label; nor is the page's
# own caption in a corner of it, 10 pixels high where a node's names are 12.
LABELS_2 = """() => [...document.querySelectorAll('[data-node-id] *')]
    .filter(e => !e.childElementCount && e.textContent.trim() && e.offsetHeight)
    .filter(e => !e.closest('.comfy-markdown-content, textarea, video') && !e.parentElement.querySelector('textarea'))
    .map(e => [e.textContent.trim(), parseFloat(getComputedStyle(e).fontSize) * app.canvas.ds.scale])"""

# In both renderings: title, left, top, right, bottom. The classic one holds videos over the canvas, which a node's own
# height leaves out. A widget that the page has not laid out yet, at y 0, has an element as wide as the page.
BOXES = """window.__boxes = () => app.graph.nodes.map(n => {
    const { scale, offset } = app.canvas.ds;
    const element = document.querySelector(`[data-node-id="${n.id}"]`);
    if (element && LiteGraph.vueNodesMode) {
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return [n.title, ...[left, top, right, bottom].map((v, i) => v / scale - offset[i % 2])];
    }
    const [x, y, wide, tall] = n.boundingRect;
    const bottoms = (n.widgets ?? []).filter(w => w.y && w.element?.offsetHeight && w.element.querySelector?.('video'))
        .map(w => n.pos[1] + w.y + w.element.offsetHeight);
    return [n.title, x, y, x + wide, Math.max(y + tall, ...bottoms)];
})"""
OVERLAPS = """window.__overlapping = () => {
    const boxes = __boxes(), found = [];
    for (const [i, a] of boxes.entries())
        for (const b of boxes.slice(i + 1))
            if (a[1] < b[3] - 1 && b[1] < a[3] - 1 && a[2] < b[4] - 1 && b[2] < a[4] - 1) found.push([a[0], b[0]]);
    return found;
}"""
KEEP_WATCH = """() => {
    const met = window.__met = {};
    setInterval(() => { for (const pair of __overlapping()) met[pair.join(' over ')] = true; }, 100);
}"""


def watch(page) -> None:
    """Before a workflow is opened."""
    page.set_viewport_size(SCREEN)
    page.evaluate(WATCH_LABELS)
    page.evaluate(f"() => {{ {BOXES}; {OVERLAPS}; }}")
    page.evaluate(KEEP_WATCH)


SIZE = re.compile(r"\d+ × \d+")  # of a picture, which Load Image writes below it in a size of its own


def small_labels(page) -> dict[str, float]:
    """Labels that are too small to read, with their heights in pixels, as the page stands; of all if it shows none."""
    if page.evaluate("LiteGraph.vueNodesMode"):
        labels = page.evaluate(LABELS_2)
    else:
        page.evaluate(DRAW)
        page.wait_for_function("__labels.length")
        page.wait_for_timeout(200)
        labels = page.evaluate("__labels")
    titles = set(page.evaluate("app.graph.nodes.map(n => n.title)"))
    assert len(titles & {text for text, _ in labels}) >= min(3, len(titles)), "the page writes no titles"
    return {text: high for text, high in labels if high < LABEL - 0.01 and not SIZE.fullmatch(text)}


def overlaps(page) -> list[str]:
    """Pairs of nodes one of which lay over the other at any time since `watch`, or since this was asked."""
    found = sorted(page.evaluate("__met"))
    page.evaluate("() => { for (const pair in __met) delete __met[pair]; }")
    return found
