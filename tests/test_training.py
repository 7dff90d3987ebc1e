"""Training of the demo model: what its loss and its captions are built from, and that it goes on where it stopped."""

import signal
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from safetensors.torch import load_file, save_file

from demo.data import LOOK, Pictures, draw_look
from demo.instructions import KINDS, instruct
from demo.outlines import OTHER_SHAPES
from demo.tokenizer import CONTEXT
from demo.training.autoencoder import named_latents, prepare
from demo.training.captions import tabulate
from demo.training.decoder import WINDOW, choose_window, window_weight
from demo.training.diffusion import WordMaps, draw_timesteps
from demo.training.instruct import build_instruct, draw_pair, load_or_draw_pairs
from demo.training.instructed import held_out, rest
from demo.training.looks import TOKENS, LookEncoder, read_caption, spread
from demo.training.measures import encode_captions, load_parts
from demo.training.run import Run, to_tensor
from demo.world import Thing, make_picture


@pytest.fixture(autouse=True)
def signals_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_caption_knows_its_words():
    caption = read_caption("a red ball and a thing on the sea", ["red ball", "thing"], look_of=1, tokens=3)
    assert caption.text == "a red ball and a thing thing thing on the sea"
    assert caption.words == ((2, 0), (3, 0), (6, 1), (7, 1), (8, 1)) and caption.told == (6, 7, 8)
    assert read_caption("nothing on the sea", []).words == ()


@pytest.mark.parametrize("tokens", range(1, TOKENS + 1))
def test_each_word_of_a_look_is_moved_by_its_own_vector(tokens):
    caption = read_caption("a red box on the road", ["red box"], 0, tokens)
    offsets, told = torch.randn(1, TOKENS, 128), torch.zeros(2, TOKENS, dtype=torch.long)
    told[1, :tokens] = torch.tensor(caption.told)
    placed = spread(offsets.expand(2, -1, -1), told)
    assert placed.shape == (2, CONTEXT, 128) and placed[0].abs().max() == 0
    assert torch.equal(placed[1, 2 : 2 + tokens], offsets[0, :tokens])
    assert placed[1].abs().sum(-1).count_nonzero() == tokens


def test_captions_as_tensors_are_what_is_read_one_by_one():
    tokenizer = load_parts(ROOT / "demo" / "model").tokenizer
    texts = {"a red ball and a thing on the sea": ["red ball", "thing"], "nothing on the sea": []}
    table = tabulate(Pictures(*[np.zeros(0)] * 3, list(texts), list(texts.values())), tokenizer, "cpu")
    for way in range(TOKENS + 1):
        text, names = next(iter(texts.items()))
        caption = read_caption(text, names, 1 if way else None, max(way, 1))
        padded = tokenizer(caption.text, padding="max_length", max_length=CONTEXT).input_ids
        assert table.ids[0, way].tolist() == padded
        named = zip(table.words[0, way].tolist(), table.which[0, way].tolist(), strict=True)
        assert [each for each in named if each[0]] == list(caption.words)
        if way:
            assert [place for place in table.told[0, way].tolist() if place] == list(caption.told)
    assert table.shares.tolist() == pytest.approx([0.9, 0]) and table.words[1].max() == 0
    dropped = table.draw(torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0.0, 0.9]]))
    assert torch.equal(dropped["ids"][0], table.empty) and dropped["words"].max() == dropped["told"].max() == 0


def test_a_look_shows_the_thing_whole_and_alone():
    for shape in OTHER_SHAPES:
        look = draw_look(Thing(shape, "red"), np.random.default_rng(1))
        assert look.shape == (LOOK, LOOK, 4) and 0.15 < (look[..., 3] > 127).mean() < 0.6
        border = np.concatenate([look[0], look[-1], look[:, 0], look[:, -1]])
        assert (border[:, :3] == 128).mean() > 0.95
    assert LookEncoder()(torch.zeros(2, 4, LOOK, LOOK), torch.zeros(2, TOKENS, 128)).shape == (2, TOKENS, 128)


def test_the_localisation_loss_is_zero_for_the_mask_itself():
    maps, masks = WordMaps(side=8), torch.rand(1, 2, 8, 8)
    for side, kept in maps.maps.items():
        probabilities = torch.rand(1, side * side, CONTEXT)
        probabilities[0, :, 3:5] = F.adaptive_avg_pool2d(masks, side)[0].flatten(1).T
        kept.append(probabilities)
    which, seen, hidden = torch.tensor([[0, 1, 0]]), torch.tensor([True]), torch.tensor([False])
    assert maps.localisation_loss(torch.tensor([[3, 4, 0]]), which, masks, seen).abs() < 1e-3
    assert maps.localisation_loss(torch.tensor([[4, 3, 0]]), which, masks, seen) > 0.01
    assert maps.localisation_loss(torch.tensor([[4, 3, 0]]), which, masks, hidden) == 0


