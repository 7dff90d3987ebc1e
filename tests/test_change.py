"""What an edit changes: which words are looked for, which are kept, what placeholders and negative prompts do."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, bound
from conftest import ROOT
from transformers import CLIPTokenizer

from demo.cases import CASES
from live_core import LiveError
from live_core.alignment import appended, changed_words, replacements, share_words
from live_core.change import Asked, Edit, word_edits
from live_core.concept import bind
from live_core.editing import edit
from live_core.inversion import invert
from live_core.methods import BLENDED_LATENT, DDIM, FATEZERO_ATTRIBUTE, LIVE, PROMPT_TO_PROMPT, Method
from live_core.notes import gathered
from live_core.null_text import find_null_text
from live_core.phrases import read_weights, read_windows, split_phrases
from live_core.prompts import read_prompt
from live_core.token_edits import place_words, replace_words, swap_words

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")
BALL = "a red ball moving on the meadow"
SKIING = "a man skiing in the snow", "in the snow a cat is skiing"


def read(text):
    return read_prompt(text, TOKENIZER, {"<thing*>": 1})


def sought(source, edit, **named):
    source, edit = read(source), read(edit)
    words = Asked(source, edit, Edit(edit.text, **named)).looked_for()
    return source.phrases(words[0]), edit.phrases(words[1])


@pytest.mark.parametrize(
    "source,edit,old,new",
    [
        (BALL, "a <thing*> moving on the meadow", "red ball", "<thing*>"),
        (BALL, "a <thing*> moving on the meadow, masterpiece, best quality, 4k", "red ball", "<thing*>"),
        (BALL, "masterpiece, best quality, a <thing*> moving on the meadow", "red ball", "<thing*>"),
        (BALL, "a <thing*>, best quality, moving on the meadow.", "red ball", "<thing*>"),
        (BALL, "masterpiece: the <thing*> | moving on the meadow -- 4k", "red ball", "<thing*>"),
        ("red ball on the meadow", "best quality, blue star on the meadow", "red ball", "blue star"),
        (BALL, "a (blue star:1.2) moving on the meadow", "red ball", "blue star"),
        (BALL, "a ((blue) star:0.9) moving on the (meadow:1.5), (best quality:1.3)", "red ball", "blue star"),
        (BALL, "an embedding:star moving on the meadow, embedding:quality", "red ball", "embedding:star"),
        ("a ball on a mat", "two balls on the mat", "ball", "two balls"),
        ("a ball on a mat", "a fluffy ball on a mat", "", "fluffy"),
        ("a boy is swimming", "a boy is swimming in the pool", "", "pool"),
        ("a cat, running", "a dog, running, masterpiece", "cat", "dog"),
        ("a cat and a dog", "a cat and a <thing*>, a hat", "dog", "<thing*>"),
        (BALL, "nothing on the meadow", "red ball moving", "nothing"),
        (*SKIING, "man", "cat"),
        (BALL, BALL + " \U0001f388", "", "\U0001f388"),
    ],
)
def test_what_is_looked_for_is_the_content_that_changes(source, edit, old, new):
    vectors = {"star": torch.zeros(1, 4), "quality": torch.zeros(2, 4)}
    source, edit = (read_prompt(text, TOKENIZER, {"<thing*>": 1}, vectors) for text in (source, edit))
    words = Asked(source, edit, Edit(edit.text)).looked_for()
    assert (source.phrases(words[0]), edit.phrases(words[1])) == (old, new)


def test_where_only_tags_change_that_is_said():
    with gathered() as notes:
        assert sought(BALL, f"{BALL}, masterpiece, best quality") == ("", "masterpiece, best quality")
    assert len(notes) == 1 and "nothing changes but 'masterpiece, best quality', which is only appended" in notes[0]
    with gathered() as notes:
        assert sought(BALL, f"{BALL}, masterpiece", source_words="ball") == ("ball", "")
        assert sought(BALL, f"{BALL}, masterpiece", edit_words="masterpiece, Ball, ball") == ("", "ball, masterpiece")
    assert notes == []


@pytest.mark.parametrize(
    "edit,says",
    [
        (BALL, "has the same words as the source prompt"),
        ("the red ball moving in a meadow.", "changes only 'on', 'in', '.', where no thing is named"),
    ],
)
def test_where_nothing_changes_that_is_refused(edit, says):
    with pytest.raises(LiveError, match=f"edit prompt: .*{says}.*name source words"):
        sought(BALL, edit)


def test_prompts_that_differ_only_late_are_not_the_same():
    longer = BALL + " and a tree" * 12
    assert sought(longer, longer + " and a fish")[1] == "fish"


def test_tags_replace_nothing():
    """A new thing takes the old one's place, what is appended after it does not."""
    source, tagged = read(BALL), read("a <thing*>, masterpiece, best quality")
    mapping, keep = place_words(source, tagged, swap_words(source, tagged))
    assert mapping[source.find("ball")[0], tagged.find("<thing*>")[0]] == 1 and [
        tagged.words[i] for i in appended(source, tagged)
    ] == [",", "masterpiece", ",", "best", "quality"]
    assert not mapping[:, tagged.find("masterpiece, best quality")].any() and keep[tagged.find("masterpiece")].all()


