"""One thing's track, finer than a pixel, and edited frames that agree along it."""

import pytest
import torch

from demo.cases import CASES
from demo.frames import to_frames, to_pictures
from demo.measure import measure
from live_core import LiveError
from live_core.notes import gathered
from live_core.registration import track_of
from live_core.steadying import decided, median, steady

SIDE = 96
# Centre x and y in pixels, size and angle.
TRACK = torch.tensor(
    [
        [30.0, 40, 1, 0],
        [34.3, 42.6, 1.05, 0.04],
        [39.1, 44.9, 1.1, 0.09],
        [43.8, 47.7, 1.15, 0.13],
        [48.4, 50, 1.2, 0.18],
    ]
)
DAMAGED = 2


def drawn(colour: tuple[float, float, float], narrow: float, places: torch.Tensor = TRACK) -> torch.Tensor:
    """(f, SIDE, SIDE, 3): a soft bar with a knob along the track, before a background that stands still."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    ground = torch.stack([0.4 + 0.002 * columns, 0.5 + 0.002 * rows, torch.full_like(rows, 0.6)], -1)
    frames = []
    for x, y, size, angle in places:
        across, down = (columns - x) / size, (rows - y) / size
        u, v = angle.cos() * across + angle.sin() * down, angle.cos() * down - angle.sin() * across
        inside = torch.maximum(1 - ((u / 14) ** 4 + (v / narrow) ** 4), 1 - ((u - 8) ** 2 + (v - 9) ** 2) / 36)
        alpha = (inside * 3).sigmoid()[..., None]
        frames.append(ground + alpha * (torch.tensor(colour) - ground))
    return torch.stack(frames)


def place(frames: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
    """Where any of these differ from the background."""
    ground = drawn((0, 0, 0), 8, torch.tensor([[-99.0, -99, 1, 0]]))
    return torch.stack([((each - ground).abs().amax(-1) > 0.1).float() for each in (frames, *more)]).amax(0)


OLD, NEW = (0.9, 0.2, 0.1), (0.1, 0.2, 0.9)


@pytest.fixture(scope="module")
def clips():
    """The clip, a perfect edit, the same with an arm gone in one frame, and the mask of all."""
    source, perfect = drawn(OLD, 8), drawn(NEW, 6)
    damaged = perfect.clone()
    damaged[DAMAGED, :, :36] = drawn(NEW, 6, torch.tensor([[-99.0, -99, 1, 0]]))[0, :, :36]
    return source, perfect, damaged, place(source, perfect)


def test_a_track_is_finer_than_a_pixel(clips):
    source, _, _, mask = clips
    track = track_of(source, mask)
    assert track.sure.all()
    size = track.poses[:, 2].exp()
    torch.testing.assert_close(size / size[0], TRACK[:, 2] / TRACK[0, 2], atol=0.01, rtol=0)
    torch.testing.assert_close(track.poses[:, 3] - track.poses[0, 3], TRACK[:, 3], atol=0.01, rtol=0)
    # Both name a point of the thing; seen from the thing it is the same one in all frames.
    off, (cos, sin) = (track.poses[:, :2] - TRACK[:, :2]) / TRACK[:, 2:3], (TRACK[:, 3].cos(), TRACK[:, 3].sin())
    own = torch.stack([cos * off[:, 0] + sin * off[:, 1], cos * off[:, 1] - sin * off[:, 0]], 1)
    assert (own - own.mean(0)).norm(dim=1).max() < 0.15


def test_a_round_thing_does_not_turn_with_what_is_behind_it():
    """What is beside a ball turns against it as it passes, and would turn all that is laid along its track."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    hill = (rows - 55 - 6 * (columns / 8).sin()).sigmoid()[..., None]
    ground = hill * torch.tensor([0.6, 0.8, 0.5]) + (1 - hill) * torch.tensor([0.6, 0.8, 0.95])
    far = [((columns - x) ** 2 + (rows - y) ** 2).sqrt() for x, y, *_ in TRACK]
    source = torch.stack([ground + (12 - d).sigmoid()[..., None] * (torch.tensor(OLD) - ground) for d in far])
    track = track_of(source, torch.stack([(d < 18).float() for d in far]))
    assert track.sure.all() and (track.poses[:, 3] == 0).all()
    torch.testing.assert_close(track.poses[:, :2] - track.poses[0, :2], TRACK[:, :2] - TRACK[0, :2], atol=0.2, rtol=0)


def test_a_thing_that_the_border_cuts_is_found(clips):
    gone = TRACK.clone()
    gone[:, 0] = torch.tensor([40.0, 30, 20, 10, 0])
    source = drawn(OLD, 8, gone)
    track = track_of(source, place(source))
    assert track.sure.all()
    moves = track.poses[:, 0] - track.poses[0, 0]
    torch.testing.assert_close(moves, gone[:, 0] - gone[0, 0], atol=0.7, rtol=0)


def test_an_arm_that_melts_in_one_frame_comes_back(clips):
    source, perfect, damaged, mask = clips
    steadied = steady(damaged, source, mask, 16.0)
    before, after = ((each - perfect)[DAMAGED].abs().sum() for each in (damaged, steadied))
    assert after < before / 10
    others = torch.arange(len(source)) != DAMAGED
    assert (steadied - perfect)[others].abs().max() < 0.1  # they stay, but for what sampling takes from an edge


def test_what_one_frame_drew_too_large_is_the_clip_s_again(clips):
    source, perfect, _, mask = clips
    larger, wide = perfect.clone(), mask.clone()
    larger[1, 52:58, 20:50] = torch.tensor(NEW)
    wide[1, 52:58, 20:50] = 1
    steadied = steady(larger, source, wide, 16.0)
    spoilt = (larger - perfect).abs().amax(-1) > 0.3
    assert (steadied - perfect).abs()[spoilt].mean() < 0.03


