"""Pictures of what attention did, made from an edit's records."""

import json
import subprocess
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

from demo.cases import CASES
from live_core import LiveError
from live_core.editing import Edit, edit
from live_core.inspect import (
    overlay,
    principal_components,
    scaled,
    show_masks,
    show_self_attention,
    show_steps,
    show_words,
    steps_of,
)
from live_core.interrupts import heeding
from live_core.inversion import invert
from live_core.methods import FATEZERO_ATTRIBUTE, TAV_DDIM
from live_core.notes import gathered
from live_core.preview import plot_rows
from live_core.prompts import Prompt
from live_core.records import FUSION, LOCAL_BLEND, Records, Side

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")


# ------------------------------------------------------------------------------------------------------------- pictures
FRAMES = torch.full((2, 16, 32, 3), 0.5)


def sheet_of(pictures, labels, **options):
    """`plot_rows` of pictures (r, f, H, W, 3)."""
    return plot_rows(lambda row, frame, size: scaled(pictures[row, frame], size), pictures.shape[:4], labels, **options)


def whole(view):
    """Its pictures (r, f, H, W, 3) and maps (r, f, H, W) at the frames' size."""
    return view.drawn(view.frames.shape[1:3])


def made_up(**changes) -> Records:
    """Two frames of 2 x 4 places, steps 3 to 8 of 8. "thing" is two tokens, at place 1 in frame 1 and at place 6 in
    frame 2.
    """
    prompt = Prompt("a thing here", (), ("a", "thing", "here"), ((1,), (2, 3), (4,)))
    words = torch.full((6, 2, 8, 5), 0.01)
    words[:, 0, 1, 2:4] = words[:, 1, 6, 2:4] = 0.2
    words[3:, :, :, 2:4] *= 2
    half = (torch.arange(8) % 4 < 2).float()
    blocks = (half[:, None] == half) / 4
    side = Side(prompt, words.half(), blocks.expand(2, 8, 8).half(), tuple(range(2, 8)))
    return replace(
        Records(
            "made-up",
            8,
            2,
            (2, 4),
            side,
            side,
            {LOCAL_BLEND: {4: torch.arange(16).view(1, 2, 8).expand(2, -1, -1) < 8}, FUSION: {}},
        ),
        **changes,
    )