def test_a_keep_word_is_paired_by_name_where_it_stands_elsewhere():
    source, target = map(read, SKIING)
    for keep, kept in (
        ("skiing", ("skiing",)),
        ("the snow, skiing", ("the", "snow", "skiing")),
        (None, ("in", "the", "snow", "a", "skiing")),
    ):
        mapping, own = swap_words(source, target, keep)
        assert [
            word for word, tokens in zip(target.words, target.tokens, strict=True) if not own[list(tokens)].any()
        ] == list(kept)
        for word in kept:
            assert mapping[source.find(word)][:, target.find(word)].sum() == len(target.find(word))
    # Nobody stands in his place.
    assert not any(new for old, new in replacements(source, target) if "man" in [source.words[i] for i in old])


def test_every_place_of_a_keep_word_is_kept():
    source, target = read("a ball on the snow"), read("snow on a ball and snow on snow")
    mapping, own = swap_words(source, target, "snow")
    assert (mapping[source.find("snow")[0], target.find("snow")] == 1).all() and not own[target.find("snow")].any()


def test_replacing_counts_words_between_blanks():
    source, target = read("a quad-bike in the snow"), read("a horse, in the snow")
    mapping, _ = replace_words(source, target)
    assert mapping[source.find("quad-bike")][:, target.find("horse,")].sum() == len(source.find("quad-bike"))
    assert mapping[source.find("snow")][:, target.find("snow")].diagonal().all()
    with pytest.raises(LiveError, match="is 4 words and the source prompt .* 5, counted between blanks"):
        replace_words(source, read("a horse - snow"))


@pytest.fixture(scope="module")
def small(demo_model, clip):
    return {
        method: invert(demo_model, clip, BALL, method, 3) for method in (PROMPT_TO_PROMPT, FATEZERO_ATTRIBUTE, DDIM)
    }


# -------------------------------------------------------------------------------------------------- masks by real maps
def area(model, inversion, text, **more):
    edited = edit(model, inversion, Edit(text), replace(inversion.method, **more))
    return float(edited.mask.mean()), edited.looked_for


def test_neither_tags_nor_weights_widen_the_mask(demo_model):
    """On the shipped clip's middle, where the ball is: the mask with tags or weights is that without, to a quarter of
    its size."""
    clip = demo_model.encode_frames(torch.from_numpy(CASES["ball-to-star"].clip.frames()[:2]).float() / 255)
    inversion = invert(demo_model, clip, BALL, PROMPT_TO_PROMPT, 8)
    plain, looked_for = area(demo_model, inversion, "a blue star moving on the meadow")
    assert looked_for == ("red ball", "blue star") and 0 < plain < 0.3
    for text in (
        "a (blue star:1.2) moving on the meadow",
        "a blue star moving on the meadow, masterpiece, best quality, 4k",
    ):
        with_more, words = area(demo_model, inversion, text)
        assert words == looked_for and abs(with_more - plain) < plain / 4, (text, with_more, plain)


def test_a_full_mask_is_noted(demo_model, small):
    with gathered() as notes:
        edited = edit(
            demo_model,
            small[PROMPT_TO_PROMPT],
            Edit("a blue ball moving on the meadow"),
            replace(PROMPT_TO_PROMPT, blend_threshold=1e-6),
        )
    assert edited.mask.min() == 1 and any("covers the whole picture" in text for text in notes)
    with gathered() as notes:
        # As it was drawn.
        edit(demo_model, small[DDIM], Edit("a blue ball moving on the meadow"), mask=torch.ones(1, 64, 64))
        edit(demo_model, small[DDIM], Edit("a blue ball moving on the meadow"))  # no mask was asked for
    assert notes == []


