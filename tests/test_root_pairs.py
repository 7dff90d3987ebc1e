"""Root pairs: edits of a few frames under several seeds, their scores, and the one that is learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from chain import frames
from conftest import ROOT

from demo.frames import to_pictures
from demo.instructions import instruct as ask
from demo.world import SCENES, make_clip
from live_core import LiveError
from live_core.adapt_settings import RootSettings
from live_core.instruct import instruct
from live_core.instruct_settings import INSTRUCT_PIX2PIX, Instruction
from live_core.pretrained import load_folder
from live_core.root_pairs import RootPair, agreement, changes, chosen, root_pairs, sheet

ASKED = Instruction("make the ball blue", steps=2, seed=3)


@pytest.fixture(scope="module")
def clip():
    """(5, 64, 64, 3)."""
    return frames(5)


@pytest.fixture(scope="module")
def pairs(instruct_model, clip):
    return root_pairs(instruct_model, clip, ASKED, RootSettings(candidates=2, frames=3))


def test_every_frame_is_edited_under_every_seed(instruct_model, clip, pairs):
    """By itself, as Edit by Instruction does it under that seed."""
    assert [(pair.frame, pair.seed) for pair in pairs] == [(0, 3), (0, 4), (2, 3), (2, 4), (4, 3), (4, 4)]
    for pair in pairs[3:5]:
        alone = instruct(
            instruct_model,
            instruct_model.encode_frames(clip[pair.frame : pair.frame + 1]),
            replace(ASKED, seed=pair.seed),
            INSTRUCT_PIX2PIX,
        )
        torch.testing.assert_close(pair.after, instruct_model.decode_frames(alone)[0], atol=1e-3, rtol=0)
        assert torch.equal(pair.before, clip[pair.frame])


def test_the_base_model_makes_them(instruct_model, clip, pairs):
    from live_core.adaptation import AdaptSettings, adapt

    other = adapt(instruct_model, clip[0], 1 - clip[0], ASKED, AdaptSettings(steps=2, learning_rate=1e-2, pairs=1))
    again = root_pairs(instruct_model.with_tuning(other), clip, ASKED, RootSettings(candidates=1, frames=3))
    assert all(torch.equal(a.after, b.after) for a, b in zip(again, pairs[::2], strict=True))


def test_the_progress_counts_over_all_seeds(instruct_model, clip):
    seen = []
    root_pairs(
        instruct_model, clip, ASKED, RootSettings(candidates=2, frames=1), callback=lambda *at: seen.append(at[:2])
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_changes_count_where_they_are():
    before = torch.zeros(3, 4, 4, 3)
    after, where = before.clone(), torch.zeros(3, 4, 4)
    after[:, :2] = 0.5
    where[1, :2] = 1
    where[2] = 1
    assert changes(before, after, where).tolist() == [0, 0.5, 0.25]
    assert changes(before, after, 1 - where).tolist() == [0.25, 0, 0]


def test_the_best_score_is_learned_unless_another_is_chosen():
    scores = ((0.3, 0.2, 0.5), (-0.5, 0.2, 0), (0.2, 0.0, 0), (0.2, 0.2, 0.01))  # agreement, change, damage
    made = [RootPair(torch.zeros(8, 8, 3), torch.zeros(8, 8, 3), 0, i, *score) for i, score in enumerate(scores)]
    assert [pair.score for pair in made] == sorted(pair.score for pair in made)
    assert [chosen(made, choice) for choice in (0, 1, 3, 4)] == [3, 0, 2, 3]


def test_the_sheet_shows_all(pairs):
    """A row a frame: itself, then the seeds', each picture where it belongs; and another choice is another sheet."""
    whole = sheet(pairs, 0)[0]
    height, width = whole.shape[0] // 3, whole.shape[1] // 3
    for i, pair in enumerate(pairs):
        row, column = divmod(i, 2)
        for picture, at in ((pair.before, 0), (pair.after, column + 1)):
            cell = whole[row * height : row * height + 200, at * width : at * width + 200]
            small = torch.nn.functional.avg_pool2d(cell.permute(2, 0, 1), 25).permute(1, 2, 0)
            theirs = torch.nn.functional.avg_pool2d(picture.permute(2, 0, 1), 8).permute(1, 2, 0)
            torch.testing.assert_close(small, theirs, atol=0.06, rtol=0)
    assert not torch.equal(sheet(pairs, 1), sheet(pairs, 2))


def test_what_cannot_be_tried_is_refused(demo_model, instruct_model, clip):
    with pytest.raises(LiveError, match="Adapt to Edit takes an InstructPix2Pix model"):
        root_pairs(demo_model, clip, ASKED)
    with pytest.raises(LiveError, match="^frames: 6, and the clip has 5; give 5 or fewer"):
        root_pairs(instruct_model, clip, ASKED, RootSettings(frames=6))
    with pytest.raises(LiveError, match="^choice: 9, and the sheet has 8 edits, 4 of each of 2 frames; give 1 to 8"):
        RootSettings(choice=9)
    with pytest.raises(LiveError, match="^mask: 2 frames of 64x64; the clip has 5 frames of 64x64"):
        root_pairs(instruct_model, clip, ASKED, mask=torch.zeros(2, 64, 64))


# ------------------------------------------------------------------------------------------ what a score knows
@pytest.fixture(scope="module")
def follows_instructions():
    return load_folder(ROOT / "demo" / "model_instruct")


@pytest.mark.parametrize("kind", ["object", "any-colour"])
@pytest.mark.parametrize("seed", [92, 93])
def test_a_score_knows_right_from_wrong(follows_instructions, kind, seed):
    """The right answer before the clip as it was, the answer to another instruction, and the right answer in another
    place."""
    rng = np.random.default_rng(seed)
    clip = make_clip(2_900_000_000 + seed, frames=1)
    text, right = ask(clip, kind, rng)
    _, other = ask(clip, "object", rng)
    place = str(rng.choice([name for name in SCENES if name != clip.scene]))
    made = [right, clip, other, replace(right, scene=place)]
    after = torch.cat([to_pictures(each.frames()) for each in made])
    before = to_pictures(clip.frames()).expand_as(after)
    found = score(follows_instructions, before, after, Instruction(text))
    assert found[0] > max(found[1:]), found


def score(model, before, after, asked) -> list[float]:
    from live_core.root_pairs import _changed

    changed = _changed(model, model.encode_frames(before[:1]), asked, None, [0], 1)
    parts = agreement(model, before, after, asked), *(changes(before, after, each) for each in (changed, 1 - changed))
    return [RootPair(before[0], after[0], 0, 0, *part).score for part in torch.stack(parts, 1).tolist()]
