"""The real ComfyUI page in Chromium: open it, drop a workflow on it, run, export."""

from __future__ import annotations

import base64
import contextlib
import json
import mimetypes
import pathlib

from playwright.sync_api import sync_playwright

# no-sandbox: root. The rest keeps Chromium from calling home on a closed network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@contextlib.contextmanager
def open_page(url: str, chromium: str):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1800, "height": 1000})
        page.goto(url, timeout=120_000)
        # Acting before the start-up spinner is gone leaves its mask over the page for good.
        page.wait_for_function(
            "window.app?.vueAppReady && app.graph && app.extensionManager.spinner === false &&"
            " !document.querySelector('.p-blockui-mask')",
            timeout=120_000,
        )
        # The page starts with ComfyUI's own workflow, whose models are not here: its overlay of errors must not be
        # taken for ours.
        page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")  # kept by the server
        page.wait_for_function(
            "!app.graph.nodes.length && !document.querySelector('[data-testid=error-overlay]')", timeout=60_000
        )
        listen(page)
        yield page
        browser.close()


def listen(page) -> None:
    """Keep how runs end, for `run`; again after the page was loaded anew."""
    page.evaluate(
        """() => {
            window.__events = [];
            for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
                app.api.addEventListener(kind, e => __events.push([kind, e.detail]));
        }"""
    )


def drop(page, path: pathlib.Path) -> None:
    """Drag a file from the desktop onto the canvas; returns when the graph has been replaced."""
    files = page.evaluate_handle(
        """([name, bytes, type]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, {type}));
            return data;
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode(), mimetypes.guess_type(path.name)[0]],
    )
    page.evaluate("() => { window.__old = app.graph.nodes[0] ?? null }")
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("#graph-canvas", event, {"dataTransfer": files, "clientX": 800, "clientY": 450})
    page.wait_for_function("app.graph.nodes.length && app.graph.nodes[0] !== window.__old")
    page.wait_for_timeout(1000)  # the page looks for missing models and files after that


def complaints(page) -> tuple[list[str], list[str]]:
    """Node types the page does not know, and the text of any dialog, error overlay or toast on show."""
    unknown = page.evaluate(
        "app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"
    )
    seen = page.locator(
        "[role=dialog]:visible, [data-testid=error-overlay]:visible, [data-testid=missing-node-card]:visible,"
        " .p-toast-message:visible"
    )
    return unknown, seen.all_inner_texts()


def set_widget(page, node_type: str, widget: str, value) -> None:
    page.evaluate(
        "([t, w, v]) => { app.graph.nodes.find(n => n.type === t).widgets.find(x => x.name === w).value = v }",
        [node_type, widget, value],
    )


def run(page, button=None, timeout: float = 300) -> list:
    """Press Run, or App mode's `button`; the event that ended the run: [kind, detail]."""
    page.evaluate("__events.length = 0")
    (button or page.get_by_test_id("queue-button")).click()
    page.wait_for_function("__events.length", timeout=timeout * 1000)
    return page.evaluate("__events[0]")


def export(page) -> tuple[dict, dict]:
    """(API format, UI format), as the page itself makes them; through JSON, so that undefined keys stay away."""
    both = json.loads(page.evaluate("async () => JSON.stringify(await app.graphToPrompt())"))
    return both["output"], both["workflow"]


def render_as_nodes_2(page, on: bool) -> None:
    """Turn the page to Nodes 2.0 or back to the classic rendering."""
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", on)
    nodes = "on => document.querySelectorAll('[data-node-id]').length >= (on ? app.graph.nodes.length : 0)"
    page.wait_for_function(nodes, arg=on)
    page.wait_for_timeout(1500)  # sizes follow what is drawn


def fit(page) -> None:
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.wait_for_timeout(800)
