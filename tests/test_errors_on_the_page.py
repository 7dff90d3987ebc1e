"""What a node cannot do is read on the real page at once, without opening anything."""

import shutil

import pytest
from conftest import ROOT, absent

pytestmark = pytest.mark.browser


def test_the_sentence_is_shown_at_once_and_goes_with_the_next_run(server):
    """Named by its node and its input, with no class and no path before it; and what is sent with it is short."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, ROOT / "workflows" / "live_image_driven_edit.json")
        browser.set_widget(page, "LIVE_BindConcept", "placeholder", "ball")
        kind, detail = browser.run(page)
        assert (kind, detail["exception_type"]) == ("execution_error", "LiveError")
        assert len(str(detail["current_inputs"]["model"])) < 100
        toast = page.locator(".p-toast-message:visible")
        toast.wait_for()
        title, sentence = toast.inner_text().strip().split("\n")
        assert title == "Bind Photo to Placeholder" and sentence.startswith("placeholder: 'ball' is already a token")
        browser.run(page)
        page.wait_for_function("document.querySelectorAll('.p-toast-message').length === 1")