# -------------------------------------------------------------------------------------- placeholders, negative prompts
def test_a_prompt_without_its_placeholder_is_refused(tuned, clip):
    inversion = invert(tuned, clip, CASE.prompt, LIVE, 1)
    with pytest.raises(
        LiveError, match="edit prompt: .* does not say where the thing of the photo shall be; put '<thing.>' into it"
    ):
        edit(tuned, inversion, Edit("a blue star moving on the meadow"))
    with pytest.raises(LiveError, match="edit prompt: '<star>' stands for no photo"):
        edit(tuned, inversion, Edit("a <thing*> and a <star>"))
    with pytest.raises(LiveError, match="edit prompt: ' ' has no words"):
        edit(tuned, inversion, Edit(" "))
    assert edit(tuned, inversion, Edit("a (<THING*>:1.1) moving on the meadow")).looked_for == ("red ball", "<THING*>")


def test_of_two_photos_the_named_one_is_shown(demo_model, clip):
    """A placeholder that the prompt leaves out is noted, and its photo does not take the latent prompt's seat."""
    concepts = bound(demo_model, CASE, 64)
    second = bind("<other*>", "thing", clip[:1] * 0.3, demo_model.tokenizer, demo_model.text_encoder, concepts)
    from live_core.pretrained import Tuning

    bare = Tuning({}, None, (), CASE.prompt, demo_model.fingerprint)
    inversion = invert(demo_model.with_tuning(bare), clip, CASE.prompt, LIVE, 1)
    method = replace(LIVE, edit_latent_prompt="reference", blend_threshold=None)
    both, alone = (demo_model.with_tuning(replace(bare, concepts=held)) for held in (second, second[1:]))
    with gathered() as notes:
        seen = edit(both, inversion, Edit("a <other*> moving on the meadow"), method).latents
    assert any("is without '<thing*>'" in text for text in notes)
    torch.testing.assert_close(seen, edit(alone, inversion, Edit("a <other*> moving on the meadow"), method).latents)


def test_of_two_placeholders_neither_speaks_for_the_other(demo_model, clip):
    """Each one's tokens are what they are beside the other's initial word; all other tokens hear both."""
    encoder, tokenizer = demo_model.text_encoder, demo_model.tokenizer
    start = bind("<thing*>", "star", clip[:1], tokenizer, encoder, vectors=2)
    start = bind("<other*>", "heart", clip[:1], tokenizer, encoder, start)
    text = "a <thing*> and a <other*> moving on the (meadow:1.2)"
    words = demo_model.encode_text(text.replace("<thing*>", "star star").replace("<other*>", "heart"))
    assert torch.equal(demo_model.encode_text(text, start), words)

    away = torch.randn(start[0].vectors.shape[1], generator=torch.Generator().manual_seed(0))
    learned = tuple(replace(concept, vectors=concept.vectors + away) for concept in start)
    first, second = (learned[0], start[1]), (start[0], learned[1])
    both, one, other = (demo_model.encode_text(text, concepts) for concepts in (learned, first, second))
    prompt = demo_model.read(text, learned)
    of_first, of_second = prompt.find("<thing*>"), prompt.find("<other*>")
    assert (of_first, of_second) == ([2, 3], [6])
    assert torch.equal(both[of_first], one[of_first]) and torch.equal(both[of_second], other[of_second])
    later = prompt.find("meadow")
    assert all(not torch.allclose(both[later], alone[later], atol=1e-3) for alone in (words, one, other))
    said_once = "a <thing*> moving on the meadow"  # who is not said is not read beside
    assert torch.equal(demo_model.encode_text(said_once, learned), demo_model.encode_text(said_once, learned[:1]))


def test_a_negative_prompt_is_what_guidance_leads_away_from(demo_model, clip, small):
    method, inversion, change = DDIM, small[DDIM], Edit("a blue ball moving on the meadow")
    plain = edit(demo_model, inversion, change).latents
    torch.testing.assert_close(edit(demo_model, inversion, replace(change, negative_prompt=" ")).latents, plain)
    away = edit(
        demo_model,
        inversion,
        replace(change, negative_prompt="a (red:1.3) ball in the snow"),
        replace(method, guidance_scale=3.0),
    ).latents
    assert not torch.allclose(away, plain, atol=1e-2)
    same = edit(
        demo_model, inversion, replace(change, negative_prompt=change.prompt), replace(method, guidance_scale=3.0)
    ).latents
    # No way away from itself.
    torch.testing.assert_close(
        same, edit(demo_model, inversion, change, replace(method, guidance_scale=1.0)).latents, atol=1e-4, rtol=1e-4
    )
    with gathered() as notes:
        edit(demo_model, inversion, replace(change, negative_prompt="red"), replace(method, guidance_scale=1.0))
    assert any("negative prompt: 'red' is not read at a guidance scale of 1" in text for text in notes)
    with pytest.raises(LiveError, match="negative prompt: '<x>' stands for no photo"):
        edit(demo_model, inversion, replace(change, negative_prompt="a <x>"))


