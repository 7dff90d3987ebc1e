"""Parity with prompt-to-prompt: alignment of prompts, controllers and local blend."""

import math
import re

import pytest
import torch
from golden import case, close, level_of, needed, parity, queries_and_keys, windows_of
from layers import layer

from live_core.attention import AttentionPlan, SelfInjection, WordInjection
from live_core.change import Edit, word_edits
from live_core.frames import ALONE
from live_core.masks import MaskRule, blend, blend_mask
from live_core.methods import Method
from live_core.prompts import Prompt, read_prompt, split_words
from live_core.taps import WordTap
from live_core.token_edits import _between_blanks, refine_words, replace_words, reweight, word_windows

pytestmark = needed


class RecordedTokenizer:
    """SD 1's tokenizer as far as the alignment case recorded it: ids word by word."""

    model_max_length, bos_token_id, eos_token_id, pad_token_id = 77, 49406, 49407, 49407

    def __init__(self):
        self.ids, self.pieces = {}, {}
        for pair in case("p2p_align")[0]["options"]["pairs"]:
            for text, ids, pieces in zip(pair["prompts"], pair["token_ids"], pair["tokens"], strict=True):
                rest = list(zip(ids[1:-1], pieces, strict=True))
                self.pieces |= dict(rest)
                for word in split_words(text):
                    count = next(
                        n for n in range(1, len(rest) + 1) if "".join(piece for _, piece in rest[:n]) == word.lower()
                    )
                    self.ids[word], rest = [i for i, _ in rest[:count]], rest[count:]

    def __call__(self, word, add_special_tokens):
        return type("Encoding", (), {"input_ids": self.ids[word]})


@pytest.fixture(scope="module")
def tokenizer():
    return RecordedTokenizer()


@pytest.fixture(scope="module")
def read(tokenizer):
    """Read a prompt of the reference, which knows no weights: its parentheses are signs."""
    return lambda text: read_prompt(re.sub(r"([()])", r"\\\1", text), tokenizer)


def tokens_of_reference(prompt: Prompt, text: str, word: str) -> list[int]:
    """The reference's rule: what stands between blanks is a word, and capitals are other letters. We find a word beside
    a sign too, and in capitals.
    """
    return [
        t
        for tokens, found in zip(_between_blanks(prompt), text.split(" "), strict=True)
        if found == word
        for t in tokens
    ]


def test_prompts_are_tokenised_alike(read):
    for pair in case("p2p_align")[0]["options"]["pairs"]:
        for text, ids in zip(pair["prompts"], pair["token_ids"], strict=True):
            assert list(read(text).ids) == ids + [49407] * (77 - len(ids))


