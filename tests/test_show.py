"""What `make demo` leaves to look at and to read: the moving picture, the gallery, the report."""

import json

import numpy as np
import pytest
from PIL import Image

from demo import run, show
from demo.cases import CASES
from demo.frames import read_video


@pytest.fixture(scope="module")
def clips() -> dict[str, tuple[np.ndarray, ...]]:
    """Case -> clip, made-up edit, true answer; of one photo and of two."""
    return {
        name: (case.clip.frames(), 255 - case.clip.frames(), case.truth.frames())
        for name in ("ball-to-star", "ball-and-box")
        for case in [CASES[name]]
    }


@pytest.mark.parametrize("name", ("ball-to-star", "ball-and-box"))
def test_the_moving_picture_has_clip_photo_and_edit_side_by_side(clips, name, tmp_path):
    clip, edit, _ = clips[name]
    show.write_moving(tmp_path / "demo.webp", show.moving(CASES[name], clip, edit))
    picture = Image.open(tmp_path / "demo.webp")
    assert picture.n_frames == len(clip) and picture.is_animated and (tmp_path / "demo.webp").stat().st_size < 2_000_000
    for i in range(len(clip)):
        picture.seek(i)
        frame = np.asarray(picture.convert("RGB"), float)
        panels = [
            frame[show.TITLE : show.TITLE + show.SIDE, left : left + show.SIDE]
            for left in show.GAP + np.arange(3) * (show.SIDE + show.GAP)
        ]
        for panel, true in zip((panels[0], panels[2]), (clip[i], edit[i]), strict=True):
            small = panel.reshape(128, 2, 128, 2, 3).mean((1, 3))
            assert np.abs(small - true).mean() < 6  # of 255, by the codec
        photo = CASES[name].swaps[0].photo.frames()[0].astype(float)
        assert (np.abs(panels[1].reshape(128, 2, 128, 2, 3).mean((1, 3)) - photo).mean() < 6) == (
            len(CASES[name].swaps) == 1
        )
        assert (frame[: show.TITLE] < 128).any() and (frame[-show.WORDS :] < 160).any()  # titles, prompts


def test_the_gallery_shows_every_case_that_was_run_the_failures_too(clips, tmp_path):
    from demo.cases import write_video

    row = {"recognised": 0.0, "edit_error": 1.0, "ghost": 1.0}
    (tmp_path / "report.json").write_text(
        json.dumps({f"{method} | {name}": row for name in clips for method in ("LIVE", "ceiling")})
    )
    for name, (clip, edit, _) in clips.items():
        write_video(tmp_path / f"source-{name}.mp4", clip)
        write_video(tmp_path / f"{name}-live.mp4", edit)
    show.main(tmp_path, tmp_path / "gallery.jpg")
    picture = np.asarray(Image.open(tmp_path / "gallery.jpg"), float)
    side, left = show.GALLERY_SIDE, 2 * show.GAP + show.GALLERY_SIDE
    for i, name in enumerate(clips):
        top = show.NAME + i * (side + show.NAME + 6)
        for group, frames in enumerate(clips[name]):
            for k, frame in enumerate((0, 4, 7)):
                start = left + group * (3 * side + show.GAP) + k * side
                assert (
                    np.abs(
                        picture[top : top + side, start : start + side].mean((0, 1)) - frames[frame].mean((0, 1))
                    ).max()
                    < 5
                )
        assert (picture[top + side + 2 : top + side + show.NAME] < 100).any()  # its name and what was measured


def test_a_video_is_read_as_it_was_written(clips, tmp_path):
    from demo.cases import write_video

    write_video(tmp_path / "clip.mp4", clips["ball-to-star"][0])
    assert np.abs(read_video(tmp_path / "clip.mp4").astype(float) - clips["ball-to-star"][0]).mean() < 5


def test_a_report_has_the_rows_that_its_numbers_are_read_beside():
    table = {
        (method, "ball-to-star"): {"edit_error": value}
        for method, value in (("LIVE", 0.3), ("unedited clip", 1.0), ("ceiling", 0.1))
    }
    assert run.report(table, single=True) == {
        "edit_error": 0.3,
        "unedited clip": {"edit_error": 1.0},
        "ceiling": {"edit_error": 0.1},
    }
    assert run.report(table, single=False) == {f"{method} | ball-to-star": row for (method, _), row in table.items()}


def test_the_ceiling_is_composited_as_the_workflow_does_it():
    from bench.quality.variants import SHIPPED

    assert run.composite_settings() == {"dilation": SHIPPED.dilation, "blur": SHIPPED.blur}
