"""What the headless client takes and leaves: names, words, sound, workflows, batches."""

import json
import subprocess
import sys
from pathlib import PurePosixPath, PureWindowsPath

import av
import hostile
import pytest
import videos
from conftest import ROOT
from graphs import FEW, FIRST_RELEASE, WORKFLOW
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

SETS = [f"--set={target}={value}" for target, value in FEW.items()]
NAMES = [
    "../outside.png",
    "/etc/outside.png",
    "..\\outside.png",
    "C:\\outside.png",
    "C:outside.png",
    "a/../../outside.png",
    "..",
    ".",
    "",
    "~/outside.png",
    "nul.png",
    "a\x00b.png",
    "--out.png",
    ".hidden",
    "linked.png",
]


def client(*arguments, server=None, **options):
    there = [] if server is None else ["--server", getattr(server, "url", server), "--quiet"]
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "headless.py"), "run", *map(str, arguments), *there],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.fixture
def graph(tmp_path):
    """Writes an API graph; its path."""

    def write(name="graph.json", **nodes):
        (tmp_path / name).write_text(
            json.dumps(
                {
                    i: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
                    for i, (kind, inputs) in nodes.items()
                }
            )
        )
        return tmp_path / name

    return write


def fitting(frames: int = 24) -> dict:
    """A graph for one's own clip, which needs no model."""
    return {
        "1": ("LoadVideo", {"file": "live_demo_clip.mp4"}),
        "2": ("LIVE_FitClip", {"video": ["1", 0], "frames": frames}),
        "3": ("CreateVideo", {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}),
        "4": ("SaveVideo", {"video": ["3", 0], "filename_prefix": "fitted", "format": "mp4", "codec": "h264"}),
    }


# ------------------------------------------------------------------------------------------------------------ names
@given(st.text() | st.sampled_from(NAMES))
def test_any_name_becomes_one_in_the_folder(comfy, name):
    kept = comfy.local_name(name)
    assert kept and kept not in (".", "..") and len(kept) <= 200 and not kept.startswith("-")
    for flavour in (PurePosixPath, PureWindowsPath):
        assert flavour(kept).name == kept and not flavour(kept).is_absolute()


def test_a_server_s_names_stay_in_the_folder(tmp_path, graph):
    """Whatever they are, by a link that lies there too; each file under a name of its own."""
    out, outside = tmp_path / "a" / "b" / "out", tmp_path / "outside.png"
    out.mkdir(parents=True)
    outside.write_text("mine")
    (out / "linked.png").symlink_to(outside)
    before = {path for path in tmp_path.rglob("*") if out not in path.parents} | {graph(**{"1": ("Anything", {})})}
    names = [name for name in NAMES if "\x00" not in name]
    with hostile.serving(names, ("said",)) as url:
        done = client(tmp_path / "graph.json", "--out", out, server=url)
    assert done.returncode == 0, done.stderr
    assert {path for path in tmp_path.rglob("*") if out not in path.parents} == before and outside.read_text() == "mine"
    made = {path.read_text() for path in out.iterdir()}
    assert made == set(names) and not (out / "linked.png").is_symlink() and done.stdout.splitlines()[-1] == "said"


# ------------------------------------------------------------------------------------------------------------ what is
# said
@pytest.mark.host
def test_notes_go_to_stderr_and_texts_to_stdout(server, tmp_path, graph):
    clip = videos.write(tmp_path / "mine.mp4", videos.pictures(12))
    done = client(
        graph(
            **fitting(8),
            **{
                "5": (
                    "LIVE_Measure",
                    {"images": ["2", 0], "edited": ["2", 0], "clip_folder": "none", "prompt": "", "source_prompt": ""},
                )
            },
        ),
        "--clip",
        clip,
        "--out",
        tmp_path / "out",
        server=server,
    )
    assert done.returncode == 0, done.stderr
    assert "| PSNR |" in done.stdout and "the first 8 of 12" in done.stderr and "the first 8" not in done.stdout
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".mp4"]
    done = client(
        tmp_path / "graph.json",
        "--clip",
        clip,
        "--out",
        tmp_path / "out",
        "--json",
        "--set",
        "LIVE_FitClip.frames=6",
        server=server,
    )
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert (
        told["outcome"] == "success"
        and told["clip"] == str(clip)
        and "PSNR" in told["texts"][0]
        and "the first 6" in told["notes"][0]
    )
    assert len(told["files"]) == 1 and told["seconds"] > 0


