"""Test-time editing adaptation: one edit of one frame is learned, from pairs that move together."""

from dataclasses import replace

import pytest
import torch
from chain import assert_untouched, frames, weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.adapt_settings import AdaptSettings
from live_core.adaptation import EditObjective, adapt
from live_core.augmentation import DEGREES, SHEAR, SHIFT, Pairs
from live_core.change_map import change_mask
from live_core.instruct import instruct
from live_core.instruct_settings import INSTRUCT_PIX2PIX, Instruction, Search
from live_core.instruct_stream import InstructedWindows
from live_core.notes import gathered
from live_core.objectives import LearnedWeights
from live_core.pretrained import load_folder
from live_core.tunings import load_tuning, save_tuning
from live_core.video_unet import CLIP, EDIT, LEARNED

ASKED = Instruction("make the ball blue", steps=2, seed=3)
FAST = AdaptSettings(steps=3, learning_rate=1e-3, pairs=2, seed=5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pair():
    """A frame, and it with its red and blue in each other's place."""
    before = frames(1)[0]
    return before, before.flip(-1)


@pytest.fixture(scope="module")
def adapted(instruct_model, pair):
    return adapt(instruct_model, *pair, ASKED, FAST)


def stopping_at(step: int):
    def stop(done, total, latents):
        if done == step:
            raise KeyboardInterrupt

    return stop


def assert_same(a, b):
    assert a.tensors.keys() == b.tensors.keys() and a.losses == b.losses and a.learns == b.learns == EDIT
    assert all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())


