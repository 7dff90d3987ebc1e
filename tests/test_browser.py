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

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json") if not path.stem.startswith("app_"))
)
def test_a_shipped_workflow_on_the_page(server, tmp_path, models_of_one_s_own, name):
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
        kinds = {entry["class_type"] for entry in exported.values()}
        photo_steps = 2 if "LIVE_BindConcept" in kinds else 0
        for node, widget, value in (
            ("LIVE_Tune", "clip_steps", 2),
            ("LIVE_Tune", "photo_steps", photo_steps),
            ("LIVE_Invert", "steps", 4),
            ("LIVE_NullText", "inner_steps", 1),
            ("LIVE_PaintByExample", "steps", 2),
            ("LIVE_Inpaint", "steps", 2),
            ("LIVE_AdaptToEdit", "steps", 2),
            ("LIVE_AdaptToEdit", "edit_steps", 2),
        ):
            if node in kinds:
                browser.set_widget(page, node, widget, value)
        if name in own_models.STAND_INS:
            _, widget, model = own_models.STAND_INS[name]
            browser.set_widget(page, "LIVE_LoadModel", widget, model)
        kind, detail = browser.run(page)
        pictures = os.environ.get("LIVE_SCREENSHOTS", tmp_path)
        page.screenshot(path=os.path.join(pictures, f"{name}.png"))
        assert kind == ("execution_error" if name in own_models.NAMED else "execution_success"), detail
        assert seen.overlaps(page) == []
        browser.render_as_nodes_2(page, True)
        page.screenshot(path=os.path.join(pictures, f"{name}-2.png"))
        assert seen.small_labels(page) == {}
        assert seen.overlaps(page) == [] or kind == "execution_error"  # a node that failed has a line more there


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

    async def result(client):
        _, history = await client.json("GET", f"/history/{detail['prompt_id']}")
        return io.BytesIO(await client.fetch(history[detail["prompt_id"]]["outputs"]["11"]["images"][0]))

    made = talk(result)
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
