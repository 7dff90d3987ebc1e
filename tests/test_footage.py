"""A clip read frame by frame: ComfyUI's own pictures, each with its moment, and what of it does not come through."""

import json
import re
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
import videos
from conftest import ROOT, SHARED

from live_core import LiveError
from live_core.clips import Fit, fit_frames
from live_core.footage import File, Stills
from live_core.interrupts import heeding
from live_core.masking import Masks, masks_of
from live_core.notes import gathered

UNEVEN = [0.0, 0.033, 0.066, 0.2, 0.233, 0.5, 0.533, 0.9]
TURNED = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4").tobytes()


def read(path, *trim, fit=None) -> File:
    return File(lambda: str(path), *trim, fit=fit)


def all_of(clip) -> torch.Tensor:
    return torch.stack([picture for _, picture in clip.pictures(set(range(len(clip))))])


def turned(path):
    """A file that says of itself that it is to be turned by a quarter."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = TURNED
    path.write_bytes(data)
    return path


def coded(path, codec: str, pixels: str, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for picture in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24" if len(picture[0, 0]) == 3 else "rgba"))
            )
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, drawn = tmp_path_factory.mktemp("files"), videos.pictures(8, 130, 98)
    clear = np.concatenate([drawn, np.full_like(drawn[..., :1], 99)], -1)
    return [
        videos.write(folder / "plain.mp4", drawn, tone=1.0),
        videos.write(folder / "uneven.mkv", drawn, moments=UNEVEN),
        videos.write(folder / "full-range.mp4", drawn, pixels="yuvj420p"),
        videos.write(folder / "deep.mp4", drawn, pixels="yuv420p10le"),
        videos.write(folder / "stream.ts", drawn, tone=1.0),
        turned(videos.write(folder / "turned.mp4", drawn)),
        coded(folder / "clear.mov", "png", "rgba", clear),
        coded(folder / "clear.mkv", "ffv1", "yuva444p", clear),
    ]


@pytest.mark.host
def test_pictures_are_those_that_comfyui_reads(files, comfyui):
    """To the bit, trimmed and whole, of all kinds."""
    folder, python = comfyui
    shared = sorted((SHARED / "clips").glob("*.mp4"))
    command = [python, ROOT / "tests" / "footage_child.py", ROOT, folder, *files, *shared]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert len(told) == len(files) + len(shared) and not any(told.values()), told


def test_each_frame_has_its_moment(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        clip = read(videos.write(tmp_path / name, videos.pictures(8), moments=UNEVEN))
        assert [float(m * clip.base) for m in clip.moments[:-1]] == pytest.approx(UNEVEN, abs=1e-3)
        assert clip.moments[-1] > clip.moments[-2]
    later = read(tmp_path / "a.mp4", 0.1, 0.45)
    assert [float(m * later.base) for m in later.moments[:-1]] == pytest.approx([0, 0.033, 0.3, 0.333], abs=1e-3)
    assert float(later.first * later.base) == pytest.approx(0.2, abs=1e-3)


def test_frames_are_fitted_as_fit_clip_fits_them(files):
    fit = Fit(longest_side=64)
    whole, small = all_of(read(files[0])), read(files[0], fit=fit)
    assert small.size == (64, 48) and small.shape == (130, 98)
    fitted = fit_frames(lambda first, end: whole[first:end], list(range(8)), (130, 98), fit)
    assert torch.allclose(all_of(small), fitted, atol=1e-6)
    assert torch.equal(all_of(Stills(whole, Fraction(8), fit)), all_of(small))
    assert read(files[0], fit=fit).digest == small.digest != read(files[0]).digest


def test_only_what_is_wanted_is_made(files):
    clip = read(files[0])
    whole = all_of(clip)
    (three, third), (six, sixth) = clip.pictures({6, 3})
    assert (three, six) == (3, 6) and torch.equal(third, whole[3]) and torch.equal(sixth, whole[6])


def test_a_clip_that_is_cut_off_is_as_long_as_what_can_be_read(tmp_path):
    """Its header tells of all frames."""
    path = videos.write(tmp_path / "a.mkv", videos.pictures(60), options={"g": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert 20 < len(clip := read(path)) < 60 and len(all_of(clip)) == len(clip)

    front = tmp_path / "b.mp4"  # mp4 with its header in front
    with av.open(str(videos.write(tmp_path / "c.mp4", videos.pictures(60)))) as source:
        with av.open(str(front), "w", options={"movflags": "faststart"}) as to:
            stream = to.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    to.mux(packet)
    front.write_bytes(front.read_bytes()[: front.stat().st_size * 2 // 3])
    with gathered() as notes:
        clip = read(front)
    assert 10 < len(clip) < 60 and len(all_of(clip)) == len(clip)
    assert re.search(f"header tells of 60 frames and {len(clip)} can be read", "".join(notes))


@pytest.mark.parametrize("name,says", [("clear.mov", "transparent"), ("deep.mp4", "10 bits .* the result has 8")])
def test_what_does_not_come_through_is_said(files, name, says):
    with gathered() as notes:
        all_of(read(next(file for file in files if file.name == name)))
    assert len(notes) == 1 and re.search(says, notes[0])


def test_what_is_no_clip_is_said(tmp_path, files):
    (tmp_path / "words.mp4").write_text("words")
    data = files[0].read_bytes()
    assert data.count(b"avc1") == 2 and data.startswith(b"ftyp", 4)
    (tmp_path / "unknown.mp4").write_bytes(data.replace(b"avc1", b"zzzz"))
    (tmp_path / "begun.mp4").write_bytes(data[:40])
    for path, trim, says in (
        (tmp_path / "absent.mp4", (), "video: the file cannot be read"),
        (tmp_path / "words.mp4", (), "video: the file cannot be read"),
        (tmp_path / "begun.mp4", (), "video: the file cannot be read"),
        (tmp_path / "unknown.mp4", (), "video: the file's pictures are of a kind that nothing here reads"),
        (files[0], (7.0,), "video: no frame from 7 s on"),
    ):
        with pytest.raises(LiveError, match=says):
            read(path, *trim)
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(LiveError, match="video: the file has no picture"):
        read(sound)
    with pytest.raises(LiveError, match="0 frames a second"):
        Stills(torch.zeros(2, 8, 8, 3), Fraction(0))


def test_a_file_that_shrinks_meanwhile_is_said(tmp_path):
    path = videos.write(tmp_path / "a.mp4", videos.pictures(8))
    clip = read(path)
    videos.write(path, videos.pictures(4))
    with pytest.raises(LiveError, match="it had 8 frames and now ends before"):
        all_of(clip)


def test_an_interrupt_is_heard_while_reading(files):
    class Stop(BaseException):
        pass

    def stop():
        raise Stop

    clip = read(files[0])
    for work in (lambda: read(files[0]), lambda: all_of(clip)):
        with pytest.raises(Stop), heeding(stop):
            work()


def test_masks_lie_over_the_clip(files):
    clip = read(files[0], fit=Fit(longest_side=64))
    mask = torch.zeros(8, 98, 130)
    mask[2:, :49] = 1
    masks = masks_of(mask, clip)
    made = all_of(masks)
    assert (
        made.shape == (8, 48, 64) and masks.empty == {0, 1} and made[2, :20].min() > 0.99 and made[2, 30:].max() < 0.01
    )
    assert torch.equal(all_of(masks_of(made, clip)), made)  # of the result's size already
    one = all_of(masks_of(mask[2:3], clip))
    assert len(one) == 8 and torch.equal(one[0], made[2]) and torch.equal(one[7], made[2])
    assert all_of(Masks(clip, clip)).shape == (8, 48, 64)
    for wrong in (torch.ones(7, 98, 130), torch.ones(8, 98, 98)):
        with pytest.raises(LiveError, match="mask: . frames of .* clip has 8 frames of 130x98, .* or of 64x48"):
            masks_of(wrong, clip)
