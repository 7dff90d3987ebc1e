"""A thing cut out of its edit, and laid over the clip's own background."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from live_core import LiveError
from live_core.cutout import cut_out, stood
from live_core.matting import far, silhouette, width
from live_core.notes import gathered
from live_core.registration import seen_at, seen_from, track_beside, track_of
from live_core.steadying import steady
from tests.test_steadying import NEW, OLD, TRACK, drawn, place

REACH = 16.0
NOWHERE = torch.tensor([[-99.0, -99, 1, 0]])
GROUND = drawn((0, 0, 0), 8, NOWHERE)[0]


def larger(factor: float) -> torch.Tensor:
    track = TRACK.clone()
    track[:, 2] *= factor
    return track


def logarithmic(track: torch.Tensor) -> torch.Tensor:
    """The same places as poses, whose size is a logarithm."""
    return torch.cat([track[:, :2], track[:, 2:3].log(), track[:, 3:]], 1)


@pytest.fixture(scope="module")
def clips():
    """The clip, a perfect edit of a thing as large, and the mask of both, with room around."""
    source, perfect = drawn(OLD, 8), drawn(NEW, 8)
    mask = torch.nn.functional.max_pool2d(place(source, perfect)[:, None], 13, 1, 6)[:, 0]
    return source, perfect, mask


def test_a_perfect_edit_stays_as_it_is(clips):
    source, perfect, mask = clips
    with gathered() as notes:
        shown, _ = cut_out(perfect, source, mask, REACH, 0.25)
    assert not notes
    assert (shown - perfect).abs().mean() < 0.002


def test_what_is_smeared_beside_the_thing_is_the_clip_s(clips):
    """In every frame, and in another place in each: no frame is without."""
    source, perfect, mask = clips
    smeared = perfect.clone()
    stripes = [(torch.arange(96) // 6 % 5 == i)[:, None] for i in range(len(source))]
    spoilt = torch.stack(stripes) & (mask > 0) & (place(perfect) == 0)
    smeared[spoilt] += 0.15
    shown, _ = cut_out(smeared, source, mask, REACH, 0.25)
    assert spoilt.flatten(1).any(1).all()
    assert (shown - perfect)[spoilt].abs().mean() < 0.1 * 0.15


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_a_thing_is_made_as_wide_as_the_old_one(clips, factor):
    source, perfect, mask = clips
    shown, _ = cut_out(drawn(NEW, 8, larger(factor)), source, mask, REACH, 0.25)
    wide, right = (place(frames).sum((1, 2)).sqrt() for frames in (shown, perfect))
    torch.testing.assert_close(wide / right, torch.ones(len(source)), atol=0.05, rtol=0)


def test_but_by_no_more_than_it_is_told(clips):
    source, perfect, mask = clips
    edited = drawn(NEW, 8, larger(0.7))
    for resize in (0.0, 0.1):
        shown, _ = cut_out(edited, source, mask, REACH, resize)
        times = (place(shown).sum((1, 2)) / place(edited).sum((1, 2))).sqrt()
        torch.testing.assert_close(times, torch.full((len(source),), 1 + resize), atol=0.05, rtol=0)


def test_where_the_old_thing_stood_is_what_other_frames_show_there(clips):
    """A line behind the old thing, of which the edit drew nothing: it is seen where the thing has gone."""
    source, perfect, mask = (each.clone() for each in clips)
    away = torch.tensor([[20.0, 30, 1, 0], [32, 36, 1, 0], [44, 42, 1, 0], [56, 48, 1, 0], [68, 54, 1, 0]])
    source, small = drawn(OLD, 8, away), drawn(NEW, 4, away)
    line = torch.tensor([0.75, 0.85, 0.6])
    true = small.clone()
    for frames in (source, true):
        bare = (frames[:, :, 40:43] - GROUND[:, 40:43]).abs().amax(-1, keepdim=True) < 0.02
        frames[:, :, 40:43] = torch.where(bare, line, frames[:, :, 40:43])
    edited = torch.where((place(drawn(OLD, 8, away)) > 0)[..., None], small, true)
    mask = torch.nn.functional.max_pool2d(place(drawn(OLD, 8, away), small)[:, None], 9, 1, 4)[:, 0]
    shown, _ = cut_out(edited, source, mask, REACH, 0.0)
    missing = ((edited - true).abs().amax(-1) > 0.1) & (place(small) == 0)
    assert missing.any((1, 2)).sum() >= 3
    assert (shown - true).abs()[missing].mean() < 0.25 * (edited - true).abs()[missing].mean()


def test_a_background_that_moves_is_not_taken_from_other_frames():
    """Stripes that pass: what other frames have where the old thing stood is out of step with this one."""
    away = TRACK.clone()
    away[:, 0] += 5 * torch.arange(5)
    waves = 0.1 * ((torch.arange(96) + 7 * torch.arange(5)[:, None]) / 4).sin()[:, None, :, None]
    source, edited = drawn(OLD, 10, away), drawn(NEW, 4, away)
    for frames in (source, edited):
        frames += waves * ((frames - GROUND).abs().amax(-1, keepdim=True) < 0.02)
    old, new = place(drawn(OLD, 10, away)), place(drawn(NEW, 4, away))
    with gathered() as notes:
        shown, _ = cut_out(edited, source, torch.nn.functional.max_pool2d(old[:, None], 9, 1, 4)[:, 0], REACH, 0.0)
    assert not notes
    bared = (old > 0) & (torch.nn.functional.max_pool2d(new[:, None], 3, 1, 1)[:, 0] == 0)
    assert (shown - edited)[bared].abs().mean() < 0.02


def test_a_thing_that_one_frame_has_elsewhere_keeps_to_the_track(clips):
    source, perfect, mask = clips
    off = TRACK.clone()
    off[0, :2] += torch.tensor([3.0, -2.0])
    shown, _ = cut_out(drawn(NEW, 8, off), source, mask, REACH, 0.25)
    assert (shown - perfect)[0].abs().mean() < 0.2 * (drawn(NEW, 8, off) - perfect)[0].abs().mean()


def test_what_takes_the_place_has_poses_of_its_own(clips):
    """A pixel or two beside the old thing's, and turned, in another way in every frame."""
    source, _, mask = clips
    own = TRACK + torch.tensor(
        [[1.5, -1, 0, 0.1], [-1, 1, 0, 0], [0.5, 1.5, 0, -0.1], [-1.5, 0, 0, 0.05], [0, -1, 0, 0]]
    )
    poses = track_beside(drawn(NEW, 8, own), mask, track_of(source, mask))
    # Both name a point of the thing; seen from the thing it is the same one in all frames.
    named = torch.stack([seen_from(pose, on) for pose, on in zip(poses, logarithmic(own), strict=True)])
    assert (named - named.mean(0))[:, :2].norm(dim=1).max() < 0.15
    assert (named - named.mean(0))[:, 2].abs().max() < 0.02  # half a pixel over its length
    assert (named - named.mean(0))[:, 3].abs().max() < 0.01


