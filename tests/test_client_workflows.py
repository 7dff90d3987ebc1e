"""The workflow that a result of the headless client carries: the layout of the page, with the values that were run."""

import json
import sys

import av
import pytest
from client_calls import SETS, client
from conftest import ROOT
from graphs import WORKFLOW


def written_in(path) -> dict:
    with av.open(str(path)) as container:
        return {name: json.loads(value) for name, value in container.metadata.items() if name in ("prompt", "workflow")}


@pytest.fixture(scope="module")
def edited(server, tmp_path_factory):
    """A result of the client with a clip, a photo, prompts and values of one's own."""
    out, case = tmp_path_factory.mktemp("edited"), ROOT / "demo" / "cases" / "box-to-heart"
    done = client(
        WORKFLOW,
        "--clip",
        case / "clip.mp4",
        "--photo",
        case / "photo.png",
        "--prompt",
        "a green box moving on the snow",
        "--edit-prompt",
        "a <thing*> moving on the snow",
        "--set=Bind Photo to Placeholder.initial_word=heart",
        "--set=Edit Video.keep_words=moving",
        "--set=Edit Video.method.guidance_scale=3.25",
        "--seed",
        5,
        "--out",
        out,
        *SETS,
        server=server,
    )
    assert done.returncode == 0 and "cannot follow" not in done.stderr, done.stderr
    return next(out.iterdir())


@pytest.mark.host
def test_results_carry_the_workflow_with_its_values(edited):
    carried = written_in(edited)
    nodes = {node["type"]: node for node in carried["workflow"]["nodes"]}
    assert {"MarkdownNote", "LoadVideo", "LoadImage", "InvertMask"} <= nodes.keys() and len(
        carried["workflow"]["groups"]
    ) > 2
    assert (
        nodes["LIVE_Tune"]["widgets_values"][1:4] == [2, 2, 5]
        and 3.25 in nodes["LIVE_Edit"]["widgets_values"]
        and "moving" in nodes["LIVE_Edit"]["widgets_values"]
    )
    assert {
        node["widgets_values"][0] for node in carried["workflow"]["nodes"] if node["type"] == "PrimitiveString"
    } == {"a green box moving on the snow", "a <thing*> moving on the snow"}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "workflows").glob("*.json")))
def test_every_shipped_workflow_can_follow(name):
    """A clip, photos and a value of each node, one's own: the UI workflow has them where the API one has."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import comfy_graph

    ui, api = (json.loads((ROOT / "workflows" / folder / f"{name}.json").read_text()) for folder in (".", "api"))
    changed = json.loads(json.dumps(api))
    comfy_graph.put_clip(changed, "my clip.mp4", ui["last_node_id"])
    comfy_graph.put_photos(changed, ["my photo.png"] * len(comfy_graph.photo_places(changed)), ui["last_node_id"])
    for node, field, value in (
        ("LIVE_Tune", "clip_steps", 17),
        ("LIVE_Invert", "steps", 19),
        ("PrimitiveString", "value", "my words"),
        ("LIVE_Edit", "method.guidance_scale", 4.25),
    ):
        for entry in changed.values():
            if entry["class_type"] == node and field in entry["inputs"]:
                entry["inputs"][field] = value
    followed = comfy_graph.follow(ui, api, changed)
    links = {link[0]: link for link in followed["links"]}
    assert len({node["id"] for node in followed["nodes"]}) == len(followed["nodes"]) and len(links) == len(
        followed["links"]
    )
    nodes = {str(node["id"]): node for node in followed["nodes"]}
    for i, entry in changed.items():
        assert nodes[i]["type"] == entry["class_type"]
        for field, value in entry["inputs"].items():
            if isinstance(value, list):
                slot = next(slot for slot in nodes[i]["inputs"] if slot["name"] == field)
                assert links[slot["link"]][1:5] == [int(value[0]), value[1], int(i), nodes[i]["inputs"].index(slot)]
                assert slot["link"] in nodes[value[0]]["outputs"][value[1]]["links"]
            elif api.get(i, {"inputs": {}})["inputs"].get(field) != value:
                assert value in nodes[i]["widgets_values"], (i, field)


@pytest.mark.browser
def test_a_result_of_the_client_opens_on_the_page_as_it_was_made(server, edited):
    """Dropped back: the layout, and exported again what was run."""
    import shutil

    from conftest import absent

    chromium = shutil.which("chromium")
    if not chromium:
        absent("no chromium on this machine")
    import page as browser

    with browser.open_page(server.url, chromium) as page:
        browser.drop(page, edited)
        assert browser.complaints(page) == ([], [])
        exported, ui = browser.export(page)
    for node in exported.values():
        node["inputs"].pop("video-preview", None)  # the page's own
    assert {i: node["inputs"] for i, node in exported.items()} == {
        i: node["inputs"] for i, node in written_in(edited)["prompt"].items()
    }
    assert len(ui["groups"]) > 2


@pytest.mark.host
def test_a_workflow_that_cannot_follow_is_left_out_and_that_is_said(server, tmp_path):
    done = client(
        WORKFLOW.with_name("fatezero_style.json"),
        "--set=Edit Video.method=ddim",
        "--set=Invert Video (DDIM).method=ddim",
        "--set=Invert Video (DDIM).steps=2",
        "--out",
        tmp_path,
        server=server,
    )
    assert done.returncode == 0 and "cannot follow these changes" in done.stderr, done.stderr
    assert written_in(next(tmp_path.iterdir())).keys() == {"prompt"}
