"""Token edits: which of the source's attention each token of the edit takes, and how much of its own it keeps.

A token edit is (mapping (S, L), keep (L,)), S and L the tokens of source and edit, all chunks together:
``A = A_source @ mapping + A_edit * keep``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch

from . import LiveError
from .alignment import replacements, share_words
from .phrases import split_phrases
from .prompts import Prompt

TokenEdit = tuple[torch.Tensor, torch.Tensor]
Value = TypeVar("Value")


def keep_words(source: Prompt, edit: Prompt, phrases: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of the words of `phrases`, at every place of the edit that has them: as `share_words` pairs them, else
    word by word with the phrase in the source, the first with the first, and the last with all that are more. Raises
    LiveError for a phrase that a prompt has not."""
    shared = {b: a for a, b in share_words(source, edit)}
    pairs: dict[int, int] = {}
    for phrase in phrases:
        for prompt in (source, edit):
            prompt.tokens_of(phrase, "keep words")
        there = source.occurrences(phrase)
        for i, words in enumerate(edit.occurrences(phrase)):
            paired = all(b in shared for b in words)
            pairs |= zip(words, (shared[b] for b in words) if paired else there[min(i, len(there) - 1)], strict=True)
    return [(a, b) for b, a in pairs.items()]


def swap_words(source: Prompt, edit: Prompt, keep: str | None = None) -> TokenEdit:
    """LIVE's word swap: chosen words take the source's attention.

    `keep` lists the words, separated by commas, whose attention comes from the source: verbs of motion and background
    nouns, never the object. None means every word that both prompts share. All other tokens keep the edit's own
    attention. A word of k source tokens and l edit tokens hands each edit token the mean of the k columns.
    """
    pairs = share_words(source, edit) if keep is None else keep_words(source, edit, split_phrases(keep, "keep words"))
    mapping, own = torch.zeros(len(source.ids), len(edit.ids)), torch.ones(len(edit.ids))
    for a, b in pairs:
        old, new = source.tokens[a], edit.tokens[b]
        mapping[_cells(old, new)] = 1 / len(old)
        own[list(new)] = 0
    return mapping, own


def place_words(source: Prompt, edit: Prompt, token_edit: TokenEdit) -> TokenEdit:
    """`token_edit` with every changed word looking where the words that it replaces look in the source.
    Prompt-to-prompt's replacement for the changed runs alone, so that prompts may differ in length: our own, measured
    in bench/APPENDIX.md.

    In each of `replacements`, word by word where both sides have as many, else each token takes an equal part of the
    attention to the whole run. So two new things each take their own thing's place. Words with nothing to replace stay
    as they are in `token_edit`.
    """
    mapping, own = (tensor.clone() for tensor in token_edit)
    for run in replacements(source, edit):
        if not all(run):
            continue
        old, new = ([list(prompt.tokens[i]) for i in words] for prompt, words in zip((source, edit), run, strict=True))
        if len(old) != len(new):
            old, new = [sum(old, [])], [sum(new, [])]
        for a, b in zip(old, new, strict=True):
            mapping[:, b] = 0
            mapping[_cells(a, b)] = _hand_over(len(a), len(b))
            own[b] = 0
    return mapping, own


def replace_words(source: Prompt, edit: Prompt) -> TokenEdit:
    """Prompt-to-prompt's replacement: word i of the source feeds word i of the edit, all tokens injected. Words are
    what stands between blanks, as in the reference, "quad-bike" one of them.

    A word of k tokens that becomes one of l != k tokens gives weight 1/l to every pair, one of as many goes token by
    token. The reference goes wrong after a swap that changes the number of tokens; here what follows is shifted by the
    difference. Raises LiveError unless both prompts have as many words.
    """
    old, new = _between_blanks(source), _between_blanks(edit)
    if len(old) != len(new):
        raise LiveError(
            f"edit prompt: {edit.text!r} is {len(new)} words and the source prompt {source.text!r} {len(old)}, counted "
            "between blanks; replacing goes word by word, so make them as many, or choose refine"
        )
    mapping = torch.zeros(len(source.ids), len(edit.ids))
    for a, b in zip(old, new, strict=True):
        mapping[_cells(a, b)] = _hand_over(len(a), len(b))
    _map_marks(mapping, source, edit, False)
    return mapping, torch.zeros(len(edit.ids))


def refine_words(source: Prompt, edit: Prompt) -> TokenEdit:
    """Prompt-to-prompt's refinement: tokens of the longest common subsequence take the source's attention, new ones
    keep their own. Of equally long ones the reference's choice: from the end, skip in the edit first.

    Padding of the edit reads the source's padding; the reference reads real words there when the edit is shorter.
    """
    a, b = _tokens(source), _tokens(edit)
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            best[i + 1][j + 1] = max(best[i + 1][j], best[i][j + 1], best[i][j] + (a[i][0] == b[j][0]))
    mapping, keep = torch.zeros(len(source.ids), len(edit.ids)), torch.zeros(len(edit.ids))
    i, j = len(a), len(b)
    while j:
        if best[i][j] == best[i][j - 1]:
            j -= 1
            keep[b[j][1]] = 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            mapping[a[i][1], b[j][1]] = 1
    _map_marks(mapping, source, edit, True)
    return mapping, keep


