"""Prompts of several chunks: all attention is spent, and what stands beyond the first chunk counts."""

from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from transformers import CLIPTokenizer

from live_core.attention import AttentionPlan, WordInjection
from live_core.change import Edit
from live_core.editing import edit
from live_core.inversion import invert
from live_core.methods import DDIM, FATEZERO_ATTRIBUTE, PROMPT_TO_PROMPT
from live_core.prompts import read_prompt
from live_core.streams import Stream, predict
from live_core.taps import WordTap
from live_core.token_edits import refine_words, replace_words, spread, swap_words

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")
BALL = "a red ball moving on the meadow"


def read(text):
    return read_prompt(text, TOKENIZER, {"<thing*>": 1})


def chunks(prompt):
    return len(prompt.ids) // len(prompt.empty)


LONG = BALL + " with a blue and white cone over the snow" * 4


def attention(tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 5, tokens, generator=torch.Generator().manual_seed(seed)).softmax(-1)


@pytest.mark.parametrize("word_edit", [swap_words, refine_words, replace_words])
@pytest.mark.parametrize("longer", ["edit", "source"])
def test_chunks_that_one_prompt_has_more_take_nothing_from_the_sum(word_edit, longer):
    """Between prompts of 1 and 3 chunks, read in a batch where both are repeated: the values are what they are without
    repetition, every token's."""
    pair = (
        (read(BALL), read("<thing*> " * 60 + BALL))
        if word_edit is not replace_words
        else (read("ball " * 40), read("a " * 40))
    )
    source, target = pair if longer == "edit" else pair[::-1]
    mapping, keep = word_edit(source, target)
    assert mapping.shape == (len(source.ids), len(target.ids)) and (
        word_edit is replace_words or chunks(source) != chunks(target)
    )
    own_source = attention(len(source.ids))
    own_edit = attention(len(target.ids), 1)
    values = torch.randn(len(target.ids), 4)
    plain = (own_source @ mapping + own_edit * keep) @ values
    rows, columns = 6 * len(source.empty), 6 * len(target.empty)
    wide, kept = spread((mapping, keep), rows, columns)
    tiled = [
        maps.repeat(1, 1, n // maps.shape[-1]) / (n // maps.shape[-1])
        for maps, n in ((own_source, rows), (own_edit, columns))
    ]
    torch.testing.assert_close((tiled[0] @ wide + tiled[1] * kept) @ values.repeat(columns // len(values), 1), plain)


def test_all_attention_is_spent_whatever_the_chunks():
    """Replacing hands on the source's attention, no more and no less, from 2 chunks to 3 as within one."""
    source, target = read("ball " * 40), read("spiderman " * 9 + "a " * 31)
    assert (chunks(source), chunks(target)) == (2, 3)
    mapping, _ = replace_words(source, target)
    mine = [t for tokens in source.tokens for t in tokens]
    torch.testing.assert_close(mapping[mine].sum(1), torch.ones(len(mine)))
    torch.testing.assert_close(mapping[[0, 32]].sum(1), torch.ones(2))  # the chunks' starts


def test_a_repeated_text_predicts_the_same(video_unet):
    """Beside texts of 2 and 3 times its length, in one batch, and by itself; the injection between them too, and what
    the tap says."""
    torch.manual_seed(0)
    texts = {name: torch.randn(7 * k, 24) for name, k in (("one", 1), ("two", 2), ("three", 3))}
    x = torch.randn(2, 4, 16, 16)
    mapping, keep = torch.rand(14, 21), torch.rand(21)
    streams = [Stream(name, "x", text) for name, text in texts.items()]
    with torch.no_grad():
        together = predict(video_unet, streams, {"x": x}, 500)
        for stream in streams:
            torch.testing.assert_close(
                together[stream.name], predict(video_unet, [stream], {"x": x}, 500)[stream.name], atol=1e-5, rtol=1e-4
            )
        results = []
        for beside in (streams, streams[1:], [streams[1], replace(streams[2], text=texts["three"].repeat(2, 1))]):
            names = [stream.name for stream in beside]
            target, source, n = names.index("three"), names.index("two"), 42
            tap = WordTap(64)
            injection = WordInjection(target, source, *spread((mapping, keep), n, n))
            results.append(
                predict(video_unet, beside, {"x": x}, 500, 0, AttentionPlan(words=(injection,), tap=tap))["three"]
            )
        for other in results[1:]:
            torch.testing.assert_close(other, results[0], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(results[0], together["three"], atol=1e-3)


@pytest.fixture(scope="module")
def small(demo_model, clip):
    return {
        method: invert(demo_model, clip, BALL, method, 3) for method in (PROMPT_TO_PROMPT, FATEZERO_ATTRIBUTE, DDIM)
    }


@pytest.mark.parametrize("attention", ["recompute", "ram"])
@pytest.mark.parametrize(
    "method", [PROMPT_TO_PROMPT, replace(FATEZERO_ATTRIBUTE, word_edit="refine")], ids=lambda m: m.name
)
def test_long_prompts_are_edited(demo_model, clip, method, attention):
    """A source of 2 chunks and an edit of 3: what is beyond the first chunk counts, and the same prompt comes out as
    the shorter's edit where it is the shorter repeated. Stored and recomputed agree."""
    long = read(LONG)
    assert chunks(long) == 2
    inversion = invert(demo_model, clip[:2], LONG, method, 2, attention)
    # Its last chunk all but full: the words seen are those to the end, and what follows takes as much as a model likes.
    more = LONG.replace("red ball", "blue star", 1) + " and a red fish" * 11
    assert chunks(read(more)) == 3
    first, other = (edit(demo_model, inversion, Edit(text)) for text in (more, more[:-4] + "tree"))
    assert first.latents.isfinite().all() and not torch.allclose(first.latents, other.latents, atol=1e-4)
    assert first.records.edit.words.shape[-1] == chunks(read(more)) * 32 - 32 + read(more).end % 32
    assert (
        first.records.edit.words.float().sum(-1).max() <= 1.001 * 2
        and first.records.edit.words.float().sum(-1).mean() > 0.5
    )
    if attention == "ram":
        again = edit(demo_model, invert(demo_model, clip[:2], LONG, method, 2), Edit(more))
        torch.testing.assert_close(again.latents, first.latents, atol=1e-4, rtol=1e-4)