def test_heat_is_bright_where_the_map_is():
    view = show_words(made_up(), FRAMES, "THING, here")
    pictures, maps = whole(view)
    assert pictures.shape == (2, 2, 16, 32, 3) and maps.shape == (2, 2, 16, 32)
    assert view.labels == ("THING\nsteps 3 to 8\n0 to 0.6", "here\nsteps 3 to 8\n0 to 0.01")
    for frame, (row, column) in enumerate(((4, 12), (12, 20))):
        light = pictures[0, frame].sum(-1)
        assert divmod(int(maps[0, frame].argmax()), 32) in {
            (r, c) for r in range(row - 4, row + 4) for c in range(column - 4, column + 4)
        }
        assert light[row, column] > 1.5 > 0.9 > light[row - 8, column - 8 if column > 15 else column + 12]
    assert maps.amax((1, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.07)  # drawn between the cells' centres
    assert [label.split("\n")[0] for label in show_words(made_up(), FRAMES).labels] == ["a", "thing", "here"]


def test_steps_share_one_scale_and_follow_the_part():
    view = show_steps(made_up(), FRAMES, "thing", rows=3)
    assert [label.split("\n")[1] for label in view.labels] == ["step 3", "step 5", "step 8"]
    assert whole(view)[1].amax((1, 2, 3)).tolist() == pytest.approx([0.47, 0.47, 0.94], abs=1e-3)
    assert show_words(made_up(), FRAMES, "thing", part=(0.9, 0.9)).labels == ("thing\nstep 8\n0 to 0.8",)
    assert (
        steps_of(made_up(), (0, 0.5)) == [2, 3]
        and steps_of(made_up(), (1, 1)) == [7]
        and steps_of(made_up(), (0.25, 0.3)) == [2]
    )


def test_no_heat_is_the_dim_frame_and_full_heat_the_last_colour():
    from matplotlib import colormaps

    frame = torch.rand(1, 2, 3)
    picture = overlay(frame, torch.tensor([[[0.0, 1.0]]]))
    torch.testing.assert_close(picture[0, 0], 0.45 * frame[0, 0])
    torch.testing.assert_close(picture[0, 1], torch.tensor(colormaps["inferno"](1.0)[:3], dtype=torch.float32))


def test_masks_light_what_may_change():
    view = show_masks(made_up(), FRAMES)
    pictures, maps = whole(view)
    assert view.labels == ("local blend\nstep 5",) and maps.mean() == 0.5
    assert torch.equal(pictures[0, 0, :8], FRAMES[0, :8]) and pictures[0, 0, 8:].max() < 0.2


def test_principal_components_separate_blocks_and_follow_them():
    """Three groups of places, elsewhere in each frame but for a few that stay: a group has one colour, groups have
    different ones.
    """
    torch.manual_seed(0)
    groups = torch.tensor(
        [
            [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
            [0, 0, 0, 0, 1, 1, 2, 1, 2, 2, 2, 1],
            [0, 0, 0, 0, 1, 2, 2, 1, 2, 2, 1, 1],
        ]
    )
    same = (groups[:, :, None] == groups[:, None]).float()
    maps = same / same.sum(-1, keepdim=True) + 1e-4 * torch.rand(3, 12, 12)
    found = principal_components(maps)[..., :2]
    centres = torch.stack([found[0][groups[0] == g].mean(0) for g in range(3)])
    assert torch.equal(torch.cdist(found, centres.expand(3, -1, -1)).argmin(-1), groups)
    spread = (found - centres[groups]).norm(dim=-1)
    assert spread.max() < 0.1 * torch.pdist(centres).min()
    assert torch.equal(principal_components(maps), principal_components(maps.clone()))
    view = show_self_attention(made_up(), FRAMES)
    pictures, _ = whole(view)
    left, right = pictures[0, :, :, 4], pictures[0, :, :, -4]
    assert pictures.shape == (1, 2, 16, 32, 3) and (left - right).abs().sum(-1).min() > 0.9


def test_a_sheet_has_a_row_each_and_up_to_eight_frames():
    sheet = sheet_of(torch.rand(3, 20, 16, 32, 3), ("one", "a long label\nof two lines", "x"), side=60)
    left = 16 + 7 * len("a long label")
    assert sheet.shape == (1, 24 + 3 * (30 + 4), left + 8 * (60 + 4), 3) and 0 <= sheet.min() < sheet.max() <= 1
    picture = torch.rand(1, 1, 64, 64, 3)
    torch.testing.assert_close(sheet_of(picture, ("x",), side=64)[0, 24:88, 23:87], picture[0, 0], atol=0.01, rtol=0)
    assert sheet_of(torch.rand(1, 2, 16, 32, 3), ("one",), side=60).shape[2] == 16 + 7 * 3 + 2 * 64


@pytest.mark.parametrize(
    "call,says",
    [
        (
            lambda: show_words(made_up(), FRAMES, "unicorn"),
            "words: 'unicorn' is not in the prompt 'a thing here'; choose from its words: a, thing, here",
        ),
        (lambda: show_words(made_up(), FRAMES[:1]), "images: 1 frames, and the edit has 2"),
        (lambda: show_words(made_up(), torch.ones(2, 16, 32, 4)), "images: 4 channels; expected 3"),
        (
            lambda: show_words(made_up(source=None), FRAMES, side="source"),
            "side: 'source' has no records, since method 'made-up'.*choose 'edit'",
        ),
        (
            lambda: show_words(made_up(), FRAMES, part=(0.6, 0.4)),
            "first, last: 0.6 to 0.4; give a start and an end in order",
        ),
        (
            lambda: show_words(made_up(), FRAMES, part=(0, 0.2)),
            "first, last: 0 to 0.2 is skipped by this edit, which starts at 0.25",
        ),
        (
            lambda: show_masks(made_up(), FRAMES, (0.7, 1)),
            "no mask was used in steps 6 to 8; choose a part of the steps 5 to 5",
        ),
        (lambda: show_masks(made_up(masks={}), FRAMES), "method 'made-up' used none at all"),
    ],
    ids=["word", "frames", "channels", "side", "order", "skipped", "masks elsewhere", "no masks"],
)
def test_bad_inputs_are_named(call, says):
    with pytest.raises(LiveError, match=says):
        call()


def test_methods_without_a_source_have_the_edit_s_side(demo_model, whole_clip):
    records = edit(demo_model, invert(demo_model, whole_clip, CASE.prompt, TAV_DDIM, 2), CHANGE).records
    assert (
        records.source is None
        and not any(records.masks.values())
        and whole(show_words(records, torch.zeros(3, 128, 128, 3)))[0].shape == (7, 3, 128, 128, 3)
    )
    masked = replace(FATEZERO_ATTRIBUTE, self_blend_threshold=0.3)
    attribute = edit(demo_model, invert(demo_model, whole_clip, CASE.prompt, masked, 2), CHANGE).records
    assert attribute.source is not None and attribute.masks[FUSION] and not attribute.masks[LOCAL_BLEND]


@pytest.mark.parametrize(
    "word",
    ["$x", "$x$", "a$b^c_d{e", "\\frac{1}", "{", "^", "\\", "%", "&#<>", "\ud83d", "a\x00b", "\u732b", "$\ud83d{"],
)
def test_words_stand_on_a_sheet_as_they_are(word):
    """No mathematics is read in them, and nothing that a font lacks is an error."""
    blank = torch.ones(1, 1, 8, 8, 3)
    sheet = sheet_of(blank, (f"{word}\nstep 1",))
    assert sheet.isfinite().all() and (sheet[0, 24:, : 14 + 7 * len(word)] < 0.5).any()
    assert not torch.equal(sheet, sheet_of(blank, (f"{word}{word}\nstep 1",))[:, :, : sheet.shape[2]])


def test_dollars_are_drawn():
    two, none = (sheet_of(torch.ones(1, 1, 64, 64, 3), (label,), side=64) for label in ("$a$ $b$", "xax xbx"))
    # Read as mathematics: a and b alone.
    assert two.shape == none.shape and (two[:, 24:, :60] < 0.5).sum() > 0.5 * (none[:, 24:, :60] < 0.5).sum()


def test_a_sheet_of_very_many_rows_has_small_pictures_and_too_many_are_refused():
    with gathered() as notes:
        sheet = sheet_of(torch.zeros(1, 1, 8, 8, 3).expand(300, 2, -1, -1, -1), ("x" * 500,) * 300)
    assert 2**14 < sheet.shape[1] < 2**15 + 100 and sheet.shape[2] < 16 + 7 * 48 + 2 * 164
    assert notes == ["which: 300 rows, so the sheet's pictures are small; choose fewer words or rows"]
    with pytest.raises(LiveError, match="which: 4000 rows are more than a sheet can hold"):
        sheet_of(torch.zeros(1, 1, 8, 8, 3).expand(4000, 2, -1, -1, -1), ("x",) * 4000)


def test_pictures_are_the_size_that_is_asked_for():
    view = show_steps(made_up(), FRAMES)
    assert (
        view.size_within(10**9) == (16, 32)
        and view.size_within(2 * 2 * len(view.labels) * 8 * 16) == (10, 22)
        and view.size_within(1) == (2, 2)
    )
    pictures, maps = view.drawn((8, 16))
    assert pictures.shape == (len(view.labels), 2, 8, 16, 3) and maps.shape == pictures.shape[:-1]
    for row in range(len(view.labels)):
        assert torch.equal(view.cell(row, 1, (8, 16)), pictures[row, 1])


def test_a_shortage_while_drawing_costs_no_bit_and_interrupts_are_heard_at_every_picture(monkeypatch):
    view, rounds, failures = show_steps(made_up(), FRAMES), [], [1]
    expected = whole(view)

    def stop():
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    for work in (
        lambda: whole(view),
        lambda: plot_rows(view.cell, (len(view.labels), 2, 16, 32), view.labels),
        lambda: show_steps(made_up(), FRAMES),
        lambda: principal_components(torch.rand(5, 9, 9)),
    ):
        rounds.clear()
        with pytest.raises(KeyboardInterrupt), heeding(stop):
            work()

    def crowded(frame, heat):
        if failures:
            failures.pop()
            raise torch.OutOfMemoryError("no room")
        return overlay(frame, heat)

    with gathered() as notes:
        found = whole(replace(view, paint=crowded))
    assert all(map(torch.equal, found, expected)) and notes == [
        "memory ran out: Show Attention went on on the CPU, to the same result"
    ]


def test_every_step_of_every_word_of_a_clip_fits_in_memory(comfyui):
    """8 frames of 512 x 512, eight words at five steps: 1.3 GB at the clip's size, more than twice as much again where
    all are drawn at once.
    """
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "inspect_child.py"), str(ROOT), str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (
        report["megabytes"] < 1000
        and report["images"] == [320, 322, 322, 3]
        and report["mask"] == [320, 322, 322]
        and report["sheet"][1] == 24 + 41 * 164
    )
    assert report["notes"] == [
        "which: 40 rows of 8 frames of 512x512 are too much for one batch, so images and mask are 322x322; choose fewer"
        " words or rows for the clip's own size. The sheet is as it would be"
    ]
