"""Spans, alignment and the token edit, by example and by property."""

import re
from itertools import pairwise

import pytest
import torch
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from live_core import LiveError
from live_core.alignment import align_words
from live_core.phrases import read_weights, read_windows
from live_core.prompts import read_prompt, split_words
from live_core.token_edits import at_step, place_words, refine_words, replace_words, swap_words, word_windows

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")
WORDS = ["a", "red", "ball", "moving", "on", "the", "meadow", "spiderman", "blue", "star", "and"]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


def read(text, *placeholders):
    return read_prompt(text, TOKENIZER, dict.fromkeys(placeholders, 1))


@given(sentences)
def test_ids_are_the_tokenizer_s_own(text):
    prompt, theirs = read(text), TOKENIZER(text, padding="max_length", max_length=TOKENIZER.model_max_length).input_ids
    assert [prompt.ids[t] for tokens in prompt.tokens for t in tokens] == theirs[
        1 : theirs.index(TOKENIZER.eos_token_id)
    ]
    if len(theirs) == TOKENIZER.model_max_length:
        assert list(prompt.ids) == theirs


def marks(prompt):
    """Places of start, end and padding."""
    return sorted(set(range(len(prompt.ids))) - {t for tokens in prompt.tokens for t in tokens})


def test_words_and_spans():
    prompt = read("a Red car, moving <cat*>'s", "<cat*>")
    assert prompt.words == ("a", "Red", "car", ",", "moving", "<cat*>", "'s")
    assert prompt.tokens_of("red") == [2]
    assert len(prompt.tokens_of("car")) == 2  # not a word of this vocabulary: "c", "ar"
    assert [prompt.ids[t] for t in prompt.tokens_of("<cat*>")] == [-1]
    assert prompt.tokens_of("red car") == [2, 3, 4]
    with pytest.raises(LiveError, match="'dog' is not in the prompt"):
        prompt.tokens_of("dog", "source words")


def test_a_repeated_word_is_found_every_time():
    assert read("a red ball and a red star").tokens_of("red") == [2, 6]


def test_a_long_prompt_goes_on_in_another_chunk():
    """Each with its own start and end, the words' tokens between them."""
    prompt, length = read("ball " * 100), TOKENIZER.model_max_length
    chunks = [prompt.ids[i : i + length] for i in range(0, len(prompt.ids), length)]
    assert len(chunks) == 4 and len(chunks[-1]) == length and {chunk[0] for chunk in chunks} == {TOKENIZER.bos_token_id}
    (ball,) = TOKENIZER("ball", add_special_tokens=False).input_ids
    assert [chunk.count(ball) for chunk in chunks] == [30, 30, 30, 10] and [chunk[31] for chunk in chunks] == [
        TOKENIZER.eos_token_id
    ] * 4
    assert [prompt.ids[t] for (t,) in prompt.tokens] == [ball] * 100 and len(prompt.find("ball")) == 100


def test_split_words_takes_the_longest_placeholder_first():
    assert split_words("a <x*>y <x*>", ("<x*>", "<x*>y")) == ["a", "<x*>y", "<x*>"]


@pytest.mark.parametrize(
    "text", ["red,<x*>", "[<x*>]", '"<x*>"', "(<x*>,<x*>)", "{<x*>|ball}", "--<X*>!", "red<x*>ball", "'<x*>'"]
)
def test_a_placeholder_is_found_among_signs(text):
    """And nothing of the text is lost."""
    words = split_words(text, ("<x*>", "<y*>"))
    assert [word for word in words if "x" in word.lower()] == re.findall(r"<x\*>", text, re.IGNORECASE)
    assert "".join(words) == text
    assert read_prompt(text.replace("(", "\\("), TOKENIZER, {"<x*>": 1}).find("<x*>")


