"""The shipped workflow on the real page: dropped, looked at in both renderings, run, exported."""

import io
import json
import os
import shutil

import own_models
import pytest
import seen
import videos
from conftest import ROOT, absent
from graphs import shortened

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json") if not path.stem.startswith("app_"))
)
def test_a_shipped_workflow_on_the_page(server, talk, tmp_path, models_of_one_s_own, name):
    """It is the graph in workflows/api, so a headless run of that is this one; with a stand-in for a model that does
    not ship, and where there is none, to the loader of it."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        seen.watch(page)
        browser.drop(page, ROOT / "workflows" / f"{name}.json")
        assert browser.complaints(page) == ([], [])
        assert (seen.small_labels(page), seen.overlaps(page)) == ({}, [])
        exported, _ = browser.export(page)
        assert exported == json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
        for change in shortened(exported):
            browser.set_widget(page, *change)
        if name in own_models.STAND_INS:
            _, widget, model = own_models.STAND_INS[name]
            browser.set_widget(page, "LIVE_LoadModel", widget, model)
        kind, detail = browser.run(page)
        pictures = os.environ.get("LIVE_SCREENSHOTS", tmp_path)
        page.screenshot(path=os.path.join(pictures, f"{name}.png"))
        if name in own_models.NAMED:
            assert (kind, detail["node_type"]) == ("execution_error", "CheckpointLoaderSimple"), detail
        else:
            assert kind == "execution_success", detail
        assert seen.overlaps(page) == []
        browser.render_as_nodes_2(page, True)
        page.screenshot(path=os.path.join(pictures, f"{name}-2.png"))
        assert seen.small_labels(page) == {}
        assert seen.overlaps(page) == [] or kind == "execution_error"  # a node that failed has a line more there
    if kind == "execution_success":
        assert outputs_of(talk, detail["prompt_id"])["11"]["images"]


def outputs_of(talk, prompt: str) -> dict:
    """Node -> what it put out, of a prompt that was run."""
    _, history = talk(lambda c: c.json("GET", f"/history/{prompt}"))
    return history[prompt]["outputs"]


def test_a_clip_with_sound_of_one_s_own_on_the_page(server, talk, tmp_path):
    """In the workflow for one's own material, by its two uploads alone: rate and sound are those of the clip."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    clip = videos.write(tmp_path / "sounding.mp4", videos.pictures(6, 64, 64), 24, tone=0.25)
    photo = ROOT / "demo" / "cases" / "box-to-heart" / "photo.png"
    changes = (
        ("LoadVideo", "file", talk(lambda c: c.upload(clip))),
        ("LoadImage", "image", talk(lambda c: c.upload(photo))),
        ("LIVE_Tune", "clip_steps", 2),
        ("LIVE_Tune", "photo_steps", 2),
        ("LIVE_Invert", "steps", 4),
    )
    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, ROOT / "workflows" / "live_stable_diffusion.json")
        for node, widget, value in changes:
            browser.set_widget(page, node, widget, value)
        kind, detail = browser.run(page)
    assert kind == "execution_success", detail

    file = outputs_of(talk, detail["prompt_id"])["11"]["images"][0]
    made = io.BytesIO(talk(lambda c: c.fetch(file)))
    sound, rate = videos.sound_of(made)
    assert (
        videos.rate_of(made) == 24
        and rate == 48000
        and len(sound) == pytest.approx(0.25 * 48000, abs=2048)
        and abs(sound).max() > 0.3
    )


def test_what_the_page_complains_of_is_seen(server, tmp_path):
    """A workflow whose model is not there; without this the test above could pass by not looking."""
    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    node = {
        "id": 1,
        "type": "CheckpointLoaderSimple",
        "pos": [0, 0],
        "size": [300, 100],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [{"name": "MODEL", "type": "MODEL", "links": None}],
        "properties": {},
        "widgets_values": ["absent.safetensors"],
    }
    (tmp_path / "absent.json").write_text(
        json.dumps({"nodes": [node], "links": [], "version": 0.4, "last_node_id": 1, "last_link_id": 0})
    )
    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, tmp_path / "absent.json")
        unknown, (complaint,) = browser.complaints(page)
    assert not unknown and "absent.safetensors is missing" in complaint
