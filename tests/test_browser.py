"""The shipped workflow on the real page: dropped, run, exported."""
import json
import os
import shutil

import pytest
from conftest import ROOT, absent

pytestmark = pytest.mark.browser


def test_the_shipped_workflow_on_the_page(server, tmp_path):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser
    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, ROOT / "workflows" / "live_image_driven_edit.json")
        assert browser.complaints(page) == ([], [])
        exported, _ = browser.export(page)
        assert exported == json.loads((ROOT / "workflows" / "api" / "live_image_driven_edit.json").read_text())
        for node, widget, value in (("LIVE_Tune", "clip_steps", 2), ("LIVE_Tune", "photo_steps", 2), ("LIVE_Invert", "steps", 4)):
            browser.set_widget(page, node, widget, value)
        kind, detail = browser.run(page)
        browser.fit(page)
        page.screenshot(path=os.environ.get("LIVE_SCREENSHOT", str(tmp_path / "page.png")))
        assert kind == "execution_success", detail
