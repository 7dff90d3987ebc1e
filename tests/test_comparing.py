import pytest
import torch

from live_core import LiveError
from live_core.comparing import GAP, side_by_side


def test_panels_stand_in_order_and_one_frame_stands_still():
    clip, mask = torch.zeros(3, 16, 24, 3), torch.ones(1, 16, 24)
    clip[1, ..., 0] = 1
    beside = side_by_side({"images": clip, "mask": mask}, longest=100)
    assert beside.shape == (3, 32, 48 + GAP + 48, 3)
    assert beside[1, :, :48, 0].min() > 0.99 and beside[1, :, :48, 1].max() < 0.01 and beside[0, :, :48].max() < 0.01
    assert (beside[:, :, 48:] > 0.99).all()


def test_the_third_stands_below_the_first():
    black = torch.zeros(1, 10, 20, 3)
    beside = side_by_side({"a": black, "b": black, "c": black}, longest=44)
    assert beside.shape == (1, 10 + GAP + 10, 20 + GAP + 20, 3)
    assert beside[0, :10, 24:].max() == beside[0, 14:, :20].max() == 0 and beside[0, 14:, 20:].min() == 1


def test_no_larger_than_asked_even_and_in_its_own_proportions():
    beside = side_by_side({"a": torch.zeros(1, 99, 333, 4), "b": torch.zeros(1, 50, 50, 3)}, longest=301)
    height, width = beside.shape[1:3]
    assert max(height, width) <= 301 and height % 2 == width % 2 == 0
    square = beside[0, :, -(width - GAP) // 2 :].mean(-1) == 0
    assert square.sum() == height**2 and square[height // 2].sum() == height


def test_other_numbers_of_frames_are_named():
    with pytest.raises(LiveError, match="edited: 2 frames, beside a clip of 3"):
        side_by_side({"images": torch.rand(3, 8, 8, 3), "edited": torch.rand(2, 8, 8, 3)}, 99)


def test_transparency_is_white():
    picture = torch.zeros(1, 8, 8, 4)
    picture[..., :4, 3] = 1
    beside = side_by_side({"photo": picture}, 8)
    assert beside[0, :, :4].max() < 0.01 and beside[0, :, 4:].min() > 0.99
