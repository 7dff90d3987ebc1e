"""ComfyUI's prompt syntax: weights, embeddings, long prompts, tokens; as ComfyUI itself reads and encodes them."""

import json
import re
import subprocess

import pytest
import torch
from conftest import ROOT
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from live_core import LiveError
from live_core.notes import gathered
from live_core.prompts import check_prompt, read_prompt
from live_core.syntax import check_syntax, pieces
from live_core.text import Embeddings, encode, read_embedding

DEMO = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")


def test_prompts_are_read_and_encoded_as_comfyui_does(comfyui, tmp_path):
    """The same tokens and weights in the same chunks, and the same text, of written and of random prompts, padded as
    Stable Diffusion 1.x and 2.x are."""
    folder, python = comfyui
    done = subprocess.run(
        [python, str(ROOT / "tests" / "prompt_child.py"), str(ROOT), str(folder), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["ids"] == report["weights"] == [] and report["prompts"] >= 160 and set(report["chunks"]) >= {1, 2, 3}
    assert report["apart"] < 1e-5, report["apart"]


@pytest.fixture(scope="module")
def clip_tokenizer(comfyui):
    tokenizer = CLIPTokenizer.from_pretrained(comfyui[0] / "comfy" / "sd1_tokenizer")
    tokenizer.model_max_length = 77
    return tokenizer


@given(
    st.text(
        st.one_of(
            st.sampled_from("abcZ019'.,-_!?#*/:;<>é  "),
            st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="()\\İ"),
        ),
        max_size=40,
    )
)
def test_word_by_word_the_tokens_are_those_of_the_whole(clip_tokenizer, text):
    """The words are looked for in the tokens that the model reads: nothing is tokenised twice. (A small İ is two
    characters, of which a sign after it would take the second.)"""
    assume("embedding:" not in text)
    prompt = read_prompt(text, clip_tokenizer)
    assert [prompt.ids[t] for tokens in prompt.tokens for t in tokens] == clip_tokenizer(
        text, add_special_tokens=False
    ).input_ids


@pytest.mark.parametrize(
    "text,words",
    [
        ("wait... what?!", ("wait", "...", "what", "?!")),
        ("a -- b", ("a", "--", "b")),
        ("C++ code", ("C", "++", "code")),
        ("the cat's don't", ("the", "cat's", "don't")),
        ("4k (8k:1.3)", ("4k", "8k")),
    ],
)
def test_signs_are_words_as_clip_has_them(clip_tokenizer, text, words):
    prompt = read_prompt(text, clip_tokenizer)
    assert prompt.words == words and prompt.find("...") == ([2] if "..." in words else [])


def test_weights_are_no_words():
    plain, weighed = read_prompt("a blue star moving", DEMO), read_prompt("a (blue (star):1.2) moving", DEMO)
    assert weighed.words == plain.words and weighed.ids == plain.ids and weighed.tokens == plain.tokens
    assert [weighed.weights[t] for t in (1, *weighed.find("blue star"), *weighed.find("moving"))] == pytest.approx(
        [1, 1.2, 1.32, 1]
    )


def test_placeholders_are_found_in_any_case_and_beside_signs():
    prompt = read_prompt("(<Thing*>:1.4)'s hat, <thing*>", DEMO, {"<thing*>": 1})
    first, second = prompt.find("<thing*>")
    assert (
        prompt.ids[first] == prompt.ids[second] == -1
        and prompt.weights[first] == 1.4
        and prompt.weights[second] == 1
        and prompt.words[1] == "'s"
    )


@pytest.fixture
def known(tmp_path):
    (tmp_path / "sub").mkdir()
    save_file({"emb_params": torch.randn(3, 64)}, tmp_path / "three.safetensors")
    save_file({"clip_g": torch.randn(2, 40), "clip_l": torch.randn(64)}, tmp_path / "sub" / "one.safetensors")
    save_file({"x": torch.zeros(1, 64)}, tmp_path / "sub" / "three.safetensors")
    save_file({"x": torch.randn(2, 40)}, tmp_path / "other.safetensors")
    save_file({"x": torch.full((1, 64), torch.nan)}, tmp_path / "nan.safetensors")
    save_file({"x": torch.zeros(2, 64, dtype=torch.int64)}, tmp_path / "whole.safetensors")
    (tmp_path / "old.pt").write_bytes(b"x")
    (tmp_path / "cut.safetensors").write_bytes(b"x")
    return Embeddings({path.relative_to(tmp_path).as_posix(): path for path in sorted(tmp_path.rglob("*.*"))}, 64)


def test_an_embedding_is_one_word_of_its_vectors(known):
    prompt = read_prompt("a embedding:three, <thing*> embedding:one.safetensors", DEMO, {"<thing*>": 1}, known)
    assert prompt.words == ("a", "embedding:three", ",", "<thing*>", "embedding:one.safetensors")
    assert [prompt.ids[t] for t in prompt.find("embedding:three")] == [-2, -3, -4] and [
        prompt.ids[t] for t in prompt.tokens[3]
    ] == [-1]
    assert torch.equal(torch.stack(prompt.vectors[:3]), known["three"]) and torch.equal(
        prompt.vectors[3], known["sub/one"][0]
    )


def test_embeddings_are_listed_as_prompts_can_name_them(tmp_path):
    """As in ComfyUI, a name ends at a blank, < or [, and its parentheses are signs only where they are escaped."""
    names = ("plain", "film (old)", "film(old)", "a<b", "a[b]")
    for name in names:
        save_file({"x": torch.randn(1, 64)}, tmp_path / f"{name}.safetensors")
    known = Embeddings({path.name: path for path in tmp_path.iterdir()}, 64)
    with pytest.raises(LiveError, match="is not there") as refused:
        read_prompt("a embedding:film (old) ball", DEMO, {}, known)
    listed, renamed = str(refused.value).split("models/embeddings: ")[1].split("; rename ")
    assert set(listed.split(", ")) == {"plain", r"film\(old\)"}
    assert all(repr(name) in renamed for name in ("film (old)", "a<b", "a[b]"))
    for name in listed.split(", "):
        prompt = read_prompt(f"a embedding:{name} ball", DEMO, {}, known)
        assert prompt.weights == (1.0,) * len(prompt.weights) and len(prompt.vectors) == 1


@pytest.mark.parametrize(
    "text,says",
    [
        (
            "a embedding:absent ball",
            (
                "'embedding:absent' is not there; write one of the .safetensors files of models/embeddings: cut, nan, "
                "other, sub/one, sub/three, three"
            ),
        ),
        ("embedding:", "'embedding:' is not there"),
        ("embedding:../three", "is not there"),
        ("embedding:old", "old.pt' can run code"),
        ("embedding:cut", "'cut' cannot be read"),
        ("embedding:whole", r"'whole' holds x \(2, 64\), which are no fractions, and"),
        ("embedding:other", r"'other' holds x \(2, 40\), and this model's text encoder reads vectors of 64"),
        ("embedding:nan", "not finite"),
        ("(a:nan)", "weight 'nan' in '\\(a:nan\\)' is not finite"),
        ("(a:1e999)", "not finite"),
        ("(" * 200 + "a" + ")" * 200, "more than 100 deep"),
        ("half \ud800", "half a character at place 6"),
    ],
)
def test_what_cannot_be_read_is_refused(known, text, says):
    with pytest.raises(LiveError, match=f"prompt: .*{says}"):
        read_prompt(text, DEMO, {}, known)


def test_embeddings_are_read_with_their_own_vectors_in_place(demo_model, tmp_path):
    """An embedding that holds the vectors of words is those words."""
    table = demo_model.text_encoder.get_input_embeddings().weight
    ids = DEMO("red ball", add_special_tokens=False).input_ids
    save_file({"emb_params": table[ids].clone()}, tmp_path / "thing.safetensors")
    assert torch.equal(read_embedding(tmp_path / "thing.safetensors", table.shape[1]), table[ids])
    known = Embeddings({"thing.safetensors": tmp_path / "thing.safetensors"}, table.shape[1])
    spelled, named = (
        encode(read_prompt(text, DEMO, {}, known), demo_model.text_encoder)
        for text in ("a red ball on the meadow", "a embedding:thing on the meadow")
    )
    torch.testing.assert_close(named, spelled)


@pytest.mark.parametrize(
    "text,says",
    [
        ("a ball BREAK a box", "'BREAK' is read as words"),
        ("a ball AND a box", "'AND' is read"),
        ("a [red] ball", r"'\[red\]' is read as words.*write \(word:0.8\)"),
        ("a {red|blue} ball", r"'\{red\|blue\}' is read"),
        ("a (red ball", "parentheses do not pair"),
        ("a red) ball", "parentheses do not pair"),
        ("a (red:x) ball", r"'\(red:x\)' has no number"),
        ("a ((red:1,2) ball:1.1)", r"'\(red:1,2\)' has no number"),
        ("a red:1.2 ball", r"'red:1.2' is read as words.*\(word:1.2\), in parentheses"),
        ("a (red:1.2:1.3) ball", "'red:1.2' is read as words"),
        ("a (red)++ ball", r"'\)\+\+' is read as words"),
        ("a red++ ball", r"'red\+\+' is read as words"),
        ("a __colours/bright__ ball", "'__colours/bright__' is read as words.*wildcards"),
        ("a ball // with a comment", "'// with a comment' is read as words"),
        ("a ball /* with */ a box", r"'/\* with \*/' is read as words"),
        ("a <thing* in the snow", r"'<thing\*' is read as words.*ends in '>'"),
        ("a,embedding:x", "no blank stands before 'embedding:'"),
        ("Embedding:x", "in capitals"),
    ],
)
def test_what_is_not_comfyui_s_syntax_is_noted(text, says):
    with gathered() as notes:
        check_syntax(text, "edit prompt")
    assert len(notes) == 1 and notes[0].startswith("edit prompt: ")
    assert re.search(says, notes[0]), notes[0]


def test_a_lora_is_refused_and_good_prompts_pass_without_a_word():
    with pytest.raises(LiveError, match="negative prompt: '<lora:x:0.8>' loads nothing in ComfyUI; .*Load LoRA"):
        check_syntax("a ball <lora:x:0.8>", "negative prompt")
    with gathered() as notes:
        for text in (
            "a (blue star:1.2), (embedding:x:0.5) [v] on the ((meadow))",
            "A BALL AND A BOX",
            "\\(a\\) smile :\\)",
            "at (10:30), at 10:30, 16:9, at http://x",
            "a C++ book, a + b, __ a <3 b --",
            "embedding:v1.5 (a star:.5) (a star : 1.5 )",
            "a (b: 1.2 )",
            "",
        ):
            check_syntax(text, "prompt", ("[v]",))
    assert notes == []


def test_words_that_a_small_vocabulary_spells_are_noted(clip_tokenizer):
    with gathered() as notes:
        check_prompt(read_prompt("a red spiderman, moving on é", DEMO), "edit prompt", DEMO)
        check_prompt(read_prompt("a red xyzzyq capybara", clip_tokenizer), "edit prompt", clip_tokenizer)
        check_prompt(read_prompt("a red ball, moving <x*>!", DEMO, {"<x*>": 1}), "edit prompt", DEMO, ("<x*>",))
        said = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model_instruct" / "tokenizer")
        check_prompt(read_prompt("change the ball's colour", said), "instruction", said)
    assert len(notes) == 1 and "few words, and reads 'spiderman', 'é' letter by letter" in notes[0]
    with gathered() as notes:
        check_prompt(read_prompt("change the spider's colour", said), "instruction", said)
    assert len(notes) == 1 and "spider's" in notes[0]


def test_pieces_know_where_blanks_are():
    """What stands between blanks is a word of prompt-to-prompt, whatever weighs in it."""
    assert [(piece.text, piece.glued) for piece in pieces("a(b) (c)d embedding:e, f", {"e"})] == [
        ("a", False),
        ("b", True),
        (" ", False),
        ("c", False),
        ("d ", True),
        ("e", False),
        (", f", True),
    ]
