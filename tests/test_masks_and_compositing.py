import pytest
import torch
from live_core import LiveError
from live_core.compositing import composite, soften
from live_core.masks import MaskRule, word_mask


def test_word_mask_finds_the_hot_spot_frame_by_frame():
    maps = torch.full((2, 64, 5), 0.01)
    maps[0, 3 * 8 + 2, 4], maps[1, 6 * 8 + 5, 4] = 1.0, 0.5
    mask = word_mask(maps, [4], (8, 8), (16, 16), MaskRule(0.3))
    for frame, (y, x) in enumerate(((3, 2), (6, 5))):                   # one cell grown by the 3x3 maximum, twice the size
        expected = torch.zeros(16, 16)
        expected[2 * (y - 1):2 * (y + 2), 2 * (x - 1):2 * (x + 2)] = 1
        assert torch.equal(mask[frame], expected)


def test_no_words_no_mask():
    assert word_mask(torch.rand(2, 64, 5), [], (8, 8), (16, 16), MaskRule(0.3)).sum() == 0


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (5, 7)])
def test_soften_grows_and_blurs(size):
    mask = torch.zeros(2, *size)
    mask[:, size[0] // 2, size[1] // 2] = 1
    assert torch.equal(soften(mask), mask)
    assert soften(mask, dilation=1).sum() == 2 * 9
    soft = soften(mask, dilation=1, blur=2.0)
    assert soft.shape == mask.shape and 0 <= soft.min() and 0 < soft.max() <= 1


def test_composite_limits_are_exact():
    source, edited = torch.rand(3, 8, 8, 3), torch.rand(3, 8, 8, 3)
    assert torch.equal(composite(source, edited, torch.zeros(3, 8, 8)), source)
    torch.testing.assert_close(composite(source, edited, torch.ones(1, 8, 8)), edited)


def test_composite_says_what_does_not_fit():
    frames = torch.rand(3, 8, 8, 3)
    with pytest.raises(LiveError, match="1 frames of 4x8"):
        composite(frames, frames, torch.ones(1, 8, 4))
    with pytest.raises(LiveError, match="same clip"):
        composite(frames, frames[:2], torch.ones(1, 8, 8))
    with pytest.raises(LiveError, match="dilation: -1; give a whole number of 0 or more"):
        soften(torch.ones(1, 8, 8), -1)
