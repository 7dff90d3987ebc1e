"""What a viewer sees where two windows of a long clip meet, measured as the bench does."""

import torch

from bench.seams import AGREED, BY_WORDS, Seams, seams, to_and_fro
from demo.measure.places import far
from live_core.change import Edit
from live_core.long_settings import LongEdit


def measured(model, method, **asked) -> Seams:
    """Of sixteen frames."""
    case = to_and_fro(16)
    images = torch.from_numpy(case.clip.frames()).float() / 255
    change = Edit("a blue star moving on the meadow")
    return seams(model, images, far(case), LongEdit(case.prompt, change, method, **asked))


def test_a_border_shows_no_more_than_any_two_frames_do(demo_model):
    """The background changes across a border as it does between the same two frames within a window. FateZero's frames
    are the same in any window (test_long_clips.py); LIVE's chain of previous frames begins anew in each, which may
    show by a thirtieth, where what shows is some levels of 255. Norms over a window's frames showed by up to a fifth.
    """
    found = measured(demo_model, BY_WORDS, steps=2, window=4)
    across, within = found.across[:, 0], found.within[:, 0]
    assert len(across) == 6 and within.min() > 0.5
    assert abs(across / within - 1).max() < 1 / 30


def test_frames_agree_across_a_border(demo_model):
    """A window's frames agree with those of its neighbours, which ride along: else a thing looked another from window
    to window, by a tenth where it changes most."""
    found = measured(demo_model, AGREED, steps=3, window=8)
    across, within = found.across.mean(0), found.within.mean(0)
    assert len(found.across) == 2 and within.min() > 0.5
    assert (abs(across / within - 1) < 1 / 30).all()
