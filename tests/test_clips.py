"""Clips of any size, length and rate made ones that can be edited."""

import io
import re

import av
import numpy as np
import pytest
import torch
import videos
from graphs import message
from PIL import Image

from live_core import LiveError, clips
from live_core.clips import Fit, Heeding, Times, chosen, fit_frames, fitted_size, read_sound, read_times
from live_core.interrupts import heeding
from live_core.notes import gathered

UNEVEN = [0.0, 0.033, 0.066, 0.2, 0.233, 0.5, 0.533, 0.9]


def test_damaged_sound_is_silent_there_and_in_step_after(tmp_path):
    """As long as the clip, and its end where it was."""
    path = videos.write(tmp_path / "a.mp4", videos.pictures(16), 8, tone=2.0)
    whole, _ = read_sound(str(path), 0.0, 2.0)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(container.streams.audio[0])]
    for packet in packets[40:50]:
        data = data.replace(packet, b"\xff" * len(packet))
    path.write_bytes(data)
    with gathered() as notes:
        sound, rate = read_sound(str(path), 0.0, 2.0)
    assert sound.shape == whole.shape and any("a part of its sound cannot be read" in text for text in notes)
    assert torch.allclose(sound[:, 55 * 1024 : 80000], whole[:, 55 * 1024 : 80000], atol=1e-3)


@pytest.mark.parametrize(
    "size,fit,to",
    [
        ((134, 102), Fit(), (128, 96)),
        ((3840, 2160), Fit(), (512, 288)),
        ((1080, 1920), Fit(512), (288, 512)),
        ((512, 512), Fit(), (512, 512)),
        ((134, 102), Fit(0), (128, 96)),
        ((1000, 1000), Fit(0, multiple=64), (960, 960)),
        ((5, 3), Fit(), (8, 8)),
        ((1920, 1080), Fit(768, multiple=64), (768, 384)),
    ],
)
def test_sizes_are_fitted(size, fit, to):
    assert fitted_size(*size, fit) == to


def test_frames_are_capped_and_spaced():
    even = Times.even(30.0, 300)
    assert chosen(even, Fit(frames=4)) == ([0, 1, 2, 3], 30.0)
    assert chosen(even, Fit(frames=3, every_nth=10)) == ([0, 10, 20], 3.0)
    assert chosen(even, Fit(frames=0, every_nth=100)) == ([0, 100, 200], 0.3)
    assert len(chosen(even, Fit(frames=0))[0]) == 300


def test_unevenly_spaced_frames_are_shown_at_even_moments(tmp_path):
    """At each moment the frame that the file shows then, and together they last as long."""
    times, _ = read_times(str(videos.write(tmp_path / "a.mp4", videos.pictures(8), moments=UNEVEN)))
    assert times.starts == pytest.approx(UNEVEN, abs=1e-4) and not times.is_even
    indices, rate = chosen(times, Fit())
    assert len(indices) / rate == pytest.approx(times.end) and 0.9 < times.end < 1.4
    for k, i in enumerate(indices):
        assert UNEVEN[i] <= k / rate + 1e-3 and (i == 7 or k / rate < UNEVEN[i + 1] + 1e-3)


@pytest.mark.parametrize("rate", [8, 24, 30000 / 1001, 25])
def test_even_clips_keep_their_rate_whatever_the_container(tmp_path, rate):
    for name in ("a.mp4", "a.mkv"):
        times, _ = read_times(str(videos.write(tmp_path / name, videos.pictures(12), rate)))
        assert (
            times.is_even and times.rate == pytest.approx(rate, rel=1e-4) and chosen(times, Fit())[0] == list(range(12))
        )


def test_a_long_clip_is_read_in_parts(monkeypatch):
    """Never more than its share at once, and the same frames as all at once."""
    clip, asked = torch.rand(40, 48, 64, 3, generator=torch.Generator().manual_seed(0)), []

    def read(first, end):
        asked.append(end - first)
        return clip[first:end]

    fit, indices = Fit(32), list(range(0, 40, 3))
    whole = fit_frames(read, indices, (64, 48), fit)
    monkeypatch.setattr(clips, "BYTES_AT_ONCE", 8 * 64 * 48 * 12)
    parts = fit_frames(read, indices, (64, 48), fit)
    assert asked[0] == 40 and max(asked[1:]) <= 8 and torch.equal(whole, parts) and whole.shape == (14, 24, 32, 3)
    assert torch.equal(fit_frames(read, [1, 5], (64, 48), Fit(0)), clip[[1, 5]])  # what fits is left as it is
    with pytest.raises(LiveError, match="frame 9 and what follows cannot be read"):
        fit_frames(lambda first, end: clip[:0] if first else clip[:8], indices, (64, 48), fit)