def _cells(rows: Sequence[int], columns: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of a matrix's cells in these rows and columns."""
    return torch.tensor(rows)[:, None], torch.tensor(columns)[None]


def _hand_over(old: int, new: int) -> torch.Tensor:
    """(old, new) weights from the tokens of one word to those of another: token by token where they are as many, else
    1/new for every pair."""
    return torch.eye(new) if old == new else torch.full((old, new), 1 / new)


def _between_blanks(prompt: Prompt) -> list[list[int]]:
    """The tokens of what stands between blanks."""
    runs: list[list[int]] = []
    for tokens, glued in zip(prompt.tokens, prompt.glued, strict=True):
        if glued and runs:
            runs[-1] += tokens
        else:
            runs.append(list(tokens))
    return runs


def _tokens(prompt: Prompt) -> list[tuple[object, int]]:
    """(what is compared, place) of every token of a word. Ids of vectors given by name mean nothing in another prompt,
    so their word does."""
    return [
        (prompt.ids[t] if prompt.ids[t] >= 0 else (word.lower(), i), t)
        for word, tokens in zip(prompt.words, prompt.tokens, strict=True)
        for i, t in enumerate(tokens)
    ]


def _map_marks(mapping: torch.Tensor, source: Prompt, edit: Prompt, in_place: bool) -> None:
    """Start, end and padding of the edit's chunks read those of the source's, one to one; those left over read the
    last. `in_place`: padding does not begin before the edit's own.

    Chunk reads chunk as if both prompts were repeated to as many: each of the source's is spent in equal parts, no
    more and no less.
    """
    length = len(edit.empty)
    ends_a, ends_b = _ends(source), _ends(edit)
    common = math.gcd(len(ends_a), len(ends_b))
    for i, end_a in enumerate(ends_a):
        for j, end_b in enumerate(ends_b):
            if (i - j) % common:
                continue
            padding = max(end_a, end_b) if in_place else end_a
            for place in (0, *range(end_b, length)):
                read = 0 if place == 0 else end_a if place == end_b else min(padding + place - end_b, length - 1)
                mapping[i * length + read, j * length + place] += common / len(ends_b)


def _ends(prompt: Prompt) -> list[int]:
    """Place of the end token within each chunk."""
    length = len(prompt.empty)
    ends = [1] * (len(prompt.ids) // length)
    for tokens in prompt.tokens:
        for t in tokens:
            ends[t // length] = t % length + 1
    return ends


def reweight(prompt: Prompt, weights: Sequence[tuple[str, float]]) -> torch.Tensor:
    """(L,) factors on the attention to each token: prompt-to-prompt's equaliser. Multiplies both halves of a token
    edit."""
    factors = torch.ones(len(prompt.ids))
    for tokens, weight in _each_once(prompt, weights, "word weights"):
        factors[tokens] = weight
    return factors


def word_windows(
    prompt: Prompt, steps: int, window: tuple[float, float], words: Sequence[tuple[str, tuple[float, float]]] = ()
) -> torch.Tensor:
    """(steps, L): 1 where the token edit acts on a token of `prompt`, else 0. `words` gives single words windows of
    their own.

    A window (start, end), parts of the N steps, is open for int(start (N + 1)) <= step < int(end (N + 1)): N + 1 is
    prompt-to-prompt's own count. Raises LiveError when a window is not in order within 0 to 1.
    """
    opened = torch.zeros(steps, len(prompt.ids))
    every = list(range(len(prompt.ids)))
    for tokens, (start, end) in [(every, window), *_each_once(prompt, words, "word windows")]:
        if not 0 <= start <= end <= 1:
            raise LiveError(
                f"word windows: {start} to {end}; give a start and an end in order, parts of the steps from 0 to 1"
            )
        opened[:, tokens] = 0
        opened[int(start * (steps + 1)) : int(end * (steps + 1)), tokens] = 1
    return opened


def _each_once(prompt: Prompt, words: Sequence[tuple[str, Value]], name: str) -> list[tuple[list[int], Value]]:
    """The tokens of each phrase, and its value. LiveError for a word that has two."""
    owner: dict[int, str] = {}
    out = []
    for phrase, value in words:
        tokens = prompt.tokens_of(phrase, name)
        twice = next((t for t in tokens if t in owner), None)
        if twice is not None:
            raise LiveError(f"{name}: {owner[twice]!r} and {phrase!r} give one word two values; name it once")
        owner |= dict.fromkeys(tokens, phrase)
        out.append((tokens, value))
    return out


def at_step(token_edit: TokenEdit, factors: torch.Tensor, opened: torch.Tensor) -> TokenEdit:
    """The token edit of one step: multiplied by `factors` (L,) where `opened` (L,) is 1, the edit's own attention
    where it is 0."""
    mapping, keep = token_edit
    return mapping * (factors * opened), keep * factors * opened + (1 - opened)


def spread(token_edit: TokenEdit, rows: int, columns: int) -> TokenEdit:
    """The same edit between texts that are repeated to `rows` and `columns` tokens (`streams.predict`). A repeated
    token's attention is the sum over its copies, so every copy of a source token is read, and what it gives is shared
    out among the copies of the edit's."""
    mapping, keep = token_edit
    copies = columns // len(keep)
    return mapping.repeat(rows // len(mapping), copies) / copies, keep.repeat(copies)
