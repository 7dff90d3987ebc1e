"""Edits by prompts of clips that come in windows: the frames of `edit_long`, whoever runs them."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch
from chain import CASE

from live_core import LiveError
from live_core.change import Edit
from live_core.engine import Here
from live_core.footage import Stills
from live_core.long_clips import edit_long
from live_core.long_settings import LongEdit, Pasting
from live_core.long_stream import PromptedWindows, edit_task
from live_core.methods import FATEZERO_ATTRIBUTE, LIVE, PROMPT_TO_PROMPT
from live_core.streaming import Job, tasks

BLUE = Edit("a blue ball moving on the meadow")
ASKED = LongEdit(CASE.prompt, BLUE, FATEZERO_ATTRIBUTE, 1, 2, pasting=Pasting(1, 1.0))


@pytest.fixture(scope="module")
def five() -> torch.Tensor:
    """(5, 64, 64, 3)"""
    return torch.from_numpy(CASE.clip.frames()[:5, 32:96, 32:96]).float() / 255


def test_a_streamed_edit_has_the_frames_of_the_whole(demo_model, five):
    """The middle frame rides in windows before it, too."""
    windows = PromptedWindows(ASKED, 5)
    job = Job(Stills(five, Fraction(8)), windows.windows(demo_model), windows.key(demo_model))
    told = []
    work = partial(edit_task, asked=windows)
    frames = list(Here().map(work, demo_model, tasks(job, range(3)), lambda done, _: told.append(done)))
    whole = torch.cat([each.images for each in edit_long(demo_model, lambda places: five[list(places)], 5, ASKED)])
    assert torch.equal(torch.cat(frames), whole)
    assert told == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


class Counted(Stills):
    """Stills that know which of them were read last."""

    def pictures(self, wanted):
        for i, picture in super().pictures(wanted):
            self.read = i
            yield i, picture


def test_every_window_gets_its_frames_and_none_is_read_long_before():
    """Riders behind a window, near or far, are there; those far behind it are read once, ahead of all."""
    clip = Counted(torch.arange(24.0)[:, None, None, None].expand(-1, 8, 8, 3) / 24, Fraction(8))
    near = replace(PROMPT_TO_PROMPT, mask_neighbours=1)
    for method in (FATEZERO_ATTRIBUTE, LIVE, near):
        windows = replace(ASKED, method=method, window=4).windows(24)
        for task, window in zip(tasks(Job(clip, windows, ""), range(6)), windows, strict=True):
            assert torch.allclose(task.pictures[:, 0, 0, 0] * 24, torch.tensor(window.positions).float())
            assert clip.read <= window.frames.stop, method.name
    assert replace(ASKED, window=4).windows(24)[0].after == (11,)


def test_another_edit_is_known_as_another(demo_model, tuned):
    key = PromptedWindows(ASKED, 5).key
    others = [
        PromptedWindows(replace(ASKED, **changes), 5).key(demo_model)
        for changes in (
            {},
            {"prompt": "a ball"},
            {"change": Edit("a green ball moving on the meadow")},
            {"method": LIVE},
            {"steps": 2},
            {"pasting": None},
            {"null_text": 1},
        )
    ]
    assert len({*others, key(tuned), PromptedWindows(ASKED, 6).key(demo_model)}) == 9
    assert key(demo_model) == others[0]


def test_what_cannot_be_streamed_is_refused(demo_model, instruct_model):
    with pytest.raises(LiveError, match="is an InstructPix2Pix model .*Edit Long Video takes a text-to-image model"):
        PromptedWindows(ASKED, 5).windows(instruct_model)
    with pytest.raises(LiveError, match="window: 1, but 2 frames"):
        PromptedWindows(replace(ASKED, method=LIVE, window=1), 5).windows(demo_model)