def test_swap_keeps_the_place_of_words_after_a_swap_of_another_length():
    source, edit = read("a ball moving on the meadow"), read("a spiderman moving on the meadow")
    mapping, keep = swap_words(source, edit)
    for word in ("moving", "on", "the", "meadow"):
        (a,), (b,) = source.tokens_of(word), edit.tokens_of(word)
        assert mapping[a, b] == 1 and keep[b] == 0
    for t in edit.tokens_of("spiderman"):
        assert keep[t] == 1 and mapping[:, t].sum() == 0


def test_swap_of_chosen_words_only():
    source, edit = read("a red ball moving on the meadow"), read("a <x*> moving on the meadow", "<x*>")
    mapping, keep = swap_words(source, edit, "moving, meadow")
    assert mapping.sum() == 2 and (keep == 0).sum() == 2
    with pytest.raises(LiveError, match="keep words: 'ball'"):
        swap_words(source, edit, "ball")


@settings(max_examples=60)
@given(sentences, sentences)
def test_every_token_keeps_its_share_of_attention(a, b):
    """Each edit token has all of one attention, its own or the source's; alignment is in order, of equal words, one to
    one.
    """
    source, edit = read(a), read(b)
    mapping, keep = swap_words(source, edit)
    torch.testing.assert_close(mapping.sum(0) + keep, torch.ones(len(edit.ids)))
    pairs = align_words(source, edit)
    assert all(source.words[i] == edit.words[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))


@given(sentences)
def test_a_prompt_aligned_with_itself_is_the_identity_on_its_words(text):
    prompt = read(text)
    mapping, keep = swap_words(prompt, prompt)
    own = [t for tokens in prompt.tokens for t in tokens]
    for tokens in map(list, prompt.tokens):
        torch.testing.assert_close(mapping[tokens][:, tokens], torch.full((len(tokens), len(tokens)), 1 / len(tokens)))
    assert keep[own].sum() == 0 and keep.sum() == len(prompt.ids) - len(own)


def test_a_new_thing_takes_the_place_of_the_words_it_replaces():
    source, edit = read("a red ball and a green box moving"), read("a <x*> and a white cone moving", "<x*>")
    mapping, keep = place_words(source, edit, swap_words(source, edit))
    (x,), (white,), (cone,) = (edit.tokens_of(word) for word in ("<x*>", "white", "cone"))
    red, ball, green, box = (source.tokens_of(word)[0] for word in ("red", "ball", "green", "box"))
    # Two words become one: all of both.
    assert mapping[:, x].nonzero().flatten().tolist() == [red, ball] and mapping[red, x] == mapping[ball, x] == 1
    assert mapping[:, [white, cone]].nonzero().tolist() == [[green, 0], [box, 1]]  # as many: word by word
    assert not keep[[x, white, cone]].any()


@settings(max_examples=60)
@given(sentences, sentences)
def test_placing_hands_on_what_replaced_words_see_and_touches_nothing_else(a, b):
    source, edit = read(a), read(b)
    swap, keep = swap_words(source, edit)
    mapping, own = place_words(source, edit, (swap, keep))
    placed = [t for tokens in edit.tokens for t in tokens if keep[t] and not own[t]]
    others = [t for t in range(len(edit.ids)) if t not in placed]
    assert torch.equal(mapping[:, others], swap[:, others]) and torch.equal(own[others], keep[others])
    shared = {t for i, _ in align_words(source, edit) for t in source.tokens[i]}
    handed = mapping[:, placed].sum(1)
    given = handed.nonzero().flatten().tolist()
    assert not shared & set(given)
    torch.testing.assert_close(handed[given], torch.ones(len(given)))


def words_of_length(n: int):
    return st.lists(st.sampled_from(WORDS), min_size=n, max_size=n).map(" ".join)


