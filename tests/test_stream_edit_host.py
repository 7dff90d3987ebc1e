"""Long videos by prompts through ComfyUI's queue, from Load Video to Save Video, here and on Ray."""

import re

import numpy as np
import pytest
import videos
from good_graph import BLUE, CLIP_PROMPT, DEMO, GOOD, WORDS
from graphs import message
from streamed import graph_of, write_files
from test_footage import UNEVEN
from test_long_host import pictures
from test_stream_host import saved
from test_streaming import moments, sound_packets

pytestmark = pytest.mark.host
ASKED = {
    "source_prompt": CLIP_PROMPT,
    "prompt": BLUE,
    "method": "fatezero-attribute",
    "steps": 2,
    "window": 3,
    "null_text": 0,
    "paste": True,
    "dilation": 1,
    "blur": 1.5,
    "edge_radius": 0,
    **WORDS,
}


def graph(**changes) -> dict:
    return graph_of("LIVE_StreamEdit", DEMO, ASKED, changes)


@pytest.fixture(scope="module", autouse=True)
def files(server):
    folder = server.base / "input"
    write_files(folder, 4)
    return folder


def test_frames_are_those_of_edit_long_clip_and_moments_and_sound_stay(talk, files):
    """Frames but for two encodings: both at the least that is lost."""
    images = {
        "fit": {"class_type": "LIVE_FitClip", "inputs": {"video": ["load", 0], "longest_side": 64, "frames": 0}},
        "whole": {"class_type": "LIVE_EditLong", "inputs": {**ASKED, "model": ["model", 0], "images": ["fit", 0]}},
        "video": {"class_type": "CreateVideo", "inputs": {"images": ["whole", 0], "fps": ["fit", 2]}},
    }
    codec = {"codec": "h264", "codec.encoding": "re-encode", "codec.encoding.crf": 1}
    load = {"load": {"file": "even.mp4"}}

    async def three(client):
        kept = await saved(client, graph())
        streamed, _ = await saved(client, graph(edit={"crf": 1}, **load))
        whole, _ = await saved(client, graph(save={"video": ["video", 0], **codec}, **load) | images)
        return kept, videos.frames(streamed).astype(int), videos.frames(whole).astype(int)

    (kept, said), streamed, whole = talk(three)
    assert moments(kept) == pytest.approx(UNEVEN, abs=1e-4)
    assert sound_packets(kept) == sound_packets(files / "streamed.mp4")
    assert videos.frames(kept).shape == (8, 48, 64, 3) and not said
    assert not list((files.parent / "user" / "live" / "unfinished" / "videos").rglob("*.safetensors"))
    assert streamed.shape == whole.shape and np.abs(streamed - whole).max() <= 6
    assert np.abs(streamed - whole).mean() < 0.5


def test_on_ray_files_and_pictures_are_the_same(talk):
    pytest.importorskip("ray", reason="Ray is not installed: no wheel for this Python")
    ray = {"ray": {"class_type": "LIVE_Ray", "inputs": {"address": "", "workers": 2}}}
    there, previews = {"engine": ["ray", 0]}, []

    def on(kind, data):
        if kind == "preview":
            previews.append(data)

    async def all_four(client):
        here, _ = await saved(client, graph())
        on_ray, _ = await saved(client, graph(edit=there) | ray, on)
        return here, on_ray, await pictures(client), await pictures(client, ray, long=there)

    video, on_ray, here, windowed = talk(all_four)
    assert np.array_equal(videos.frames(video), videos.frames(on_ray)) and previews  # the files hold their graphs too
    assert len(here) == 5 and np.array_equal(here, windowed)


BAD = [
    ({"edit": {"prompt": " "}}, "edit prompt: ' ' has no words"),
    ({"edit": {"source_words": "elephant"}}, "source words: .*elephant"),
    ({"edit": {"method": "tokenflow"}}, "window: 3 of 8 frames, but 'tokenflow'"),
    ({"edit": {"method": "vid2vid-zero"}}, "window: 3 of 8 frames, but in this method frames read all"),
    ({"edit": {"window": 1, "method": "live"}}, "window: 1, but 2 frames of others ride along"),
    (
        {"model": {"model": "demo model for instructions (ships with LIVE)"}},
        "Edit Long Video takes a text-to-image model",
    ),
    ({"load": {"file": "mask.mp4"}, "edit": {"mask_video": ["short", 0]}}, "mask_video: 5 frames of 130x98"),
    ({"edit": {"video": ["model", 0]}}, "LIVE_MODEL"),
    ({"edit": {"blur": -1}}, "blur"),
    ({"edit": {"crf": 99}}, "crf"),
    ({"edit": {"model": ["tune", 0]}}, "^tune: edit prompt: .* does not say where the thing of the photo shall be"),
]
LEARNED = {
    name: {"class_type": GOOD[name][0], "inputs": GOOD[name][1]} for name in ("demo", "first", "clip", "bind", "tune")
}


def test_what_cannot_be_done_is_said(talk):
    """And of which frames a mask is empty, on the node."""
    loaded = {name: {"class_type": "LoadVideo", "inputs": {"file": f"{name}.mp4"}} for name in ("short", "mask")}

    async def said(client, changes):
        try:
            _, events, _ = await client.run(graph(**changes) | loaded | LEARNED)
            return f"{events[-1][2]['node_id']}: {message(events)}"
        except ValueError as refusal:  # ComfyUI's own check
            return str(refusal)

    async def all_said(client):
        answers = [await said(client, changes) for changes, _ in BAD]
        masked = graph(load={"file": "even.mp4"}, edit={"mask_video": ["mask", 0], "crf": 1}) | loaded
        return answers, await saved(client, masked), await saved(client, graph(load={"file": "even.mp4"}))

    answers, (masked, notes), (everywhere, _) = talk(all_said)
    for (_, words), answer in zip(BAD, answers, strict=True):
        assert re.search(words, answer), (words, answer)
    assert "mask: it is empty in frames 5, 6, 7, 8 of 8, which stay as they are" in notes
    assert not np.array_equal(videos.frames(masked), videos.frames(everywhere))
