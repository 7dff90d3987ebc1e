"""The demo world: seeded, and honest about where things are."""

import numpy as np
import pytest
from conftest import ROOT

from demo.cases import CASES
from demo.measure import measure
from demo.outlines import FREE_FAMILIES, OTHER_SHAPES, outline, resembles_held_out
from demo.patterns import FREE_PATTERNS
from demo.world import COLOURS, PATTERNS, SCENES, SHAPES, Thing, centroid, free_thing, make_clip, make_picture


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


def test_a_thing_of_another_size_and_tilt_keeps_its_centre():
    clip = make_clip(5, things=(Thing("moon", "red"),))
    larger = clip.posed(0, 1.2, 0.3)
    for was, now in zip(clip.masks(0), larger.masks(0), strict=True):
        assert np.abs(centroid(was) - centroid(now)).max() < 0.2  # pixels
        assert 1.38 < now.sum() / was.sum() < 1.5
    assert np.array_equal(clip.posed(0).frames(), clip.frames())


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


@pytest.mark.parametrize("kind", ["one", "two", "wide", "free", "beside"])
def test_a_larger_picture_is_the_same_picture_in_finer_pixels(kind):
    for seed in range(4):
        (small, caption), (large, same) = make_picture(seed, kind), make_picture(seed, kind, 256)
        assert caption == same and large.frames().shape == (1, 256, 256, 3)
        reduced = large.frames()[0].reshape(128, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(reduced - small.frames()[0]).mean() < 1.5
        assert np.abs(large.centres(0) / 2 - small.centres(0)).max() < 0.5


@pytest.mark.parametrize("family", FREE_FAMILIES)
def test_free_outlines_are_things_of_one_size_and_none_is_held_out(family):
    for seed in range(60):
        points = outline(f"{family}-{seed}")
        assert not resembles_held_out(points) and 0.5 < np.hypot(*points.T).max() <= 1.4001


def test_held_out_outlines_are_known_turned_and_mirrored():
    for points in OTHER_SHAPES.values():
        assert resembles_held_out(points) and resembles_held_out(1.3 * points[:, ::-1] + 0.2)
    assert not any(resembles_held_out(points) for points in SHAPES.values())


def test_a_free_thing_is_called_a_thing_and_never_has_a_held_out_outline():
    rng = np.random.default_rng(0)
    things = [free_thing(rng) for _ in range(300)]
    assert not {thing.shape for thing in things} & set(OTHER_SHAPES)
    assert np.mean([thing.name == "thing" for thing in things]) > 0.95
    assert {(thing.pattern or "").split("-")[0] for thing in things} >= set(FREE_PATTERNS)


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_the_judge_knows_the_true_answer_from_the_unedited_clip(case):
    perfect, unedited = measure(case, case.truth.frames()), measure(case, case.clip.frames())
    assert perfect["object_accuracy"] == 1 and perfect["object_error"] == 0 and perfect["motion_error_px"] < 0.5
    assert unedited["object_accuracy"] == 0 and unedited["object_error"] > 0.2


def test_the_help_page_has_every_case_s_words():
    page = (ROOT / "web" / "docs" / "LIVE_DemoClip.md").read_text().replace("`", "")
    for case in CASES.values():
        assert (
            f"| {case.name} | {case.prompt} | {case.edit_prompt} |"
            f" {', '.join(swap.initial_word for swap in case.swaps)} |" in page
        )