def test_sound_stays_in_step(tmp_path):
    """Cut to the frames that are taken; silent where the file is."""
    path = str(videos.write(tmp_path / "a.mp4", videos.pictures(16), 8, tone=1.5))
    whole, rate = read_sound(path, 0.0, 2.0)
    assert (
        rate == 48000
        and whole.shape == (1, 96000)
        and whole[0, 80000:].abs().max() < 1e-3 < whole[0, 60000:70000].abs().max()
    )
    later, _ = read_sound(path, 0.5, 0.25)
    assert later.shape == (1, 12000) and torch.allclose(later, whole[:, 24000:36000])
    early, _ = read_sound(path, -0.5, 1.0)
    assert not early[:, :24000].any() and torch.allclose(early[:, 24000:], whole[:, :24000])
    assert read_sound(str(videos.write(tmp_path / "b.mp4", videos.pictures(2))), 0.0, 1.0) is None


@pytest.mark.parametrize(
    "times,fit,more,says",
    [
        (Times.even(30.0, 300), Fit(), {}, "frames: 24, so the first 24 of 300 are taken"),
        (Times.even(30.0, 300), Fit(frames=8, every_nth=2), {}, "the first 8 of 150"),
        (Times(tuple(UNEVEN), 1.0, 8.0), Fit(), {}, "33 to 367 ms apart; they are shown at an even 8 a second"),
        (Times.even(8.0, 8), Fit(every_nth=9), {}, "every_nth: 9, and the clip has 8 frames, so only the first"),
        (Times.even(8.0, 8), Fit(), {"bits": 10}, "video: 10 bits a colour"),
        (Times.even(8.0, 8), Fit(), {"transfer": 18}, r"HDR \(HLG\)"),
        (Times.even(8.0, 8), Fit(), {"transfer": 1}, None),
    ],
)
def test_what_is_lost_is_said(times, fit, more, says):
    with gathered() as notes:
        clips.say_what_is_lost(times, len(chosen(times, fit)[0]), fit, **more)
    assert len(notes) == (says is not None) and all(re.search(says, text) for text in notes)


def test_files_without_frames(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pictures(8))
    with pytest.raises(LiveError, match="no frame from 5 s on"):
        read_times(str(path), 5.0)
    (tmp_path / "b.mp4").write_bytes(path.read_bytes()[:200])
    with pytest.raises(LiveError, match="no video that can be read"):
        read_times(str(tmp_path / "b.mp4"))


def test_frames_that_cannot_be_read_are_said():
    """Of a damaged file ComfyUI leaves out what it cannot decode."""
    clip = torch.rand(6, 16, 16, 3)
    with gathered() as notes:
        found = fit_frames(lambda first, end: clip[first : end - 2], list(range(6)), (16, 16), Fit(0))
        fit_frames(lambda first, end: clip[first:end], list(range(6)), (16, 16), Fit(0))
    assert len(found) == 6 and len(notes) == 1 and notes[0].startswith("video: 2 of its first 6 frames cannot be read")


@pytest.mark.parametrize(
    "images,alpha,says",
    [
        (torch.rand(2, 8, 8, 3), None, None),
        (torch.rand(2, 8, 8, 3), torch.ones(2, 8, 8), None),
        (torch.rand(2, 8, 8, 3), torch.zeros(2, 8, 8), "video: it is transparent"),
        (torch.rand(2, 8, 8, 4), None, "video: it is transparent"),
    ],
)
def test_transparency_of_a_clip_is_said(images, alpha, says):
    with gathered() as notes:
        assert torch.equal(clips.opaque(images, alpha), images[..., :3])
    assert len(notes) == (says is not None) and all(text.startswith(says) for text in notes)