def test_an_offset_from_a_pose_leads_back():
    pose, on = torch.tensor([30.0, 40, 3.1, 0.4]), torch.tensor([33.0, 38, 3.3, -0.2])
    torch.testing.assert_close(seen_at(seen_from(pose, on), on), pose)
    # Two sizes to the right of a thing that stands upside down is two sizes to the left in the picture.
    turned = torch.tensor([50.0, 50, 0, np.pi])
    torch.testing.assert_close(seen_at(torch.tensor([2.0, 0, 0, 0]), turned)[:2], torch.tensor([48.0, 50]))


def test_what_the_old_thing_encloses_counts_as_it(clips):
    """Its middle may have the colours of what is around it."""
    source, _, mask = clips
    track = track_of(source, mask)
    was = silhouette(source, source, mask, track)
    hollow = replace(was, inside=was.inside & ~ndimage.binary_erosion(was.inside, iterations=3))
    assert hollow.inside.sum() < was.inside.sum()
    assert torch.equal(stood(hollow, track, mask), stood(was, track, mask))


def test_the_mask_holds_what_was_made_larger(clips):
    source, _, _ = clips
    edited = drawn(NEW, 8, larger(0.8))
    _, mask = cut_out(edited, source, place(source) * 0 + place(edited), REACH, 0.25)
    assert mask.shape == source.shape[:3] and (mask >= place(edited)).all() and mask.sum() > place(edited).sum()