def test_the_decoder_is_shown_things_and_their_rims_count_most():
    things = np.zeros((24, 24), bool)
    things[20:23, 1:4] = True
    for seed in range(20):
        cells = choose_window(things, np.random.default_rng(seed))
        weight = window_weight(things, cells)
        assert things[cells].any() and weight.shape == (WINDOW, WINDOW) and weight.max() > 1
        assert weight[0].max() == 0 and (weight[-1].max() > 0) == (cells[0].stop == 24)


def test_timesteps_cover_all_noise_levels():
    t = draw_timesteps(torch.linspace(0, 1, 2000))
    assert t.min() == 0 and t.max() >= 995 and t.diff().min() >= 0 and t.diff().max() <= 3


def squares(layer, x):
    return {"loss": layer(x).square().mean()}


def test_a_resumed_run_repeats_an_uninterrupted_one(tmp_path):
    def train(folder, *stops):
        for stop in stops:
            torch.manual_seed(0)
            layer = torch.nn.Linear(3, 3)
            run = Run("stage", folder, {"layer": layer}, lr=1e-2, steps=12, average=0.9)
            while run.step < stop:
                generator = torch.Generator().manual_seed(run.step)
                run.learn(partial(squares, layer), x=torch.randn(4, 3, generator=generator))
            run.save()
        return run

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    once, twice = train(tmp_path / "a", 10), train(tmp_path / "b", 4, 10)
    for name, value in once.average.items():
        assert torch.equal(value, twice.average[name]) and torch.equal(once.parameters[name], twice.parameters[name])


def test_a_run_that_is_asked_to_stop_saves_first(tmp_path):
    layer = torch.nn.Linear(3, 3)
    run = Run("stage", tmp_path, {"layer": layer}, lr=1e-2, steps=12, average=0.9)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="step 1, saved"):
        run.learn(partial(squares, layer), x=torch.ones(1, 3))
    assert Run("stage", tmp_path, {"layer": layer}, lr=1e-2, steps=12, average=0.9).step == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_instruction_changes_what_it_says_and_nothing_else(kind):
    for seed in range(6):
        before = make_picture(seed, ("one", "two")[seed % 2])[0]
        text, after = instruct(before, kind, np.random.default_rng(seed))
        same = sum(a == b for a, b in zip(before.things, after.things, strict=False))
        assert (after.scene != before.scene) == (kind == "scene")
        assert len(after.things) == len(before.things) - (kind == "removal")
        if kind != "removal":
            assert same == len(before.things) - (kind != "scene")
        named = [word for word in text.replace("'s", "").split() if word in before.things[0].name.split()]
        assert named or kind == "scene" or len(before.things) == 2


def test_a_pair_is_drawn_from_its_seed():
    before, after, text = draw_pair(3, 64)
    assert before.shape == after.shape == (64, 64, 3) and (before != after).any()
    again = draw_pair(3, 64)
    assert np.array_equal(before, again[0]) and np.array_equal(after, again[1]) and text == again[2]


def test_pairs_are_kept_with_both_their_pictures(tmp_path):
    pairs = load_or_draw_pairs(tmp_path, 3, 64)
    assert len(pairs) == 3 and len(pairs.pictures) == len(pairs.pictures.images) == 6
    before, after, text = draw_pair(1, 64)
    assert np.array_equal(pairs.pictures.images[2:4], [before, after]) and pairs.instructions[1] == text


def test_training_by_instruction_starts_as_the_base(tmp_path):
    """The picture weighs nothing yet, and the words that the base knows mean what they meant."""
    base = ROOT / "demo" / "model"
    unet, text_encoder, tokenizer, _ = build_instruct(base, tmp_path, 16)
    parts = load_parts(base)
    with torch.no_grad():
        caption = tokenizer("a red ball on the sea", padding="max_length", return_tensors="pt").input_ids
        text = text_encoder.eval()(caption).last_hidden_state
        torch.testing.assert_close(text, encode_captions(parts, ["a red ball on the sea"]), rtol=1e-4, atol=1e-4)
        x, picture = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        ours = unet.eval()(torch.cat([x, picture], 1), 500, text).sample
        torch.testing.assert_close(ours, parts.unet(x, 500, text).sample, rtol=1e-4, atol=1e-4)
    assert len(tokenizer("change the ball's colour").input_ids) == 7


def test_no_folder_gets_weights_of_other_latents_than_its_own(tmp_path):
    """The autoencoder that is there stays, so its latents have to be those that are learned."""
    for name in ("model", "model_192", "model_instruct"):
        base, to = ROOT / "demo" / name, tmp_path / name
        prepare(base, to)
        assert named_latents(to) == named_latents(base)
        prepare(base, to, ("vae", "scheduler"))
    weights = tmp_path / "model_192" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["quant_conv.weight"] = 2 * tensors["quant_conv.weight"]
    save_file(tensors, weights)
    with pytest.raises(SystemExit, match="other latents"):
        prepare(ROOT / "demo" / "model", tmp_path / "model_192")


def test_the_rest_of_a_perfect_edit_is_the_pictures_own():
    asked = held_out(6)
    assert [a.kind for a in asked] == list(KINDS)
    for a in asked:
        found = rest(a, to_tensor(a.after.frames())[0])
        assert np.isnan(found) if a.kind == "scene" else found > 60
