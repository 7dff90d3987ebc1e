"""How much of a workflow is seen when it opens: at a zoom at which it can be read, in a window of any shape, however it
is opened.
"""

import json
import shutil

import pytest
from conftest import ROOT, absent

pytestmark = pytest.mark.browser
OPEN = "async ([graph, name, by]) => { await app.loadGraphData(graph, true, true, name, { openSource: by }); }"
ZOOM = "() => app.canvas.ds.scale"
LEAST = 0.8  # of a label's 12 pixels nearly 10 are left


def test_the_highest_workflow_opens_readable(server):
    """live_minute, with its node that is higher than a screen."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    name = "live_minute"
    graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text())
    with browser.open_page(server.url, chromium) as page:
        for width, height in ((1600, 1000), (1000, 1600)):
            page.set_viewport_size({"width": width, "height": height})
            for by in ("file_drop", "template"):
                page.evaluate(OPEN, [graph, name, by])
                page.wait_for_timeout(3000)
                assert page.evaluate(ZOOM) >= LEAST, (by, width, height)
        page.evaluate("() => { app.canvas.ds.scale = 0.4 }")  # the view is then the user's
        page.wait_for_timeout(500)
        assert page.evaluate(ZOOM) == 0.4
