"""A clip that was stopped, or killed, on its way from file to file: what is left of it, and how it is gone on with."""

import hashlib
import json
import signal
from fractions import Fraction
from functools import partial

import pytest
import torch
import videos
from test_streaming import brighter, child, each, streamed

from live_core import LiveError, streaming
from live_core.footage import Stills
from live_core.frames import ALONE
from live_core.interrupts import heed, heeding
from live_core.notes import gathered, note
from live_core.streaming import Job, stream
from live_core.windows import windows_of


def test_a_stopped_run_is_gone_on_with(tmp_path):
    """What it leaves is whole windows, of which the next run of the same job does none again, and another all."""
    clip, done = Stills(torch.rand(10, 16, 16, 3), Fraction(8)), []

    class Stop(BaseException):
        pass

    def edit(task):
        if len(done) == 2:
            raise Stop
        done.append(task.number)
        return brighter(task)

    with pytest.raises(Stop):
        streamed(tmp_path, clip, edit)
    (left,) = (tmp_path / "parts").iterdir()
    assert sorted(p.name for p in left.iterdir()) == ["000000.safetensors", "000001.safetensors"]
    assert not (tmp_path / "out.mp4").exists()
    done.append("more")
    streamed(tmp_path, clip, edit)
    assert done == [0, 1, "more", 2, 3]
    whole = hashlib.sha256((tmp_path / "out.mp4").read_bytes()).hexdigest()
    done.append("another")
    streamed(tmp_path, clip, edit, key="another")
    assert done[6:] == [0, 1, 2, 3] and hashlib.sha256((tmp_path / "out.mp4").read_bytes()).hexdigest() == whole


def test_a_note_says_of_which_windows_it_is(tmp_path):
    """If not of all."""

    def edit(task):
        note("method: it sees other frames")
        if task.number in (1, 3):
            note("mask: it is empty")
        return brighter(task)

    with gathered() as notes:
        streamed(tmp_path, Stills(torch.rand(10, 16, 16, 3), Fraction(8)), edit)
    assert notes == ["method: it sees other frames", "mask: it is empty (frames 4 to 6, frame 10)"]


def test_a_damaged_window_is_done_again(tmp_path):
    clip, done = Stills(torch.rand(6, 16, 16, 3), Fraction(8)), []

    def edit(task):
        done.append(task.number)
        return brighter(task)

    job = Job(clip, windows_of(6, 3, [ALONE]), "")
    folder = tmp_path / "parts" / job.name
    folder.mkdir(parents=True)
    (folder / "000000.safetensors").write_bytes(b"half a window")
    stream(job, partial(each, edit), tmp_path / "parts", tmp_path / "out.mp4")
    assert done == [0, 1] and len(videos.frames(tmp_path / "out.mp4")) == 6


def test_what_nobody_went_on_with_goes(tmp_path):
    parts = tmp_path / "parts"
    for i in range(5):
        (parts / f"{i:032x}").mkdir(parents=True)
    (parts / "mine").mkdir()
    streamed(tmp_path, Stills(torch.rand(4, 16, 16, 3), Fraction(8)))
    assert len(list(parts.iterdir())) == streaming.KEPT and (parts / "mine").exists()


def test_a_disk_without_room_is_said_before_anything_is_edited(tmp_path, monkeypatch):
    usage = streaming.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(LiveError, match="video: 4 frames of 16x16 take 0.0 GB until .* free some space"):
        streamed(tmp_path, Stills(torch.rand(4, 16, 16, 3), Fraction(8)), edit=None)


def test_an_interrupt_leaves_no_half_file(tmp_path):
    clip = Stills(torch.rand(6, 16, 16, 3), Fraction(8))

    class Stop(BaseException):
        pass

    def edit(task):
        heed()
        return brighter(task)

    def stop(after: int, heard: list):
        heard.append(1)
        if len(heard) > after:
            raise Stop

    for n in (0, 3, 11, 14):  # while reading, while editing, while writing
        with pytest.raises(Stop), heeding(partial(stop, n, [])):
            streamed(tmp_path / str(n), clip, edit, plan=ALONE)
        assert not list(tmp_path.rglob("*.mp4")) and not list(tmp_path.rglob("*.draft"))


@pytest.mark.parametrize("how", ["instruct", "prompts"])
def test_a_killed_run_is_gone_on_with_to_the_same_bytes(how, tmp_path):
    """kill -9 after the second window, by the real editors."""
    path = videos.write(tmp_path / "a.mp4", videos.pictures(18, 64, 64), tone=2.0)
    plain = child(how, path, tmp_path / "plain", tmp_path / "plain.mp4")
    killed = child(how, path, tmp_path / "parts", tmp_path / "out.mp4")
    assert [killed.stdout.readline().strip() for _ in range(2)] == ["0", "1"]
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "out.mp4").exists()
    again = child(how, path, tmp_path / "parts", tmp_path / "out.mp4")
    told = [json.loads(run.communicate()[0].splitlines()[-1]) for run in (plain, again)]
    assert told[0]["done"] == [0, 1, 2, 3, 4] and set(told[1]["done"]) in ({1, 2, 3, 4}, {2, 3, 4})
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()
