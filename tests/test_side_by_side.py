import pytest
import torch

from live_core import LiveError
from live_core.side_by_side import GAP, side_by_side


def test_panels_stand_in_order_and_one_frame_stands_still():
    clip, mask = torch.zeros(3, 16, 24, 3), torch.ones(1, 16, 16)
    clip[1, ..., 0] = 1
    beside = side_by_side({"images": clip, "mask": mask}, height=32, longest=1000)
    assert beside.shape == (3, 32, 48 + GAP + 32, 3)
    assert beside[1, :, :48, 0].min() > 0.99 and beside[1, :, :48, 1].max() < 0.01 and beside[0, :, :48].max() < 0.01
    assert (beside[:, :, 48:] > 0.99).all()


def test_no_wider_than_asked_and_even():
    beside = side_by_side({"a": torch.rand(1, 99, 333, 4), "b": torch.rand(1, 50, 50, 3)}, height=512, longest=301)
    assert beside.shape[2] <= 301 + 2 and beside.shape[1] % 2 == beside.shape[2] % 2 == 0


def test_other_numbers_of_frames_are_named():
    with pytest.raises(LiveError, match="edited: 2 frames, beside a clip of 3"):
        side_by_side({"images": torch.rand(3, 8, 8, 3), "edited": torch.rand(2, 8, 8, 3)}, 8, 99)


def test_transparency_is_white():
    picture = torch.zeros(1, 8, 8, 4)
    picture[..., :4, 3] = 1
    beside = side_by_side({"photo": picture}, 8, 99)
    assert beside[0, :, :4].max() < 0.01 and beside[0, :, 4:].min() > 0.99
