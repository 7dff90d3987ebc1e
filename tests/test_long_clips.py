"""Edits by prompts window by window: what rides along, what windows share, and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_untouched, weights
from conftest import ROOT

from live_core import LiveError
from live_core.change import Edit
from live_core.compositing import composite, soften
from live_core.editing import edit
from live_core.frames import FramePlan
from live_core.inversion import invert
from live_core.long_clips import edit_long, edit_window
from live_core.long_settings import LongEdit, Pasting
from live_core.method import Method
from live_core.methods import FATEZERO_ATTRIBUTE, LIVE, METHODS, PROMPT_TO_PROMPT, TAV_DDIM, TOKENFLOW, VID2VID_ZERO
from live_core.notes import gathered
from live_core.null_text import find_null_text
from live_core.objectives import ClipObjective, Learned
from live_core.tuning import tune
from live_core.windows import in_window, windows_along

BLUE = Edit("a blue ball moving on the meadow")
BOUNDED = [row for row in METHODS.values() if not row.frame_plan.dense_blocks and row.segment_length is None]


@pytest.fixture(scope="module")
def seven() -> torch.Tensor:
    """(7, 64, 64, 3), where the ball passes."""
    return torch.from_numpy(CASE.clip.frames()[:7, 32:96, 32:96]).float() / 255


def asked(method: Method = LIVE, **more) -> LongEdit:
    return LongEdit(CASE.prompt, BLUE, method, **{"steps": 2, "window": 3, **more})


def edited(model, images, asked, masks=None, **more):
    """(images, masks) of all windows."""
    at = lambda clip: None if clip is None else lambda places: clip[list(places)]  # noqa: E731
    found = list(edit_long(model, at(images), len(images), asked, at(masks), **more))
    assert [i for each in found for i in each.frames] == list(range(len(images)))
    return torch.cat([each.images for each in found]), torch.cat([each.mask for each in found])


# ------------------------------------------------------------------------------------------------------- what rides
@pytest.mark.parametrize("method", BOUNDED, ids=lambda method: method.name)
@pytest.mark.parametrize("frames, size", [(7, 3), (24, 8), (25, 8), (5, 4), (240, 16)])
@pytest.mark.parametrize("latent_prompt", [False, True])
def test_frames_of_a_window_read_what_they_read_in_the_clip(method, frames, size, latent_prompt):
    plan = method.frame_plan
    whole = plan.sources(frames, latent_prompt)
    for window in windows_along(frames, size, [plan]):
        here, positions = in_window(plan, window, frames), window.positions
        assert positions == sorted(set(positions)) and positions[window.own] == list(window.frames)
        assert len(positions) <= size + 2
        places = [-1, *positions] if latent_prompt else positions  # the clip's frames, as the U-Net counts them
        rows = here.sources(len(positions), latent_prompt)
        for row, own in zip(rows[latent_prompt:][window.own], window.frames, strict=True):
            assert [places[j] + latent_prompt for j in row] == whole[own + latent_prompt]


def test_a_plan_of_steps_has_them_ride_on_both_sides():
    first, second, last = windows_along(12, 5, [FramePlan(("-2", "+1"))])
    assert (first.riders, first.after) == ((), (5,)) and (second.riders, second.after) == ((3, 4), (10,))
    assert last.positions == [7, 8, 9, 10, 11]  # filled up to a window


def test_frames_that_a_mask_is_averaged_over_ride():
    shared = replace(PROMPT_TO_PROMPT, mask_neighbours=2)
    assert [w.positions for w in asked(shared, window=4).windows(12)] == [
        [0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 6, 7, 8, 9],
        [6, 7, 8, 9, 10, 11],
    ]
    assert not asked(replace(shared, blend_threshold=None), window=4).windows(12)[1].riders


def test_frames_that_a_window_s_agree_with_ride():
    """As many as there is room for, and a note where that is hardly any; a window as small as before is not refused."""
    agreed = replace(LIVE, agree_ratio=0.9)
    for window, positions in (
        (8, [0, *range(5, 19)]),
        (6, [0, *range(4, 14)]),
        (4, [0, *range(3, 9)]),
        (2, [0, 1, 2, 3]),
    ):
        with gathered() as notes:
            assert asked(agreed, window=window).windows(24)[1].positions == positions
        said = [f"window: {window}, so frames have {1 if window == 4 else 'none'} of another window to agree with"]
        assert [text.split(", and")[0] for text in notes] == (said if window < 6 else [])
    with gathered() as notes:
        assert not asked(agreed, window=8).windows(8)[0].riders and not notes


def test_a_window_as_long_as_the_clip_has_the_plan_itself():
    for plan in (LIVE.frame_plan, VID2VID_ZERO.frame_plan, FATEZERO_ATTRIBUTE.frame_plan):
        (window,) = windows_along(8, 8, [plan])
        assert in_window(plan, window, 8) is plan


@pytest.mark.parametrize(
    "method, window, said",
    [
        (VID2VID_ZERO, 3, "window: 3 of 7 frames, but in this method frames read all frames .* give 7 or more"),
        (TOKENFLOW, 3, "window: 3 of 7 frames, but 'tokenflow' edits key frames .* give 7 or more"),
        (Method("own", FramePlan(("all",))), 6, "frames read all frames of the clip .* give 7 or more"),
        (LIVE, 1, "window: 1, but 2 frames of others ride along with frame 3 .* give 2 or more"),
        (replace(TAV_DDIM, frame_plan=FramePlan(("-3", "-1"))), 2, "window: 2, but 3 frames of others ride"),
        (replace(PROMPT_TO_PROMPT, mask_neighbours=9), 3, "window: 3, but 4 frames of others ride"),
    ],
)
def test_windows_that_cannot_be_are_refused(method, window, said):
    with pytest.raises(LiveError, match=said):
        asked(method, window=window).windows(7)
    assert len(asked(method, window=7).windows(7)) == 1


# ---------------------------------------------------------------------------------------------------------- the edits
@pytest.mark.parametrize("method", [LIVE, FATEZERO_ATTRIBUTE], ids=lambda method: method.name)
def test_one_window_is_the_ordinary_edit_to_the_bit(demo_model, seven, method):
    images, mask = edited(demo_model, seven, asked(method, window=7, pasting=Pasting(1, 1.5)))
    inversion = invert(demo_model, demo_model.encode_frames(seven), CASE.prompt, method, 2)
    short = edit(demo_model, inversion, BLUE, method)
    soft = soften(short.mask, 1, 1.5)
    assert torch.equal(mask, soft)
    assert torch.equal(images, composite(seven, demo_model.decode_frames(short.latents), soft))


@pytest.mark.parametrize(
    "method, size", [(PROMPT_TO_PROMPT, 7), (FATEZERO_ATTRIBUTE, 4)], ids=lambda value: getattr(value, "name", value)
)
def test_frames_that_see_themselves_and_the_middle_are_the_same_in_any_window(demo_model, seven, method, size):
    """So there is no seam. A window as long as the clip pools norms, where the method has it so: another edit."""
    other, mask = edited(demo_model, seven, asked(method, window=size))
    windowed, its_mask = edited(demo_model, seven, asked(method, window=3))
    torch.testing.assert_close(windowed, other, atol=1e-4, rtol=0)
    assert torch.equal(mask, its_mask)


def test_a_window_is_the_same_whatever_went_before(demo_model, seven):
    """So windows can be shared out, and done again after a stop; and what comes after one does not change it."""
    whole, _ = edited(demo_model, seven, asked())
    window = asked().windows(7)[1]
    alone = edit_window(demo_model, seven[window.positions], window, 7, asked())
    assert torch.equal(alone.images, whole[3:6])
    shorter, _ = edited(demo_model, seven[:6], asked())
    assert torch.equal(shorter, whole[:6])
    without_riders, _ = edited(demo_model, seven[3:6], asked())
    assert (without_riders - whole[3:6]).abs().max() > 0.02


def test_the_mask_of_a_window_is_that_of_its_frames(demo_model, seven):
    mask = torch.zeros(7, 64, 64)
    mask[3, 16:48, 16:48] = 1
    method = replace(TAV_DDIM, guidance_scale=7.5)
    with gathered() as notes:
        _, found = edited(demo_model, seven, asked(method), mask)
    assert torch.equal(found, mask)
    assert [text for text in notes if "mask: it is empty" in text] == [
        "mask: it is empty, so the clip stays as it is; subtract fewer words, or draw a larger mask (frames 1 to 3,"
        " frame 7)"
    ]


def test_null_text_is_found_for_each_window(demo_model, seven):
    told = []
    method = replace(TAV_DDIM, guidance_scale=4.0, inversion_prompt="clip")
    images, _ = edited(
        demo_model,
        seven[:4],
        asked(method, window=4, null_text=1),
        callback=lambda step, total, _: told.append((step, total)),
    )
    assert told == [(i, 6) for i in range(1, 7)]
    inversion = invert(demo_model, demo_model.encode_frames(seven[:4]), CASE.prompt, method, 2)
    short = edit(demo_model, find_null_text(demo_model, inversion, 4.0, 1), BLUE, method)
    assert torch.equal(images, demo_model.decode_frames(short.latents))


def test_progress_goes_over_the_whole_clip_and_stops_it_anywhere(demo_model, seven):
    told, before = [], weights(demo_model)
    edited(demo_model, seven, asked(), callback=lambda *step: told.append(step))
    assert [(step, total) for step, total, _ in told] == [(i, 12) for i in range(1, 13)]
    assert [len(latents) for *_, latents in told] == [3] * 8 + [1] * 4  # own frames alone

    def stop(step, *_):
        if step == 7:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        edited(demo_model, seven, asked(), callback=stop)
    assert_untouched(demo_model, before)


def test_three_times_the_frames_take_no_more_memory():
    child = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "long_child.py"), "live"], capture_output=True, text=True, cwd=ROOT
    )
    assert child.returncode == 0, child.stderr
    short, long = json.loads(child.stdout.splitlines()[-1])
    assert long < 1.1 * short, f"{short / 1e6:.0f} MB, then {long / 1e6:.0f} MB"


# ------------------------------------------------------------------------------------------------------------- tuning
SHORT = replace(FAST, photo_steps=0)


def test_tuning_draws_every_window_and_learns_its_own_frames_alone(demo_model, seven):
    clip, settings = demo_model.encode_frames(seven), replace(SHORT, window=3)
    objective = ClipObjective(demo_model, clip, CASE.prompt, settings, Learned(demo_model, clip, (), settings))
    drawn, own = [], objective.drawn_from
    objective.drawn_from = lambda start: drawn.append(start) or own(start)
    for seed in range(12):
        _, shown = objective.loss(0, torch.Generator().manual_seed(seed))
        assert len(shown) == 3
    assert set(drawn) <= set(range(5)) and len(set(drawn)) >= 4

    window = own(4)
    assert window.positions == [0, 3, 4, 5, 6] and window.own == slice(2, 5)


def test_tuning_in_a_window_as_long_as_the_clip_is_tuning_the_clip(demo_model, seven):
    clip = demo_model.encode_frames(seven[:3])
    whole, windowed = (tune(demo_model, clip, CASE.prompt, (), replace(SHORT, window=n)) for n in (0, 3))
    assert all(torch.equal(t, windowed.tensors[name]) for name, t in whole.tensors.items())
    assert whole.losses == windowed.losses


def test_a_tuning_in_windows_fits_the_edit_in_windows(demo_model, seven, tmp_path):
    clip, settings = demo_model.encode_frames(seven), replace(SHORT, window=3)
    shown = []
    tuning = tune(demo_model, clip, CASE.prompt, (), settings, lambda _i, _n, latents: shown.append(len(latents)))
    assert shown == [3, 3]
    with pytest.raises(ZeroDivisionError):
        tune(demo_model, clip, CASE.prompt, (), settings, lambda step, *_: 1 // (step - 1), tmp_path)
    again = tune(demo_model, clip, CASE.prompt, (), settings, unfinished=tmp_path)
    assert all(torch.equal(t, again.tensors[name]) for name, t in tuning.tensors.items())
    with gathered() as notes:
        edited(demo_model.with_tuning(tuning), seven, asked(replace(LIVE, unconditional_latent_prompt="trained")))
    assert notes == []


@pytest.mark.parametrize(
    "plan, window, said",
    [(LIVE.frame_plan, 1, "window: 1, but 2 frames"), (FramePlan(("all",)), 3, "frames read all frames")],
)
def test_windows_that_no_tuning_can_draw_are_refused(demo_model, seven, plan, window, said):
    with pytest.raises(LiveError, match=said):
        tune(
            demo_model, demo_model.encode_frames(seven), CASE.prompt, (), replace(SHORT, frame_plan=plan, window=window)
        )