@pytest.mark.parametrize("spoilt", ["old", "new"])
def test_colours_that_do_not_tell_are_noted_and_frames_steadied(clips, spoilt):
    source, perfect, mask = clips
    like = drawn((0.45, 0.55, 0.6), 8)
    source, perfect = (like, perfect) if spoilt == "old" else (source, like)
    with gathered() as notes:
        shown, same = cut_out(perfect, source, mask, REACH, 0.25)
    assert any(str(note).startswith("cut out:") for note in notes)
    assert torch.equal(shown, steady(perfect, source, mask, REACH)) and torch.equal(same, mask)


def test_a_thing_that_changes_its_shape_is_not_one_cut_out(clips):
    source, _, mask = clips
    shapes = [drawn(NEW, narrow, TRACK)[i] for i, narrow in enumerate((2, 6, 12, 20, 30))]
    edited = torch.stack(shapes)
    wide = torch.nn.functional.max_pool2d(place(source, edited)[:, None], 9, 1, 4)[:, 0]
    with gathered() as notes:
        cut_out(edited, source, wide, REACH, 0.25)
    assert any("another shape in each frame" in str(note) for note in notes)


def test_a_soft_mask_stays_soft(clips):
    source, perfect, mask = clips
    soft = 0.2 + 0.7 * mask
    _, shown = cut_out(perfect, source, soft, REACH, 0.25)
    assert (shown[mask == 0] == 0.2).all() and (shown >= soft).all() and (shown == 0.9).any()


def test_one_frame_is_pasted_as_it_is_with_a_note(clips):
    source, perfect, mask = (each[:1] for each in clips)
    with gathered() as notes:
        shown, _ = cut_out(perfect, source, mask, REACH, 0.25)
    assert torch.equal(shown, perfect) and any("one frame" in note for note in notes)


def test_an_old_thing_that_most_frames_show_otherwise_is_noted(clips):
    source, perfect, mask = clips
    others = [OLD, OLD, (0.1, 0.9, 0.2), (0.9, 0.9, 0.1), (0.1, 0.1, 0.1)]
    source = torch.stack([drawn(colour, 8)[i] for i, colour in enumerate(others)])
    with gathered() as notes:
        shown, _ = cut_out(perfect, source, mask, REACH, 0.25)
    assert any("old thing is not found in half" in note for note in notes)
    assert torch.equal(shown, steady(perfect, source, mask, REACH))


def test_what_it_goes_along_must_be_on_and_numbers_must_be_right(clips):
    source, perfect, mask = clips
    with pytest.raises(LiveError, match="cut out: .*steady reach.*give 16"):
        cut_out(perfect, source, mask, 0.0, 0.25)
    with pytest.raises(LiveError, match="resize: -1"):
        cut_out(perfect, source, mask, REACH, -1)


def test_a_silhouette_s_width_is_the_mean_over_directions():
    rows, columns = np.indices((60, 60))
    assert width((rows - 30) ** 2 + (columns - 30) ** 2 <= 400) == pytest.approx(41, abs=1)
    # Cauchy: the mean width of a convex figure is its perimeter over pi.
    assert width((abs(rows - 30) <= 10) & (abs(columns - 30) <= 20)) == pytest.approx(2 * (20 + 40) / np.pi, rel=0.04)


def test_a_stray_colour_is_none_of_those_around():
    colours = torch.zeros(300, 3)
    colours[:5] = 1
    distance = far(torch.ones(2, 1, 3), colours, 12)
    torch.testing.assert_close(distance, torch.full((2, 1), 3**0.5))