# --------------------------------------------------------------------------------------------------------------- pairs
def test_both_pictures_of_a_pair_move_alike(pair):
    """The negative of a picture stays its negative, and each pair moves in its own way."""
    state = torch.get_rng_state()
    before, after = Pairs(pair[0], 1 - pair[0]).draw(3, generator())
    assert before.shape == after.shape == (3, *pair[0].shape)
    torch.testing.assert_close(after, 1 - before, atol=1e-5, rtol=0)
    assert min((before[i] - other).abs().mean() for i in range(3) for other in (pair[0], before[i - 1])) > 1e-3
    assert all(map(torch.equal, Pairs(*pair).draw(3, generator()), Pairs(*pair).draw(3, generator())))
    assert not torch.equal(before, Pairs(*pair).draw(3, generator(1))[0])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_pairs_move_as_far_as_the_paper_lets_them(size):
    """A picture whose colours say where a pixel was shows the transform: its scale, its shift, and that it keeps the
    picture's proportions."""
    rows, columns = (torch.linspace(-1, 1, side) for side in size)
    where = torch.stack([columns.expand(size), rows[:, None].expand(size), torch.zeros(size)], -1)
    drawn = Pairs((where + 1) / 2, where.abs()).draw(40, generator())[0] * 2 - 1
    inside = drawn[:, size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4, :2]
    across = inside.diff(dim=2).mean((1, 2)) * (size[1] - 1) / 2  # columns and rows that one side of the picture passes
    down = inside.diff(dim=1).mean((1, 2)) * (size[0] - 1) / 2
    turn = torch.deg2rad(torch.tensor(float(DEGREES + SHEAR)))
    assert (across[:, 0] > 0.7).all() and (across[:, 0] < 1.1).all() and across[:, 0].std() > 0.02
    assert (down[:, 1] > 0.7).all() and (down[:, 1] < 1.1).all()
    aspect = size[1] / size[0]
    assert max((across[:, 1] / aspect).abs().max(), (down[:, 0] * aspect).abs().max()) < turn.tan() * aspect
    centre = drawn[:, size[0] // 2, size[1] // 2, :2].abs().amax(0)
    assert (centre > 0.05).all() and (centre < 2 * SHIFT + 0.25 + 0.1).all()  # the shift, and where the crop lies


# ------------------------------------------------------------------------------------------------------------ learning
def error(model, pair, tuning=None) -> float:
    """The mean of the objective over a few draws that it did not learn from, with everything shown."""
    learned = LearnedWeights(model, model.unet.trainable(EDIT), 0)
    objective = EditObjective(model, Pairs(*pair), ASKED.text, replace(FAST, pairs=8), learned)
    with torch.no_grad(), model.unet.overlay(tuning.tensors if tuning else {}):
        return float(torch.stack([objective.loss(0, generator(1000 + i))[0] for i in range(4)]).mean())


def test_an_edit_is_learned(instruct_model, pair):
    before = weights(instruct_model)
    learned = adapt(instruct_model, *pair, ASKED, replace(FAST, steps=30))
    assert_untouched(instruct_model, before)
    assert error(instruct_model, pair, learned) < 0.9 * error(instruct_model, pair)
    assert len(learned.losses[0]) == 30 and not learned.losses[1]


def test_only_projections_of_attention_learn(instruct_model, adapted):
    own = dict(instruct_model.unet.unet.named_parameters())
    attention = {name for name in own if ".attn1." in name or ".attn2." in name}
    assert set(adapted.tensors) == {name for name in attention if not name.endswith("bias")}
    assert all(not torch.equal(tensor, own[name]) for name, tensor in adapted.tensors.items())
    assert set(instruct_model.unet.trainable(CLIP)) != set(adapted.tensors)


def test_an_adapted_model_edits_otherwise(instruct_model, adapted):
    clip = instruct_model.encode_frames(frames(2))
    alone, other = (
        instruct(model, clip, ASKED, INSTRUCT_PIX2PIX)
        for model in (instruct_model, instruct_model.with_tuning(adapted))
    )
    assert (alone - other).abs().max() > 1e-2
    search = Search(threshold=0.5, draws=1)
    masks = [change_mask(model, clip, ASKED, search) for model in (instruct_model, instruct_model.with_tuning(adapted))]
    assert not torch.equal(*masks)


def test_no_steps_learn_nothing(instruct_model, pair):
    clip = instruct_model.encode_frames(frames(2))
    none = adapt(instruct_model, *pair, ASKED, replace(FAST, steps=0))
    a, b = (instruct(m, clip, ASKED, INSTRUCT_PIX2PIX) for m in (instruct_model, instruct_model.with_tuning(none)))
    assert torch.equal(a, b) and not none.tensors


def test_conditions_are_left_out_as_in_training(instruct_model, pair):
    """In a twentieth of the rows each: the picture, both, the words."""
    objective = EditObjective(instruct_model, Pairs(*pair), ASKED.text, FAST, None)
    picture = torch.ones(1, 4, 8, 8)
    rows = [objective._stream("0", picture, u) for u in torch.linspace(0, 0.9999, 400).tolist()]
    kinds = [(bool(row.picture.any()), bool(torch.equal(row.text, objective.text))) for row in rows]
    counts = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert counts == pytest.approx({(True, True): 0.85, (False, True): 0.05, (False, False): 0.05, (True, False): 0.05})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_learns_in_its_own(instruct_folder, pair, dtype):
    model = load_folder(instruct_folder, dtype)
    learned = adapt(model, *pair, ASKED, replace(FAST, steps=2))
    own = dict(model.unet.unet.named_parameters())
    assert {tensor.dtype for tensor in learned.tensors.values()} == {dtype}
    assert any(not torch.equal(tensor, own[name]) for name, tensor in learned.tensors.items())
    model.with_tuning(learned)


def test_where_memory_runs_out_it_learns_the_same_with_less(instruct_model, pair, adapted, monkeypatch):
    grad, failures = torch.autograd.grad, [True]

    def crowded(*args, **options):
        if failures and failures.pop():
            raise torch.OutOfMemoryError("no room")
        return grad(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", crowded)
    with gathered() as notes:
        again = adapt(instruct_model, *pair, ASKED, FAST)
    assert_same(again, adapted)
    assert "memory ran out: training went on with activations computed again in the backward pass" in notes


# ------------------------------------------------------------------------------------------------------------- stopped
@pytest.mark.parametrize("step", [1, 2])
def test_a_stopped_adaptation_goes_on_to_the_same_bits(instruct_model, pair, adapted, tmp_path, step):
    before, seen = weights(instruct_model), []
    with pytest.raises(KeyboardInterrupt):
        adapt(instruct_model, *pair, ASKED, FAST, stopping_at(step), tmp_path)
    assert_untouched(instruct_model, before)
    other = replace(ASKED, text="make it night")
    adapt(instruct_model, *pair, other, replace(FAST, steps=1), unfinished=tmp_path)  # not this file's
    again = adapt(instruct_model, *pair, ASKED, FAST, lambda done, *_: seen.append(done), tmp_path)
    assert seen == list(range(step + 1, 4)) and not list(tmp_path.iterdir())
    assert_same(again, adapted)


def test_whatever_an_adaptation_depends_on_tells_unfinished_ones_apart(instruct_model, pair, tmp_path):
    changes = (
        (ASKED, FAST, pair),
        (replace(ASKED, text="make it night"), FAST, pair),
        (ASKED, replace(FAST, seed=6), pair),
        (ASKED, replace(FAST, pairs=1), pair),
        (ASKED, FAST, (pair[0], pair[0])),
        (ASKED, FAST, (pair[1], pair[1])),
    )
    names = set()
    for i, (asked, settings, pictures) in enumerate(changes):
        with pytest.raises(KeyboardInterrupt):
            adapt(instruct_model, *pictures, asked, settings, stopping_at(1), tmp_path / str(i))
        names |= {path.name for path in (tmp_path / str(i)).iterdir()}
    assert len(names) == len(changes)


# --------------------------------------------------------------------------------------------------------------- files
def test_an_adaptation_is_a_tuning_file(instruct_model, adapted, tmp_path):
    file = tmp_path / "edit.safetensors"
    save_tuning(adapted, file)
    loaded = load_tuning(file)
    assert_same(loaded, adapted)
    assert (loaded.prompt, loaded.base, loaded.settings) == (ASKED.text, instruct_model.fingerprint, adapted.settings)
    instruct_model.with_tuning(loaded)


def test_a_file_that_does_not_fit_is_refused(instruct_model, adapted, tmp_path):
    file = tmp_path / "edit.safetensors"
    with pytest.raises(LiveError, match="was trained on 'instruct' .*, and this model is 'other'"):
        replace(instruct_model, name="other", fingerprint="0" * 16).with_tuning(adapted)
    for learns in LEARNED.keys() - {EDIT}:
        with pytest.raises(LiveError, match="is missing|is nothing that tuning learns"):
            instruct_model.with_tuning(replace(adapted, learns=learns))
    one = next(iter(adapted.tensors))
    fewer = {name: tensor for name, tensor in adapted.tensors.items() if name != one}
    with pytest.raises(LiveError, match="is missing"):
        instruct_model.with_tuning(replace(adapted, tensors=fewer))
    save_tuning(adapted, file)
    with safe_open(file, "pt") as opened:
        told = opened.metadata()
    save_file(load_file(file), file, {**told, "learns": "everything"})
    with pytest.raises(LiveError, match="it learned 'everything', and not clip or edit"):
        load_tuning(file)


def test_what_cannot_be_adapted_is_refused_or_noted(demo_model, instruct_model, pair, adapted):
    with pytest.raises(LiveError, match="Adapt to Edit takes an InstructPix2Pix model"):
        adapt(demo_model, *pair, ASKED, FAST)
    with pytest.raises(LiveError, match="^instruction: ' '; say what to change"):
        adapt(instruct_model, *pair, replace(ASKED, text=" "), FAST)
    for wrong in ({"steps": -1}, {"learning_rate": 2.0}, {"pairs": 0}, {"seed": -1}):
        with pytest.raises(LiveError, match=f"^{next(iter(wrong)).replace('_', ' ')}: "):
            replace(FAST, **wrong)
    model, clip = instruct_model.with_tuning(adapted), instruct_model.encode_frames(frames(1))
    with gathered() as notes:
        again = adapt(model, *pair, ASKED, FAST)
        instruct(model, clip, replace(ASKED, text="make it night"), INSTRUCT_PIX2PIX)
        InstructedWindows(replace(ASKED, text="make it day"), INSTRUCT_PIX2PIX).windows(model, 4, 2)
        instruct(model, clip, ASKED, INSTRUCT_PIX2PIX)
    assert_same(again, adapted)
    assert [each.split(";")[0] for each in notes if "few words" not in each] == [
        "model: it is adapted already, and Adapt to Edit starts again from its base",
        "instruction: 'make it night', and the model is adapted to 'make the ball blue'",
        "instruction: 'make it day', and the model is adapted to 'make the ball blue'",
    ]
