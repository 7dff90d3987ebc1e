"""Clips of any length, edited window by window from file to file."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
import torch
import videos
from conftest import ROOT, SHARED, absent
from test_footage import UNEVEN, all_of, coded, read

from live_core.clips import Fit
from live_core.film import of_file, of_waves, silent
from live_core.footage import Stills
from live_core.frames import ALONE, GroupPlan
from live_core.instruct import instruct
from live_core.instruct_settings import GATHER_AND_SWAP, INSTRUCT_PIX2PIX, Instruction, InstructMethod
from live_core.instruct_stream import InstructedWindows, edit_task
from live_core.local import Local
from live_core.masking import masks_of
from live_core.notes import gathered
from live_core.streaming import Job, in_bytes, stream, tasks
from live_core.windows import Window, windows_of

PAIR = GroupPlan(size=2)
INSTRUCTION = Instruction("make the ball blue", steps=2)


def brighter(task):
    return (task.pictures[len(task.window.riders) :] * 1.1).clamp(max=1)


def sound_packets(video) -> list[tuple[float, bytes]]:
    with videos.opened(video) as container:
        packets = [p for s in container.streams.audio for p in container.demux(s) if p.size]
        return [(float(p.pts * p.time_base), bytes(p)) for p in packets]


def moments(video) -> list[float]:
    with videos.opened(video) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def instructed(model, asked, job) -> list[torch.Tensor]:
    """Each window as `asked`."""
    return [edit_task(model, task, lambda *step: None, asked) for task in tasks(job, range(len(job.windows)))]


def each(edit, coming):
    for task in coming:
        yield edit(task)


def streamed(tmp_path, clip, edit=brighter, size=3, plan=PAIR, sound=silent, key="", **more):
    out = tmp_path / "out.mp4"
    job = Job(clip, windows_of(len(clip), size, [plan]), key, **more)
    stream(job, partial(each, edit), tmp_path / "parts", out, sound)
    return out


# ---------------------------------------------------------------------------------------------------------- windows
def test_windows_get_their_riders_and_their_frames(tmp_path):
    """Whether riders come before or after, with no more held at a time than is read again."""
    clip = Stills(torch.arange(10.0)[:, None, None, None].expand(-1, 8, 8, 3) / 10, Fraction(8))
    for plan in (GroupPlan(size=4), ALONE):
        job = Job(clip, windows_of(10, 3, [plan]), "")
        for task, window in zip(tasks(job, range(4)), job.windows, strict=True):
            assert torch.allclose(task.pictures[:, 0, 0, 0] * 10, torch.tensor(window.positions).float())
        (only,) = tasks(job, [2])
        assert only.number == 2 and only.window == job.windows[2] and only.total == 4
    chained = [Window((0, max(start - 1, 0)), range(start, start + 2)) for start in range(0, 10, 2)]
    for task, window in zip(tasks(Job(clip, chained, ""), range(5)), chained, strict=True):
        assert torch.allclose(task.pictures[:, 0, 0, 0] * 10, torch.tensor(window.positions).float())


def test_windows_are_made_when_they_are_asked_for():
    class Counted(Stills):
        read = 0

        def pictures(self, wanted):
            for each in super().pictures(wanted):
                Counted.read += 1
                yield each

    clip = Counted(torch.rand(40, 8, 8, 3), Fraction(8))
    coming = tasks(Job(clip, windows_of(40, 4, [ALONE]), ""), range(10))
    next(coming)
    next(coming)
    assert Counted.read == 8


# ------------------------------------------------------------------------------------------------------------- edits
@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = ROOT / "demo" / "cases" / "ball-to-star" / "clip.mp4"
    return read(path, 0.0, 0.7, fit=Fit(longest_side=64))


@pytest.mark.parametrize("method", [GATHER_AND_SWAP, INSTRUCT_PIX2PIX])
def test_the_stream_edits_as_edit_by_instruction_does(small, instruct_model, method):
    """In windows of any size, to float rounding."""
    pictures = all_of(small)
    assert 4 < len(pictures) < 9
    latents = instruct(instruct_model, instruct_model.encode_frames(pictures), INSTRUCTION, method)
    whole = instruct_model.decode_frames(latents)
    for size in (2, 5):
        asked = InstructedWindows(INSTRUCTION, method)
        job = Job(small, asked.windows(instruct_model, len(small), size), "")
        made = torch.cat(instructed(instruct_model, asked, job))
        assert (made - whole).abs().max() < 1e-4 and (made - pictures).abs().max() > 0.05


def test_masks_and_texts_are_each_frame_s_own(small, instruct_model):
    frames = len(small)
    mask = torch.zeros(frames, small.size[1], small.size[0])
    for i in range(1, frames):
        mask[i, 8 * i : 8 * i + 16, 16:48] = 1
    local = Local(mask, "reversed", "noised", grow=2, feather=1.0)
    texts = torch.cat([instruct_model.encode_text(f"make the ball {c}")[None] for c in ("blue", "green")])
    texts = texts.repeat(frames, 1, 1)[:frames]
    method = InstructMethod("gather", GroupPlan(size=2))
    silence = Instruction("", steps=2)
    latents = instruct_model.encode_frames(all_of(small))
    whole = instruct_model.decode_frames(instruct(instruct_model, latents, silence, method, local, texts))
    asked = InstructedWindows(silence, method, local, texts)
    masks = masks_of(mask, small)
    made = torch.cat(instructed(instruct_model, asked, Job(small, asked.windows(instruct_model, frames, 3), "", masks)))
    assert (made - whole).abs().max() < 1e-4 and masks.empty == {0}


def test_a_window_does_not_change_with_the_clip_s_length(small, instruct_model):
    """The same key frames, one window, and more of the clip after it."""
    asked = InstructedWindows(INSTRUCTION, InstructMethod("gather", PAIR))
    rest = [Window((0, 3), range(start, start + 2)) for start in (0, 2)]
    made = [instructed(instruct_model, asked, Job(small, windows, ""))[0] for windows in (rest[:1], rest)]
    assert torch.equal(*made)


def test_an_edit_is_told_from_any_other(small, instruct_model):
    given = [
        InstructedWindows(INSTRUCTION),
        InstructedWindows(Instruction("make the ball blue", steps=3)),
        InstructedWindows(Instruction("make the ball green", steps=2)),
        InstructedWindows(INSTRUCTION, INSTRUCT_PIX2PIX),
        InstructedWindows(INSTRUCTION, local=Local(torch.ones(1, 8, 8))),
        InstructedWindows(INSTRUCTION, local=Local(torch.ones(1, 8, 8), grow=3)),
        InstructedWindows(INSTRUCTION, texts=torch.zeros(1, 4, 8)),
    ]
    keys = [asked.key(instruct_model) for asked in given]
    assert len(set(keys)) == len(keys) and InstructedWindows(INSTRUCTION).key(instruct_model) == keys[0]
    windows = given[0].windows(instruct_model, len(small), 3)
    ones = masks_of(torch.ones(1, *small.size[::-1]), small)
    jobs = [
        Job(small, windows, ""),
        Job(small, windows[:1], ""),
        Job(small, windows, "", ones),
        Job(small, windows, "a"),
    ]
    assert len({job.name for job in jobs}) == 4


# --------------------------------------------------------------------------------------------------------- the file
def test_a_file_keeps_its_moments_and_its_sound(tmp_path):
    """Uneven moments to the last, and the sound's packets as they were."""
    path = videos.write(tmp_path / "a.mp4", videos.pictures(8), moments=UNEVEN, tone=1.2)
    clip = read(path)
    out = streamed(tmp_path, clip, sound=of_file(clip.source, clip.first * clip.base, None))
    assert moments(out) == pytest.approx(UNEVEN, abs=1e-6) and sound_packets(out) == sound_packets(path)
    with av.open(str(out)) as container:
        shown = container.streams.video[0]
        assert shown.duration * shown.time_base == clip.moments[-1] * clip.base
    assert np.abs(videos.frames(out).astype(int) - in_bytes(all_of(clip) * 1.1).numpy()).mean() < 2
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("name", ["man-skiing", "rabbit-watermelon", "wolf"])
def test_films_keep_their_rate_and_sound(tmp_path, name):
    path = SHARED / "clips" / f"{name}.mp4"
    if not path.is_file():
        absent(f"no {path}")
    clip = read(path, fit=Fit(longest_side=64))
    out = streamed(tmp_path, clip, size=16, sound=of_file(clip.source, clip.first * clip.base, None))
    assert moments(out) == moments(path) and videos.rate_of(out) == videos.rate_of(path)
    assert sound_packets(out) == sound_packets(path)