def expected_table(data: dict[str, torch.Tensor], name: str, as_published: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The published table, or the corrected one where there is one and the switch is off; and which columns it
    constrains.
    """
    corrected = name.replace("/", "/derived/")
    if as_published or corrected not in data:
        return data[name], torch.ones(77).bool()
    return data[corrected], data[corrected.replace("mapper", "valid_columns")].bool()


def in_place_from(start: int, mapping: torch.Tensor) -> torch.Tensor:
    """Edit token j reads source token j for j >= `start`, as if both prompts had come equally far."""
    return torch.where(torch.arange(77) < start, mapping, torch.eye(77))


def published_replacement(mapping: torch.Tensor, source: Prompt, edit: Prompt) -> torch.Tensor:
    """`mapping` with the mistake of seq_aligner.py:181: it counts on in both prompts after the last swapped word, but
    writes (j, j) for (i, j). Once the source's count is full it writes no more."""
    words = zip(
        _between_blanks(source), _between_blanks(edit), source.text.split(" "), edit.text.split(" "), strict=True
    )
    i, j = max(((a[-1] + 1, b[-1] + 1) for a, b, old, new in words if old != new), default=(0, 0))
    wrong = in_place_from(j, mapping)
    wrong[:, j + 77 - i :] = 0
    return wrong


def published_refinement(mapping: torch.Tensor, edit: Prompt) -> torch.Tensor:
    """`mapping` with the mistake of seq_aligner.py:117: it lets padding, which begins after the edit's end token, read
    the source in place, where a longer source still has words."""
    return in_place_from(edit.end + 1, mapping)


@parity
def test_replacement_of_words(read, as_published):
    entry, data = case("p2p_align")
    for pair in entry["options"]["pairs"]:
        if pair["replace"]:
            source, edit = map(read, pair["prompts"])
            mapping, keep = replace_words(source, edit)
            published = published_replacement(mapping, source, edit)
            assert torch.equal(published, mapping) != pair["replace_reference_bug"]
            expected, valid = expected_table(data, f"{pair['id']}/replace_mapper", as_published)
            close((published if as_published else mapping)[:, valid], expected[:, valid], entry)
            assert not keep.any()


@parity
def test_refinement_of_words(read, as_published):
    entry, data = case("p2p_align")
    for pair in entry["options"]["pairs"]:
        source, edit = map(read, pair["prompts"])
        mapping, keep = refine_words(source, edit)
        published = published_refinement(mapping, edit)
        assert torch.equal(published, mapping) != pair["refine_tail_reference_bug"]
        alphas = data[f"{pair['id']}/refine_alphas"]
        sources, valid = expected_table(data, f"{pair['id']}/refine_mapper", as_published)
        expected = torch.nn.functional.one_hot(sources.clamp(min=0), 77).T * alphas  # -1, of alpha 0, is a new token
        close((published if as_published else mapping)[:, valid], expected[:, valid], entry)
        assert torch.equal(keep, 1 - alphas)


def test_equalizer(read):
    entry, data = case("p2p_align")
    for run in entry["options"]["equalizer"]:
        prompt = read(run["text"])
        factors = reweight(prompt, tuple(zip(run["words"], run["values"], strict=True)))
        ours = {
            t
            for word in run["words"]
            for t in set(prompt.find(word)) - set(tokens_of_reference(prompt, run["text"], word))
        }
        same = [t for t in range(77) if t not in ours]
        torch.testing.assert_close(
            factors[same], data[f"{run['id']}/equalizer"][0][same], atol=entry["tolerance"]["atol"], rtol=0
        )


def test_words_are_found(read, tokenizer):
    """Those that the reference finds, and where it does not the same letters beside a sign or in capitals."""
    found_by_us_alone = 0
    for look in case("p2p_align")[0]["options"]["word_indices"]:
        prompt, word = read(look["text"]), look["word"]
        if isinstance(word, int):
            assert _between_blanks(prompt)[word] == look["indices"]
            continue
        found, theirs = prompt.find(word), tokens_of_reference(prompt, look["text"], word)
        assert theirs == look["indices"] and set(theirs) <= set(found)
        spelled = "".join(tokenizer.pieces[prompt.ids[t]] for t in found if t not in theirs)
        assert spelled == word.lower() * (len(spelled) // len(word))
        found_by_us_alone += bool(spelled)
    assert found_by_us_alone


def test_step_windows(read):
    entry, data = case("p2p_align")
    for run in entry["options"]["cross_replace"]:
        prompt, (window, words) = read(run["prompts"][1]), windows_of(run["cross_replace_steps"])
        ours = word_windows(prompt, run["num_steps"], window, tuple(words.items()))
        theirs = data[f"{run['id']}/cross_replace_alpha"][:, 0, 0, 0]
        same = [
            t
            for t in range(77)
            if all(
                t not in prompt.find(word) or t in tokens_of_reference(prompt, run["prompts"][1], word)
                for word in words
            )
        ]
        # Their last row is of no step.
        torch.testing.assert_close(ours[:, same], theirs[:-1, same], atol=entry["tolerance"]["atol"], rtol=0)


def controller(run: dict, source: Prompt, edit: Prompt) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
    """A run's settings in our words: its token edit at every step. Reweighting alone is that of a prompt replaced by
    itself.
    """
    (start, ratio), windows = windows_of(run["cross_replace_steps"])
    equalizer = run.get("equalizer", {"words": [], "values": []})
    change = Edit(
        edit.text,
        weights=tuple(zip(equalizer["words"], equalizer["values"], strict=True)),
        windows=tuple(windows.items()),
    )
    return word_edits(
        Method(
            "run",
            ALONE,
            cross_start=start,
            cross_ratio=ratio,
            word_edit="refine" if "refine" in run["controller"] else "replace",
        ),
        source,
        edit,
        change,
        run["num_steps"],
    )


def cross(
    token_edit: tuple[torch.Tensor, torch.Tensor] | None, q: torch.Tensor, k: torch.Tensor, tap: WordTap | None = None
) -> torch.Tensor:
    """Maps of streams 0 .. s - 1 after our cross-attention, which has identity values; stream s - 2 is injected into s
    - 1.
    """
    words = (WordInjection(len(q) - 1, len(q) - 2, *token_edit),) if token_edit else ()
    values = torch.eye(k.shape[2]).expand(*k.shape[:3], -1)
    return layer("cross", AttentionPlan(words=words, tap=tap, streams=len(q)), q, k, values)


def test_cross_attention_controllers(read):
    """Replace, refine and reweight with their windows, from our settings to the edited map and what the tap sums."""
    entry, data = case("p2p_controllers_cross")
    heads = entry["options"]["heads"]
    for run in entry["options"]["runs"]:
        token_edits = controller(run, *map(read, run["prompts"]))
        for spec in entry["options"]["layers"]:
            tap = WordTap(0)
            for step in range(run["num_steps"]):
                # Unconditional source and edit, then conditional.
                maps = data[f"in/step{step}/{spec['name']}"].unflatten(1, (2, heads)).flatten(0, 1)
                q, k = queries_and_keys(maps)
                ours = cross(token_edits[step], q, k, tap)
                tap.end_of_forward()
                close(ours[3], data[f"{run['id']}/out/step{step}/{spec['name']}"], entry)
                close(ours, torch.cat([maps[:3], ours[3:]]), entry)
                assert torch.equal(ours[:3], cross(None, q, k)[:3])
            close(tap.maps[3, 0] * heads, data[f"{run['id']}/out/store_sum/{spec['name']}"].sum(0), entry)


def test_cross_attention_of_more_queries_than_are_stored(read):
    entry, data = case("p2p_controllers_cross")
    big = entry["options"]["big"]
    run = next(run for run in entry["options"]["runs"] if run["id"] == big["run"])
    q, k = data["big/in/query"][:, None], data["big/in/key"][:, None]
    ours = cross(controller(run, *map(read, run["prompts"]))[0], q * math.sqrt(q.shape[-1]), k)
    close(ours[1, :, big["rows"]], data["big/out/rows"], entry)


def test_self_attention_injection_and_its_query_limit():
    """The reference copies maps, so we must copy bit for bit what our own attention makes of the source's queries and
    keys.
    """
    entry, data = case("p2p_controllers_self")
    copied = 0
    for run in entry["options"]["runs"]:
        start, ratio = run["self_replace_steps"]
        steps = Method("run", ALONE, self_start=start, self_ratio=ratio).self_steps(run["num_steps"])
        for step in range(run["num_steps"]):
            for spec in entry["options"]["layers"]:
                maps = data[f"in/step{step}/{spec['name']}"][:, None]
                q, k = queries_and_keys(maps)
                v = torch.eye(k.shape[2]).expand(2, 1, -1, -1)
                level = level_of(q, run["self_limit_queries"])
                injections = (SelfInjection(1, 0, level=1),) if step in steps else ()
                expected = data[f"{run['id']}/out/step{step}/{spec['name']}"]
                theirs = queries_and_keys(torch.stack([maps[0], expected]))
                ours = layer("self", AttentionPlan(selves=injections, streams=2), q, k, v, level=level)
                plain = layer("self", AttentionPlan(streams=2), *theirs, v, level=level)
                assert torch.equal(ours, plain)
                # The queries and keys do stand for the map.
                torch.testing.assert_close(ours[1], expected, atol=1e-6, rtol=0)
                copied += torch.equal(expected, maps[0])
    assert copied == 2 + 2 * 3  # two late steps: one layer within 16x16, three within 32x32


def test_local_blend(read):
    entry, data = case("p2p_local_blend")
    blended_steps = []
    for run in entry["options"]["runs"]:
        prompts = [read(text) for text in run["prompts"]]
        tokens, spared = (
            [
                [t for word in words for t in prompt.tokens_of(word)]
                for prompt, words in zip(prompts, run.get(key, [[], []]), strict=True)
            ]
            for key in ("words", "substruct_words")
        )
        threshold, subtract_threshold = (
            run["threshold"] if isinstance(run["threshold"], list) else (run["threshold"], 0.3)
        )
        method = Method(
            "run",
            ALONE,
            blend_threshold=threshold,
            subtract_threshold=subtract_threshold,
            blend_start=run.get("start_blend", 0.0),
        )
        tap = WordTap(0)
        for step in range(entry["options"]["num_steps"]):
            for name in entry["options"]["map_names"]:
                maps = data[f"in/maps/step{step}/{name}"][:, None]
                tap.record(maps, maps)
            tap.end_of_forward()
            latents = data[f"in/latents/step{step}"]
            mask = blend_mask(
                tap.maps,
                tokens,
                spared,
                (16, 16),
                tuple(latents.shape[-2:]),
                MaskRule(method.blend_threshold),
                method.subtract_threshold,
            )
            assert torch.equal(mask[0], data[f"{run['id']}/out/mask/step{step}"])
            blending = step in method.blend_steps(run.get("num_ddim_steps", entry["options"]["num_steps"]))
            blended_steps.append(blending)
            close(
                blend(latents[:1], latents[1:], mask) if blending else latents[1:],
                data[f"{run['id']}/out/latents/step{step}"],
                entry,
            )
    assert blended_steps == [True, True, True] + [False, False, True] + [False, True, True]