def test_null_text_leaves_no_place_for_a_negative_prompt(demo_model, small):
    found = find_null_text(demo_model, small[PROMPT_TO_PROMPT], 4.0, 1)
    change = Edit("a blue ball moving on the meadow", negative_prompt="red")
    with pytest.raises(LiveError, match="negative prompt: 'red', but the inversion's null text takes its place"):
        edit(demo_model, found, change, replace(PROMPT_TO_PROMPT, guidance_scale=4.0))
    apart = replace(PROMPT_TO_PROMPT, guidance_scale=4.0, decoupled_guidance=True)
    assert not torch.allclose(
        edit(demo_model, found, change, apart).latents,
        edit(demo_model, found, replace(change, negative_prompt=""), apart).latents,
        atol=1e-3,
    )


# -------------------------------------------------------------------------------------------------- lists and settings
def test_empty_places_in_lists_are_noted_and_empty_lists_of_commas_refused():
    with gathered() as notes:
        assert split_phrases("a,, b", "keep words") == ["a", "b"] and split_phrases(",a") == ["a"]
        assert split_phrases("a, b,", "keep words") == ["a", "b"] and split_phrases("  ") == []
    assert len(notes) == 2 and "keep words: 'a,, b' has an empty place" in notes[0]
    with pytest.raises(LiveError, match="source words: ', ,' names nothing"):
        sought(BALL, "a blue star moving", source_words=", ,")


@pytest.mark.parametrize(
    "change,says",
    [
        (
            {"windows": read_windows("ball: 0-0.4, Ball: 0.2-0.8")},
            "word windows: 'ball' and 'Ball' give one word two values",
        ),
        (
            {"windows": read_windows("red ball: 0-0.4, ball: 0.2-0.8")},
            "word windows: 'red ball' and 'ball' give one word two values",
        ),
        ({"weights": read_weights("ball=2, ball=2")}, "word weights: 'ball' and 'ball' give"),
    ],
)
def test_a_word_has_one_window_and_one_weight(change, says):
    prompt = read(BALL)
    with pytest.raises(LiveError, match=says):
        word_edits(Method("m", ("self",), cross_ratio=0.5), prompt, prompt, Edit(BALL, **change), 4)


def test_placing_beyond_injection_is_noted():
    prompt = read(BALL)
    with gathered() as notes:
        for place, cross in ((0.6, 0.4), (0.4, 0.4)):
            word_edits(Method("m", ("self",), cross_ratio=cross, place_ratio=place), prompt, prompt, Edit(BALL), 4)
    assert len(notes) == 1 and "place ratio: 0.6 is above the cross ratio, 0.4" in notes[0]
    with gathered() as notes:
        for start in (0.3, 0.2):
            method = Method("m", ("self",), cross_start=start, cross_ratio=0.6, place_ratio=0.3)
            word_edits(method, prompt, prompt, Edit(BALL), 10)
    assert len(notes) == 1 and "place ratio: 0.3 ends before words are injected, from 0.3 of the steps on" in notes[0]


@pytest.mark.parametrize(
    "placeholder,word,says",
    [
        ("a,b", "thing", "placeholder: 'a,b' has ',' in it"),
        ("<a(b)>", "thing", "has '\\(' in it"),
        ("embedding:x", "thing", "has 'embedding:' in it"),
        ("<{a}>", "thing", "has '{' in it"),
        ("<lora:x>", "thing", "has '<lora:x>' in it"),
        ("'s", "thing", "is an ordinary word|already a token"),
        ("...", "thing", "is an ordinary word|already a token"),
        (
            "<THING*>",
            "thing",
            "'<thing\\*>' already stands for another photo, and prompts do not tell '<THING\\*>' from it",
        ),
        ("<x*>", "!", "initial word: '!' is a sign"),
        ("<x*>", "<|endoftext|>", "initial word: .* is a sign"),
    ],
)
def test_what_cannot_name_a_thing_is_refused(demo_model, concept, placeholder, word, says):
    with pytest.raises(LiveError, match=says):
        bind(placeholder, word, concept.reference, demo_model.tokenizer, demo_model.text_encoder, (concept,))


def test_an_empty_clip_prompt_is_noted(demo_model, clip):
    with gathered() as notes:
        invert(demo_model, clip, " ", BLENDED_LATENT, 1)
    assert len(notes) == 1 and "prompt: ' ' has no words" in notes[0]


def test_pairs_by_name_are_one_to_one():
    source, target = map(read, SKIING)
    pairs = share_words(source, target)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs) == 5
    assert all(source.words[a] == target.words[b] for a, b in pairs) and changed_words(source, target) == ([1], [4])
