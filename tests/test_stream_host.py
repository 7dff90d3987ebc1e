"""Long videos by instruction through ComfyUI's queue, from Load Video to Save Video."""

import io
import re

import numpy as np
import pytest
import videos
from graphs import message
from PIL import Image
from streamed import graph_of, write_files
from test_footage import UNEVEN, read
from test_streaming import moments, sound_packets

pytestmark = pytest.mark.host
MODEL = "demo model for instructions (ships with LIVE)"
ASKED = {
    "instruction": "make the ball blue",
    "method": "gather-and-swap",
    "method.key_frames": 2,
    "method.swap_until": 1,
    "method.own_keys": False,
    "guidance_scale": 4,
    "image_guidance_scale": 1.5,
    "steps": 2,
    "seed": 0,
    "window": 3,
}


def graph(**changes) -> dict:
    return graph_of("LIVE_StreamInstruct", MODEL, ASKED, changes)


@pytest.fixture(scope="module", autouse=True)
def files(server):
    folder = server.base / "input"
    write_files(folder, 8)
    (folder / "words.mp4").write_text("words")
    cut = videos.write(folder / "cut.mkv", videos.pictures(60, 64, 48), options={"g": "5"})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    return folder


async def saved(client, graph, on=None) -> tuple[io.BytesIO, list[str]]:
    outcome, events, entry = await client.run(graph, on)
    assert outcome == "success", message(events)
    (file,) = entry["outputs"]["save"]["images"]
    return io.BytesIO(await client.fetch(file)), entry["outputs"].get("edit", {}).get("text", [])


def test_a_video_keeps_its_moments_and_its_sound(talk, files):
    """Saved without being encoded again; and nothing is left of its windows."""
    video, said = talk(lambda client: saved(client, graph()))
    assert moments(video) == pytest.approx(UNEVEN, abs=1e-4) and not said
    assert sound_packets(video) == sound_packets(files / "streamed.mp4")
    assert videos.frames(video).shape == (8, 48, 64, 3)
    assert not list((files.parent / "user" / "live" / "unfinished" / "videos").rglob("*.safetensors"))


def test_frames_are_those_of_edit_by_instruction(talk):
    """No farther off than the same frames as Save Video encodes them, at the least that is lost: colours at half the
    resolution cost up to 41 levels at the edges of so small a picture."""
    images = {
        "fit": {"class_type": "LIVE_FitClip", "inputs": {"video": ["load", 0], "longest_side": 64, "frames": 0}},
        "whole": {
            "class_type": "LIVE_Instruct",
            "inputs": {**ASKED, "model": ["model", 0], "images": ["fit", 0], "window": 16},
        },
        "video": {"class_type": "CreateVideo", "inputs": {"images": ["whole", 0], "fps": ["fit", 2]}},
        "shown": {"class_type": "PreviewImage", "inputs": {"images": ["whole", 0]}},
    }
    codec = {"codec": "h264", "codec.encoding": "re-encode", "codec.encoding.crf": 1}
    load = {"load": {"file": "even.mp4"}}

    async def all_three(client):
        streamed, _ = await saved(client, graph(edit={"crf": 1}, **load))
        outcome, events, entry = await client.run(graph(save={"video": ["video", 0], **codec}, **load) | images)
        assert outcome == "success", message(events)
        whole, *shown = [
            io.BytesIO(await client.fetch(file))
            for name in ("save", "shown")
            for file in entry["outputs"][name]["images"]
        ]
        pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in shown])
        return (each.astype(int) for each in (videos.frames(streamed), videos.frames(whole), pictures))

    streamed, whole, pictures = talk(all_three)
    ours, theirs = np.abs(streamed - pictures), np.abs(whole - pictures)
    assert ours.shape == theirs.shape and ours.max() <= theirs.max() + 1 and ours.mean() < theirs.mean() + 0.05
    assert np.abs(streamed - whole).mean() < 0.5