def test_videos_in_memory_that_are_none():
    for images, says in ((torch.rand(2, 8, 8, 1), "1 channels"), (torch.full((2, 8, 8, 3), torch.nan), "not finite")):
        with pytest.raises(LiveError, match=f"video: .*{says}"):
            clips.opaque(images)
    for rate in (0.0, -8.0, float("nan"), float("inf")):
        with pytest.raises(LiveError, match="video: .* frames a second; give"):
            Times.even(rate, 4)


def test_an_interrupt_is_heard_at_every_frame(tmp_path):
    path = str(videos.write(tmp_path / "a.mp4", videos.pictures(8), tone=1.0))
    clip, asked = torch.rand(8, 16, 16, 3), []
    for work in (
        lambda: fit_frames(lambda first, end: clip[first:end], list(range(8)), (16, 16), Fit(8)),
        lambda: read_times(path),
        lambda: read_sound(path, 0.0, 1.0),
    ):
        asked.clear()
        with heeding(lambda: asked.append(1)):
            work()
        assert len(asked) >= 8


def test_an_interrupt_is_heard_while_another_s_decoder_reads(tmp_path):
    """By whatever way it is raised, once, and the file is as it was for the next reader."""
    path = videos.write(tmp_path / "a.mp4", videos.noise(40, 256, 256))

    class Stop(BaseException):  # as ComfyUI's is
        pass

    def stop():
        asked.append(1)
        if len(asked) == 20:
            raise Stop

    for source in (str(path), io.BytesIO(path.read_bytes())):
        asked, decoded = [], []
        with pytest.raises(Stop), heeding(stop), Heeding(source) as file, av.open(file) as container:
            decoded += container.decode(video=0)
        assert len(asked) == 20 and len(decoded) < 20  # of 40
        whole = source if isinstance(source, str) else io.BytesIO(source.getvalue())
        with Heeding(source) as file, av.open(whole) as plain:
            file.seek(0)
            read = av.open(file)
            for ours, theirs in zip(read.decode(video=0), plain.decode(video=0), strict=True):
                assert ours.pts == theirs.pts and (ours.to_ndarray() == theirs.to_ndarray()).all()


# ---------------------------------------------------------------------------------------------------- on the real host
async def run_fitted(client, path, trim=(), **settings):
    """What Fit Clip makes of a file: (the node's notes, PNGs' pixels, the saved mp4's bytes); a failure's message."""
    graph = {
        "v": {"class_type": "LoadVideo", "inputs": {"file": await client.upload(path)}},
        "f": {"class_type": "LIVE_FitClip", "inputs": {"video": ["v", 0], **settings}},
        "p": {"class_type": "PreviewImage", "inputs": {"images": ["f", 0]}},
        "c": {"class_type": "CreateVideo", "inputs": {"images": ["f", 0], "audio": ["f", 1], "fps": ["f", 2]}},
        "s": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["c", 0], "filename_prefix": "fitted", "format": "mp4", "codec": "h264"},
        },
    }
    if trim:
        graph["t"] = {
            "class_type": "Video Slice",
            "inputs": {"video": ["v", 0], "start_time": trim[0], "duration": trim[1], "strict_duration": False},
        }
        graph["f"]["inputs"]["video"] = ["t", 0]
    outcome, events, history = await client.run(graph)
    if outcome != "success":
        return message(events)
    made = history["outputs"]
    shown = [
        np.asarray(Image.open(io.BytesIO(await client.fetch(file))).convert("RGB")) for file in made["p"]["images"]
    ]
    return made.get("f", {}).get("text", []), np.stack(shown), io.BytesIO(await client.fetch(made["s"]["images"][0]))


