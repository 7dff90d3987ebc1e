"""The shipped workflow on the real page: dropped, run, exported."""
import json
import os
import shutil

import pytest
from conftest import ROOT, absent

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json")))
def test_a_shipped_workflow_on_the_page(server, tmp_path, name):
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser
    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, ROOT / "workflows" / f"{name}.json")
        assert browser.complaints(page) == ([], [])
        exported, _ = browser.export(page)
        assert exported == json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
        kinds = {entry["class_type"] for entry in exported.values()}
        photo_steps = 2 if "LIVE_BindConcept" in kinds else 0
        for node, widget, value in (("LIVE_Tune", "clip_steps", 2), ("LIVE_Tune", "photo_steps", photo_steps), ("LIVE_Invert", "steps", 4), ("LIVE_NullText", "inner_steps", 1)):
            if node in kinds:
                browser.set_widget(page, node, widget, value)
        kind, detail = browser.run(page)
        browser.fit(page)
        page.screenshot(path=os.path.join(os.environ.get("LIVE_SCREENSHOTS", tmp_path), f"{name}.png"))
        assert kind == "execution_success", detail