def test_a_mask_video_says_where(talk):
    """As a mask that is in memory does, and outside it the clip stays."""
    nodes = {
        "masks": {"class_type": "LoadVideo", "inputs": {"file": "mask.mp4"}},
        "pictures": {"class_type": "GetVideoComponents", "inputs": {"video": ["masks", 0]}},
        "mask": {"class_type": "ImageToMask", "inputs": {"image": ["pictures", 0], "channel": "red"}},
        "local": {
            "class_type": "LIVE_LocalLatents",
            "inputs": {"mask": ["mask", 0], "boundary": "reversed", "origin": "noised", "grow": 0, "feather": 0},
        },
    }

    async def three(client):
        return [
            videos.frames((await saved(client, graph(load={"file": "even.mp4"}, edit=edit) | nodes))[0]).astype(int)
            for edit in ({"local": ["local", 0]}, {"local": ["local", 0], "mask_video": ["masks", 0]}, {})
        ]

    local, streamed, everywhere = talk(three)
    assert np.abs(local - streamed).max() <= 8 and np.abs(local - everywhere).max() > 20


def test_an_interrupted_run_goes_on_at_the_next(talk, files):
    """Stopped within a forward of the U-Net, after the first window; the bar begins where it was."""

    async def twice(client):
        seen: list[list[int]] = [[], []]

        async def on(kind, data):
            if kind == "progress" and data["node"] == "edit":
                seen[0].append(data["value"])
                if data["value"] > 40:
                    await client.json("POST", "/interrupt")

        long = graph(edit={"steps": 40, "seed": 3})
        outcome, _, _ = await client.run(long, on)
        left = len(list((files.parent / "user").rglob("0*.safetensors")))

        def again(kind, data):
            if kind == "progress" and data["node"] == "edit":
                seen[1].append(data["value"])

        return outcome, left, await client.run(long, again), seen

    outcome, left, second, (first, then) = talk(twice)
    assert outcome == "interrupted" and left >= 1 and second[0] == "success"
    assert first[0] <= 2 and then[0] > 40 * left


BAD = [
    ({"edit": {"instruction": " "}}, "instruction: ' '; say what to change"),
    ({"edit": {"method.key_frames": 9}}, "key frames: 9, and the clip has 8 frames"),
    ({"model": {"model": "demo model (ships with LIVE)"}}, "Edit Long Video by Instruction takes an InstructPix2Pix"),
    ({"load": {"file": "words.mp4"}}, "video: the file .*cannot be read"),
    ({"load": {"file": "mask.mp4"}, "edit": {"mask_video": ["short", 0]}}, "mask_video: 5 frames of 130x98"),
    ({"edit": {"mask_video": ["words", 0]}}, "mask_video: video: the file .*cannot be read"),
    ({"edit": {"video": ["model", 0]}}, "LIVE_MODEL"),
    ({"edit": {"window": 0}}, "window"),
    ({"edit": {"crf": 99}}, "crf"),
]


def test_what_cannot_be_done_is_said(talk, files):
    """And a clip that is cut off within a window is edited as far as it goes."""
    left = len(read(files / "cut.mkv"))
    loaded = {name: {"class_type": "LoadVideo", "inputs": {"file": f"{name}.mp4"}} for name in ("short", "words")}

    async def said(client, changes):
        try:
            return message((await client.run(graph(**changes) | loaded))[1])
        except ValueError as refusal:  # ComfyUI's own check
            return str(refusal)

    async def all_said(client):
        answers = [await said(client, changes) for changes, _ in BAD]
        return answers, await saved(client, graph(load={"file": "cut.mkv"}, edit={"window": left - 1}))

    answers, (cut, _) = talk(all_said)
    for (_, words), answer in zip(BAD, answers, strict=True):
        assert re.search(words, answer), (words, answer)
    assert len(videos.frames(cut)) == left < 60


def test_pictures_in_memory_are_streamed_too(talk):
    """What Create Video makes, with its sound."""
    nodes = {
        "demo": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "few": {"class_type": "ImageFromBatch", "inputs": {"image": ["demo", 0], "batch_index": 0, "length": 4}},
        "made": {"class_type": "CreateVideo", "inputs": {"images": ["few", 0], "fps": 8.0}},
    }
    video, _ = talk(lambda client: saved(client, graph(edit={"video": ["made", 0]}) | nodes))
    assert videos.frames(video).shape == (4, 64, 64, 3) and videos.rate_of(video) == 8
