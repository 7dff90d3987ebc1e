"""What a viewer sees where two windows of a long clip meet, measured as the bench does."""

import torch

from bench.seams import BY_WORDS, seams, to_and_fro
from demo.measure.places import far
from live_core.change import Edit
from live_core.long_settings import LongEdit


def test_a_border_shows_no_more_than_any_two_frames_do(demo_model):
    """The background changes across a border as it does between the same two frames within a window. FateZero's frames
    are the same in any window (test_long_clips.py); LIVE's chain of previous frames begins anew in each, which may
    show by a thirtieth, where what shows is some levels of 255. Norms over a window's frames showed by up to a fifth.
    """
    case = to_and_fro(16)
    images = torch.from_numpy(case.clip.frames()).float() / 255
    asked = LongEdit(case.prompt, Edit("a blue star moving on the meadow"), BY_WORDS, steps=2, window=4)
    found = seams(demo_model, images, far(case), asked)
    across, within = found.across[:, 0], found.within[:, 0]
    assert len(across) == 6 and within.min() > 0.5
    assert abs(across / within - 1).max() < 1 / 30