@settings(max_examples=60)
@given(st.integers(1, 8).flatmap(lambda n: st.tuples(words_of_length(n), words_of_length(n))))
@example(("a a a a a a", "a spiderman spiderman spiderman spiderman spiderman"))
def test_replacing_hands_on_every_token_s_attention_within_its_word(pair):
    """Each source token's attention is spent, no more and no less; none leaves its word; the rest goes one to one."""
    source, edit = map(read, pair)
    mapping, keep = replace_words(source, edit)
    assert not keep.any() and (mapping >= 0).all()
    for a, b in zip(map(list, source.tokens), map(list, edit.tokens), strict=True):
        torch.testing.assert_close(mapping[a].sum(1), torch.ones(len(a)))
        torch.testing.assert_close(mapping[a][:, b].sum(), mapping[a].sum())
        torch.testing.assert_close(mapping[:, b].sum(0), torch.full((len(b),), len(a) / len(b)))
    rest, share = marks(edit), len(source.ids) / len(edit.ids)  # 1 for as many chunks
    torch.testing.assert_close(mapping[:, rest].sum(0), torch.full((len(rest),), share))
    assert share != 1 or set(mapping[:, rest].unique().tolist()) == {0.0, 1.0}
    assert all(source.ids[i] == edit.ids[j] for j in rest for i in mapping[:, j].nonzero().flatten().tolist())


@settings(max_examples=60)
@given(sentences, sentences)
def test_refining_takes_equal_tokens_in_order_and_leaves_the_rest_alone(a, b):
    source, edit = read(a), read(b)
    mapping, keep = refine_words(source, edit)
    own, rest = [t for tokens in edit.tokens for t in tokens], marks(edit)
    assert set(keep.unique().tolist()) <= {0.0, 1.0} and torch.equal((mapping.sum(0) + keep)[own], torch.ones(len(own)))
    assert not keep[rest].any()
    torch.testing.assert_close(mapping[:, rest].sum(0), torch.full((len(rest),), len(source.ids) / len(edit.ids)))
    pairs = [(int(mapping[:, j].argmax()), j) for j in own if not keep[j]]
    assert all(source.ids[i] == edit.ids[j] for i, j in pairs) and all(i < k for (i, _), (k, _) in pairwise(pairs))
    # The longest: no shorter than what the words alone give.
    assert len(pairs) >= sum(len(source.tokens[i]) for i, _ in align_words(source, edit))


@given(
    sentences,
    sentences,
    st.lists(st.booleans(), min_size=TOKENIZER.model_max_length, max_size=TOKENIZER.model_max_length),
    st.floats(0, 10),
)
def test_a_step_s_edit_acts_in_its_window_and_by_its_weight(a, b, opened, weight):
    mapping, keep = swap_words(read(a), read(b))
    opened = torch.tensor(opened)
    now, own = at_step((mapping, keep), torch.full((len(opened),), weight), opened.float())
    torch.testing.assert_close(now[:, opened], weight * mapping[:, opened])
    torch.testing.assert_close(own[opened], weight * keep[opened])
    assert not now[:, ~opened].any() and (own[~opened] == 1).all()


def test_windows_of_single_words():
    windows = read_windows("red ball: 0-0.4,<x*>:.2 - 1")
    assert windows == (("red ball", (0.0, 0.4)), ("<x*>", (0.2, 1.0))) and read_windows(" ") == ()
    prompt = read("a red ball and <x*>", "<x*>")
    opened = word_windows(prompt, 9, (0, 0.8), windows)
    assert opened[:, 0].tolist() == [1] * 8 + [0]
    assert opened[:, prompt.tokens_of("ball")[0]].tolist() == [1] * 4 + [0] * 5
    assert opened[:, prompt.tokens_of("<x*>")[0]].tolist() == [0] * 2 + [1] * 7


@pytest.mark.parametrize(
    "text", ["ball=0.4", "ball: 0.4", ": 0-0.4", "ball: 0.6-0.2", "ball: 0-1.5", "ball: 0..1-1", "ball: -1-1"]
)
def test_a_window_that_is_none_is_quoted(text):
    with pytest.raises(LiveError, match="word windows: .*write word: start-end") as error:
        read_windows(f"red: 0-1, {text}")
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["ball", "=2", "ball=", "ball=two", "ball=nan", "ball=inf"])
def test_a_weight_that_is_none_is_quoted(text):
    with pytest.raises(LiveError, match="word weights: .*write word=number") as error:
        read_weights(f"red=2, {text}")
    assert repr(text) in str(error.value)