def test_a_part_of_a_file_keeps_its_sound_in_step(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pictures(16), 8, tone=2.0)
    clip = read(path, 0.5, 1.0)
    out = streamed(tmp_path, clip, sound=of_file(clip.source, clip.first * clip.base, Fraction(3, 2)))
    assert moments(out) == pytest.approx([i / 8 for i in range(8)])
    kept, whole = sound_packets(out), sound_packets(path)
    assert kept == pytest.approx([]) or all((pytest.approx(t + 0.5, abs=1e-4), data) in whole for t, data in kept)
    assert 0.95 < kept[-1][0] - kept[0][0] < 1.05


def test_sound_of_other_kinds_is_encoded_and_said(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream_, sound = (
            container.add_stream("libx264", rate=8),
            container.add_stream("pcm_mulaw", rate=44100, layout="stereo"),
        )
        stream_.width, stream_.height, stream_.pix_fmt = 64, 48, "yuv420p"
        for picture in videos.pictures(8, 64, 48):
            container.mux(stream_.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream_.encode())
        wave = np.sin(np.arange(44100) * 440 * 2 * np.pi / 44100).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    clip = read(path)
    with gathered() as notes:
        out = streamed(tmp_path, clip, sound=of_file(clip.source, clip.first * clip.base, None))
    samples, rate = videos.sound_of(out)
    assert rate == 44100 and 0.9 < len(samples) / rate < 1.2 and np.abs(samples[5000:30000]).max() > 0.8
    assert any("sound is pcm_mulaw" in text and "AAC" in text for text in notes)


def test_pictures_in_memory_are_streamed_with_their_sound(tmp_path):
    clip = Stills(torch.from_numpy(videos.pictures(8) / np.float32(255)), Fraction(8))
    wave = torch.sin(torch.arange(96000) * 0.05)[None]
    out = streamed(tmp_path, clip, sound=of_waves(wave, 48000, clip.moments[-1] * clip.base))
    samples, rate = videos.sound_of(out)
    assert rate == 48000 and abs(len(samples) / rate - 1) < 0.05 and videos.rate_of(out) == 8
    assert moments(out) == pytest.approx([i / 8 for i in range(8)])


def child(how, path, folder, out, size=4, **more):
    command = [sys.executable, ROOT / "tests" / "stream_child.py", how, path, folder, out, size]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, **more)


def test_memory_does_not_grow_with_the_clip(tmp_path):
    """Frames of 512x512, 3 MB each: all 96 would be 300 MB. What the C library keeps of freed memory, more or less as
    it happens, is not counted: blocks of 1 MB are given back at once."""
    most, env = [], {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    for frames in (32, 96):
        path = coded(tmp_path / f"{frames}.mp4", "libx264", "yuv420p", videos.pictures(frames, 512, 512))
        run = child("plain", path, tmp_path / "parts", tmp_path / "out.mp4", env=env)
        most.append(json.loads(run.communicate()[0].splitlines()[-1])["most"])
    assert most[1] < 1.1 * most[0], most
