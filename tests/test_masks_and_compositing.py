import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from live_core import LiveError
from live_core.compositing import composite, grow, soften
from live_core.interrupts import heeding
from live_core.masks import MaskRule, word_mask
from live_core.notes import gathered


def test_word_mask_finds_the_hot_spot_frame_by_frame():
    maps = torch.full((2, 64, 5), 0.01)
    maps[0, 3 * 8 + 2, 4], maps[1, 6 * 8 + 5, 4] = 1.0, 0.5
    mask = word_mask(maps, [4], (8, 8), (16, 16), MaskRule(0.3))
    for frame, (y, x) in enumerate(((3, 2), (6, 5))):  # one cell grown by the 3x3 maximum, twice the size
        expected = torch.zeros(16, 16)
        expected[2 * (y - 1) : 2 * (y + 2), 2 * (x - 1) : 2 * (x + 2)] = 1
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


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 50), st.integers(0, 2**31))
def test_growth_is_the_maximum_over_a_square(height, width, pixels, seed):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(grow(mask, pixels), soften(mask[None], pixels)[0])
    expected = [
        [mask[max(0, i - pixels) : i + pixels + 1, max(0, j - pixels) : j + pixels + 1].max() for j in range(width)]
        for i in range(height)
    ]
    assert torch.equal(grow(mask, pixels), torch.tensor(expected))


def test_growth_is_the_pool_s_at_a_fraction_of_its_time():
    mask = torch.rand(128, 128)

    def cost(compute):
        """Seconds of this process alone, the least of three."""

        def once():
            start = time.process_time()
            compute()
            return time.process_time() - start

        return min(once() for _ in range(3))

    def pooled():
        return torch.nn.functional.max_pool2d(mask[None, None], 129, 1, 64)[0, 0]

    assert torch.equal(grow(mask, 64), pooled()) and cost(pooled) > 20 * cost(lambda: grow(mask, 64))
    # Hardly more for 32 times the pixels.
    assert cost(lambda: grow(torch.rand(512, 512), 256)) < 10 * cost(lambda: grow(torch.rand(512, 512), 8))


@pytest.mark.parametrize(
    "work",
    [lambda frames: soften(frames[..., 0], 3, 2.0), lambda frames: composite(frames, 1 - frames, frames[:1, ..., 0])],
    ids=["mask", "paste"],
)
def test_compositing_hears_interrupts_at_every_frame_and_survives_a_shortage(work, monkeypatch):
    from live_core import memory

    frames, rounds = torch.rand(5, 16, 16, 3), []

    def stop():
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heeding(stop):
        work(frames)
    expected, ways, failures = work(frames), memory.with_less, [torch.OutOfMemoryError("no room")]

    def short_once(stage, tried):
        def first():
            if failures:
                raise failures.pop()
            return tried[0][1]()

        return ways(stage, [("", first), *tried[1:]])

    monkeypatch.setattr(memory, "with_less", short_once)
    assert torch.equal(work(frames), expected) and not failures


def test_a_blur_that_pictures_cannot_hold_is_cut_with_a_note():
    mask = torch.zeros(1, 8, 8)
    mask[:, :, 4:] = 1
    with gathered() as notes:
        assert torch.equal(soften(torch.ones(1, 1, 1), 5, 3.0), torch.ones(1, 1, 1))
        assert soften(mask, 0, 3.0).std() < mask.std()
        soften(mask, 0, 1.0)
    assert [text.split(";")[0] for text in notes] == [
        "blur: 3 reaches further than pictures of 1x1 hold, so it is cut off after 0 pixels",
        "blur: 3 reaches further than pictures of 8x8 hold, so it is cut off after 3 pixels",
    ]