def test_background_that_passes_behind_the_thing_stays_in_its_place(clips):
    """The edit leaves a line of the background where the old thing was; along the track it would be smeared."""
    source, perfect, _, mask = clips
    source, perfect = source.clone(), perfect.clone()
    line = torch.tensor([0.75, 0.85, 0.6])
    for frames in (source, perfect):
        thing = (frames[:, 30:32, :, 2] - 0.6).abs() > 0.05
        frames[:, 30:32] = torch.where(thing[..., None], frames[:, 30:32], line)
    mask = place(source, perfect) * place(drawn(OLD, 8), drawn(NEW, 6))
    wide = torch.nn.functional.max_pool2d(mask[:, None], 9, 1, 4)[:, 0]
    steadied = steady(perfect, source, wide, 16.0)
    assert (steadied - perfect).abs()[:, 30:32].mean() < 0.01


def test_none_is_off_to_the_same_bytes_and_one_frame_has_no_neighbours(clips):
    source, _, damaged, mask = clips
    assert steady(damaged, source, mask, 0.0) is damaged
    assert torch.equal(steady(damaged[:1], source[:1], mask[:1], 4.0), damaged[:1])
    assert torch.equal(steady(damaged, source, torch.zeros_like(mask), 4.0), damaged)


def test_outside_the_mask_nothing_changes(clips):
    source, _, damaged, mask = clips
    far = torch.nn.functional.max_pool2d(mask[:, None], 31, 1, 15)[:, 0] == 0
    assert torch.equal(steady(damaged, source, mask, 4.0)[far], damaged[far])


def test_a_near_reach_hears_near_frames_alone(clips):
    """Frames 0 and 4 hear nothing of the damage within a third of a frame."""
    source, _, damaged, mask = clips
    near = steady(damaged, source, mask, 0.3)
    assert (near - damaged).abs().max() < 0.02


def test_a_frame_without_the_thing_stands_aside_and_is_noted(clips):
    source, perfect, _, mask = clips
    other = source.clone()
    other[3] = torch.rand(SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    with gathered() as notes:
        steadied = steady(perfect, other, mask, 16.0)
    assert torch.equal(steadied[3], perfect[3])
    assert [note.split(" as the others")[0] for note in notes] == [
        "steady reach: 16, but the thing is not found in 1 of 5 frames (from 4 on)"
    ]


def test_a_mask_of_everything_is_no_thing(clips):
    source, _, damaged, mask = clips
    with gathered() as notes:
        assert steady(damaged, source, torch.ones_like(mask[:1]), 4.0) is damaged
    assert notes[0].startswith("steady reach: 4, but the mask holds the whole picture")


@pytest.mark.parametrize(
    "reach,says",
    [
        (-1.0, "steady reach: -1"),
        (float("nan"), "steady reach: nan"),
        (float("inf"), "steady reach: inf"),
        ("2", "steady reach"),
    ],
)
def test_bad_reaches_are_refused(clips, reach, says):
    source, _, damaged, mask = clips
    with pytest.raises(LiveError, match=says):
        steady(damaged, source, mask, reach)


def test_clips_that_do_not_fit_are_refused(clips):
    source, _, damaged, mask = clips
    with pytest.raises(LiveError, match="must be the same clip"):
        steady(damaged[:2], source, mask, 4.0)
    with pytest.raises(LiveError, match="give a mask of that size"):
        steady(damaged, source, mask[:, :9], 4.0)


@pytest.mark.parametrize("height,width", [(7, 5), (17, 40), (2, 2), (1, 1)])
def test_any_size_runs(height, width):
    clip, mask = torch.rand(3, height, width, 3), torch.zeros(3, height, width)
    mask[:, : max(1, height // 2), : max(1, width // 2)] = 1
    with gathered():
        assert steady(1 - clip, clip, mask, 4.0).isfinite().all()


def test_weights_move_a_median():
    values = torch.tensor([0.0, 1.0, 5.0])[:, None, None, None]
    for weights, expected in (([1.0, 1.0, 1.0], 1.0), ([3.0, 1.0, 1.0], 0.0), ([1.0, 1.0, 3.0], 5.0)):
        assert float(median(values, torch.tensor(weights)[:, None, None, None])) == expected


def test_flickering_shapes_are_steadied_as_the_bench_sees_it():
    """A true answer with the thing missing in one frame and in part in another, by the measures of the bench."""
    case = CASES["ball-to-star"]
    truth, source = case.truth.frames(), case.clip.frames()
    without = case.truth.without(0).frames()
    edited = truth.copy()
    edited[2] = without[2]
    half = int(case.truth.tracks[0].x[5])
    edited[5, :, :half] = without[5, :, :half]
    mask = torch.from_numpy((case.clip.masks(0) >= 0.01) | (case.truth.masks(0) >= 0.01)).float()
    steadied = to_frames(steady(to_pictures(edited), to_pictures(source), mask, 16.0))
    before, after = measure(case, edited), measure(case, steadied)
    assert after["steadiness"] < before["steadiness"] / 3
    assert after["edit_error"] < before["edit_error"] / 2  # what sampling takes from drawn edges is left
    assert after["edge"] > 0.8 * before["edge"]
    assert after["object_accuracy"] == 1


def test_what_one_pixel_decides_alone_is_not_done():
    """A dot beside a sharp edge goes, the edge stands where it stood."""
    share = torch.zeros(1, 9, 9)
    share[:, :, 5:] = 1
    dotted = share.clone()
    dotted[0, 4, 2], dotted[0, 2, 7] = 1, 0
    assert torch.equal(decided(dotted), share)
