"""What the headless client takes and leaves: names, words, sound, workflows, batches."""

import json
from pathlib import PurePosixPath, PureWindowsPath

import hostile
import pytest
import videos
from client_calls import SETS, client, fitting
from conftest import ROOT
from graphs import FIRST_RELEASE, WORKFLOW
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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


# --------------------------------------------------------------------------------------------------------- what is said
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


# ------------------------------------------------------------------------------------------------------------ what is
# given
@pytest.mark.parametrize(
    "arguments,says",
    [
        (["--clip", "absent.mp4"], "--clip: 'absent.mp4' is no file"),
        (["--clip", "."], "--clip: '.' is no file"),
        (["--photo", "absent.png"], "--photo: 'absent.png' is no file"),
        (["--clips", "graph.json"], "--clips: 'graph.json' is no folder"),
        (["--out", "graph.json"], "--out: 'graph.json' cannot be written in"),
        (["--out", "/proc/nothing"], "--out: '/proc/nothing' cannot be written in"),
        (["--timeout", "nan"], "--timeout: nan; give seconds above 0"),
        (["--timeout", "-1"], "--timeout: -1; give"),
        (["--server", "http://[::1"], "--server: http://[::1 is no address"),
        (["--server", "http://127.0.0.1:99999"], "--server: http://127.0.0.1:99999 is no address"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_queued(tmp_path, graph, arguments, says):
    done = client(graph(**fitting()), *arguments, cwd=tmp_path)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("text", ["[]", '{"1": {"class_type": "X", "inputs": {}, "_meta": null}}', '{"1": 7}', "7"])
def test_files_that_are_no_workflows(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    done = client("a.json", "--prompt", "x", cwd=tmp_path)
    assert done.returncode == 2 and "a.json: this is no workflow in API format" in done.stderr, done.stderr


def test_ids_need_be_no_numbers_and_files_may_begin_with_a_mark(tmp_path, comfy):
    """As other programs write them."""
    import comfy_graph

    nodes = {
        "clip": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "bind \u00b2": {"class_type": "LIVE_BindConcept", "inputs": {"photo": ["clip", 1], "images": ["clip", 0]}},
    }
    (tmp_path / "a.json").write_text(json.dumps(nodes), encoding="utf-8-sig")
    workflow, ui = comfy_graph.read_workflow(tmp_path / "a.json")
    comfy_graph.put_clip(workflow, "my.mp4")
    comfy_graph.put_photos(workflow, ["my.png"])
    links = workflow["bind \u00b2"]["inputs"]
    kinds = {name: workflow[link[0]]["class_type"] for name, link in links.items()}
    assert ui is None and kinds == {"photo": "LoadImage", "images": "GetVideoComponents", "mask": "InvertMask"}


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
    run()
    for torn in ("{", "[]"):  # a record that was being written when the machine stopped
        (out / "1.mp4" / "run.json").write_text(torn)
        assert [run["clip"] for run in run()[1]] == [str(folder / "1.mp4")]
    assert client(graph(**fitting()), "--clips", tmp_path / "out", server=server).returncode == 2
