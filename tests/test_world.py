"""The demo world: seeded, and honest about where things are."""
import numpy as np
import pytest
from conftest import ROOT
from demo.cases import CASES
from demo.measure import measure
from demo.world import COLOURS, OTHER_SHAPES, PATTERNS, SCENES, SHAPES, Thing, make_clip, make_picture


def test_vocabulary_is_large_enough():
    assert len(SHAPES) >= 10 and len(COLOURS) >= 9 and len(SCENES) >= 8


@pytest.mark.parametrize("seed", range(4))
def test_a_clip_follows_from_its_seed_and_moves(seed):
    clip = make_clip(seed, 5, count=1 + seed % 2)
    assert np.array_equal(clip.frames(), make_clip(seed, 5, count=1 + seed % 2).frames())
    assert np.ptp(clip.centres(0)[:, 0]) > 10
    assert all(thing.colour in clip.caption and thing.shape in clip.caption for thing in clip.things)


@pytest.mark.parametrize("shape", [*SHAPES, *OTHER_SHAPES, "blob-3"])
@pytest.mark.parametrize("pattern", [None, *PATTERNS])
def test_the_true_edit_changes_the_thing_and_nothing_else(shape, pattern):
    clip = make_clip(5, 2, (Thing("ball", "red"),), "meadow")
    truth = clip.swap(0, Thing(shape, "blue", pattern, "yellow" if pattern else None))
    changed = np.abs(truth.frames().astype(int) - clip.frames()).max(-1) > 1
    allowed = np.maximum(clip.masks(0), truth.masks(0)) > 0
    assert changed.any() and not (changed & ~allowed).any()
    assert np.linalg.norm(truth.centres(0) - clip.centres(0), axis=1).max() < 0.5


def test_an_unedited_clip_moves_as_every_true_answer_does():
    clip = make_clip(5, 2, (Thing("moon", "red"),), "meadow")
    for shape in (*SHAPES, *OTHER_SHAPES):
        assert np.linalg.norm(clip.swap(0, Thing(shape, "blue")).centres(0) - clip.centres(0), axis=1).max() < 0.5


def test_masks_show_what_is_visible():
    clip = make_clip(8, 4, count=2)
    assert ((clip.masks(0) + clip.masks(1)) <= 1.0001).all()
    assert not (clip.without(0).frames() == clip.frames()).all()


def test_pictures_name_only_the_vocabulary():
    for seed in range(30):
        assert make_picture(seed, "wide")[1].find("thing") >= 0
        assert "nothing" in make_picture(seed, "empty")[1]


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_the_judge_knows_the_true_answer_from_the_unedited_clip(case):
    perfect, unedited = measure(case, case.truth.frames()), measure(case, case.clip.frames())
    assert perfect["object_accuracy"] == 1 and perfect["object_error"] == 0 and perfect["motion_error_px"] < 0.5
    assert unedited["object_accuracy"] == 0 and unedited["object_error"] > 0.2


def test_the_help_page_has_every_case_s_words():
    page = (ROOT / "web" / "docs" / "LIVE_DemoClip.md").read_text().replace("`", "")
    for case in CASES.values():
        assert f"| {case.name} | {case.prompt} | {case.edit_prompt} | {', '.join(swap.initial_word for swap in case.swaps)} |" in page