@pytest.mark.host
def test_clips_as_cameras_make_them(talk, tmp_path):
    """Odd sizes, sound, uneven spacing, 10 bits, a later part: fitted, in step, what is lost is said on the node."""
    odd = videos.write(tmp_path / "odd.mp4", videos.pictures(8, 134, 102))
    sounding = videos.write(tmp_path / "sound.mp4", videos.pictures(24), 24, tone=1.0)
    uneven = videos.write(tmp_path / "uneven.mp4", videos.pictures(8), moments=UNEVEN, tone=0.93)
    deep = videos.write(tmp_path / "deep.mp4", videos.pictures(4), pixels="yuv420p10le")

    async def all_of(client):
        return [
            await run_fitted(client, *a, **b)
            for a, b in (
                ((odd,), {}),
                ((sounding,), {}),
                ((sounding,), {"frames": 6, "every_nth": 2}),
                ((uneven,), {}),
                ((deep,), {}),
                ((sounding, (0.5, 0.25)), {}),
            )
        ]

    fitted, whole, spaced, even, eight, later = talk(all_of)
    assert fitted[:1] == ([],) and fitted[1].shape == (8, 96, 128, 3)
    assert (
        whole[0] == []
        and videos.rate_of(whole[2]) == 24
        and len(videos.sound_of(whole[2])[0]) == pytest.approx(48000, abs=2048)
    )
    assert (
        "the first 6 of 12" in spaced[0][0]
        and np.array_equal(spaced[1], whole[1][:12:2])
        and videos.rate_of(spaced[2]) == 12
    )
    assert len(videos.sound_of(spaced[2])[0]) == pytest.approx(24000, abs=2048)
    # The last frame stands as long as its file says.
    assert "unevenly spaced" in even[0][0] and len(even[1]) / videos.rate_of(even[2]) == pytest.approx(
        0.9 + 1 / 8, abs=0.01
    )
    assert "10 bits" in eight[0][0] and len(later[1]) == 6 and np.array_equal(later[1], whole[1][12:18])
    a, b = videos.sound_of(later[2])[0], videos.sound_of(sounding)[0]
    assert np.abs(a[2048:8192]).mean() == pytest.approx(np.abs(b[24000 + 2048 : 24000 + 8192]).mean(), rel=0.1)


@pytest.mark.host
def test_what_fits_is_what_get_video_components_gives(talk):
    """Bit for bit, and the demo's VIDEO is its frames."""
    graph = {
        "d": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "f": {"class_type": "LIVE_FitClip", "inputs": {"video": ["d", 3]}},
        "g": {"class_type": "GetVideoComponents", "inputs": {"video": ["d", 3]}},
        **{
            name: {"class_type": "PreviewImage", "inputs": {"images": link}}
            for name, link in (("a", ["f", 0]), ("b", ["g", 0]), ("c", ["d", 0]))
        },
    }

    async def run(client):
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        return [[await client.fetch(file) for file in history["outputs"][name]["images"]] for name in "abc"]

    fitted, core, demo = talk(run)
    pixels = [[np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs] for pngs in (fitted, core, demo)]
    assert len(fitted) == 8 and np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[0], pixels[2])


@pytest.mark.host
def test_files_that_are_no_videos(talk, tmp_path):
    """Damaged at the beginning or in the middle, empty, of sound alone: words, and a note where some can be read."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 96, 128, 3), np.uint8)
    whole = videos.write(tmp_path / "whole.mp4", noise, options={"g": "2", "bf": "0"}).read_bytes()
    silent = videos.write(tmp_path / "sound.mp4", videos.pictures(2), tone=0.5)
    with av.open(str(silent)) as source, av.open(str(tmp_path / "alone.mp4"), "w") as alone:
        sound = alone.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                alone.mux(packet)
    half, more = len(whole) // 2, len(whole) * 7 // 10
    bad = {
        "empty": b"",
        "text": b"no video",
        "cut": whole[:half],
        "alone": (tmp_path / "alone.mp4").read_bytes(),
        "hole": whole[:half] + bytes(more - half) + whole[more:],
    }

    async def each(client):
        said = {}
        for name, data in bad.items():
            (tmp_path / f"{name}.mp4").write_bytes(data)
            said[name] = await run_fitted(client, tmp_path / f"{name}.mp4")
        return said

    said = talk(each)
    notes, shown, _ = said.pop("hole")
    assert len(shown) == 12 and any("of its first 12 frames cannot be read" in text for text in notes), notes
    assert all(text.startswith("video: ") and "save it anew as mp4" in text for text in said.values()), said


@pytest.mark.host
def test_an_animated_picture_in_load_video(talk, tmp_path):
    """Core's Load Video finds no frame in it."""
    frames = [Image.fromarray(picture) for picture in videos.pictures(4, 64, 64)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    said = talk(lambda c: run_fitted(c, tmp_path / "a.webp"))
    assert "video: " in said and "Load Image" in said