@pytest.mark.host
def test_an_upload_over_the_server_s_limit(comfy, comfyui, tmp_path, graph):
    (tmp_path / "large.mp4").write_bytes(bytes(3 << 20))
    with comfy.Server(ROOT, ("--max-upload-size", "1")) as own:
        done = client(graph(**fitting()), "--clip", tmp_path / "large.mp4", server=own)
    assert done.returncode == 2 and "large.mp4: 3.0 MB" in done.stderr and "--max-upload-size" in done.stderr, (
        done.stderr
    )


# ------------------------------------------------------------------------------------------------------------ sound
@pytest.mark.host
@pytest.mark.parametrize(
    "workflow",
    [ROOT / "workflows" / "api" / "live_stable_diffusion.json", WORKFLOW, FIRST_RELEASE / "api" / WORKFLOW.name],
    ids=["own", "demo", "first release"],
)
def test_sound_and_rate_are_kept(server, tmp_path, workflow):
    clip = videos.write(tmp_path / "mine.mp4", videos.pictures(6, 64, 64), 24, tone=0.25)
    photo = Image.new("RGBA", (64, 64), (200, 30, 30, 255))
    photo.paste((0, 0, 0, 0), (0, 0, 20, 64))
    photo.paste((240, 240, 240, 255), (40, 0, 64, 64))
    photo.save(tmp_path / "cut-out.png")
    done = client(
        workflow,
        "--clip",
        clip,
        "--photo",
        tmp_path / "cut-out.png",
        "--prompt",
        "a red ball on the snow",
        "--edit-prompt",
        "a <thing*> on the snow",
        "--set=Bind Photo to Placeholder.initial_word=thing",
        "--out",
        tmp_path / "out",
        *SETS,
        server=server,
    )
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "out").iterdir()
    sound, rate = videos.sound_of(made)
    assert (
        videos.rate_of(made) == 24
        and rate == 48000
        and len(sound) == pytest.approx(0.25 * 48000, abs=2048)
        and abs(sound).max() > 0.3
    )


@pytest.mark.host
def test_a_clip_of_one_s_own_needs_words_of_one_s_own(server, tmp_path):
    done = client(WORKFLOW, "--clip", ROOT / "demo" / "cases" / "ball-to-star" / "clip.mp4", server=server)
    assert (
        done.returncode == 2
        and "--clip: 'Prompt' would still have the demo's words; give --prompt and --edit-prompt" in done.stderr
    )


# ------------------------------------------------------------------------------------------------------------ the
# workflow along
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
            if entry["class_type"] == node:
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


# ------------------------------------------------------------------------------------------------------------ batches
@pytest.mark.host
def test_a_folder_of_clips(server, tmp_path, graph):
    """On two servers; one clip is broken. Run again, it goes on with what is not done, or was done otherwise."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    for i in range(3):
        videos.write(folder / f"{i}.mp4", videos.pictures(4 + i, 64, 64), tone=0.4)
    (folder / "broken.mp4").write_bytes(b"nothing")
    (folder / "notes.txt").touch()

    def run(*more):
        done = client(
            graph(**fitting()), "--clips", folder, "--out", out, "--json", "--server", server.url, *more, server=server
        )
        return done, [json.loads(line) for line in done.stdout.splitlines()]

    done, told = run()
    assert done.returncode == 1 and len(told) == 4 and {run["outcome"] for run in told} == {"success", "error"}, (
        done.stderr
    )
    for i in range(3):
        (made,) = (out / f"{i}.mp4").glob("*_.mp4")
        assert videos.sound_of(made) is not None and len(videos.frames(made)) == 4 + i
    done, told = run()
    assert [run["clip"] for run in told] == [str(folder / "broken.mp4")] and "1 of 4 clips to do" in done.stderr
    (folder / "broken.mp4").unlink()
    videos.write(folder / "1.mp4", videos.pictures(3, 64, 64))
    done, told = run()
    assert done.returncode == 0 and [run["clip"] for run in told] == [str(folder / "1.mp4")]
    _, told = run("--set=LIVE_FitClip.frames=2")
    assert len(told) == 3
    assert client(graph(**fitting()), "--clips", tmp_path / "out", server=server).returncode == 2
