"""Aligning two prompts: which words they share, and the token edit that attention injection needs of them."""
from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher

import torch

from . import LiveError
from .prompts import Prompt, split_phrases


def align_words(source: Prompt, edit: Prompt) -> list[tuple[int, int]]:
    """Pairs (source word, edit word) of the words that both prompts share, in order; prompts may differ in length."""
    matcher = SequenceMatcher(None, [w.lower() for w in source.words], [w.lower() for w in edit.words], autojunk=False)
    return [(block.a + i, block.b + i) for block in matcher.get_matching_blocks() for i in range(block.size)]


def swap_words(source: Prompt, edit: Prompt, keep: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The token edit (mapping (L, L), keep (L,)) of LIVE's word swap: chosen words take the source's attention.

    `keep` lists the words, separated by commas, whose attention comes from the source: verbs of motion and background
    nouns, never the object. None means every word that both prompts share. All other tokens keep the edit's own attention:
    ``A = A_source @ mapping + A_edit * keep``. A word of k source tokens and l edit tokens hands each edit token the mean
    of the k columns.
    """
    pairs = align_words(source, edit)
    if keep is not None:
        chosen = {t for phrase in split_phrases(keep) for t in edit.tokens_of(phrase, "keep words")}
        for phrase in split_phrases(keep):
            source.tokens_of(phrase, "keep words")
        pairs = [(a, b) for a, b in pairs if edit.spans[b][0] in chosen]
    length = len(edit.ids)
    mapping, own = torch.zeros(length, length), torch.ones(length)
    for a, b in pairs:
        (a0, a1), (b0, b1) = source.spans[a], edit.spans[b]
        mapping[a0:a1, b0:b1] = 1 / (a1 - a0)
        own[b0:b1] = 0
    return mapping, own


def place_words(source: Prompt, edit: Prompt, token_edit: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_edit`, (mapping (L, L), keep (L,)), with every changed word looking where the words that it replaces look in the source.
    Prompt-to-prompt's replacement for the changed runs alone, so that prompts may differ in length: our own, measured in bench/RESULTS.md.

    A run of words between two that both prompts share replaces the source's run there: word by word where both have as many, else
    each of its tokens takes an equal part of the attention to the whole run. So two new things each take their own thing's place.
    Words with nothing to replace stay as they are in `token_edit`.
    """
    mapping, own = (tensor.clone() for tensor in token_edit)
    before = (0, 0)
    for a, b in [*align_words(source, edit), (len(source.words), len(edit.words))]:
        old, new = source.spans[before[0]:a], edit.spans[before[1]:b]
        if len(old) != len(new):
            old, new = ([(run[0][0], run[-1][1])] if run else [] for run in (old, new))
        for (a0, a1), (b0, b1) in zip(old, new):
            mapping[:, b0:b1] = 0
            mapping[a0:a1, b0:b1] = _hand_over(a1 - a0, b1 - b0)
            own[b0:b1] = 0
        before = a + 1, b + 1
    return mapping, own


def _hand_over(old: int, new: int) -> torch.Tensor:
    """(old, new) weights from the tokens of one word to those of another: token by token where they are as many, else 1/new for every pair."""
    return torch.eye(new) if old == new else torch.full((old, new), 1 / new)


def replace_words(source: Prompt, edit: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt-to-prompt's replacement as (mapping (L, L), keep (L,)): word i of the source feeds word i of the edit, all tokens injected.

    A word of k tokens that becomes one of l != k tokens gives weight 1/l to every pair, one of as many goes token by token.
    The reference goes wrong after a swap that changes the number of tokens; here what follows is shifted by the difference.
    Raises LiveError unless both prompts have as many words, those that fit into the model's context.
    """
    if len(source.words) != len(edit.words):
        raise LiveError(f"edit prompt: the model reads {len(edit.words)} words of {edit.text!r} and {len(source.words)} of the source prompt {source.text!r}; "
                        "replacing goes word by word, so make them as many, or choose refine")
    length = len(edit.ids)
    mapping = torch.zeros(length, length)
    mapping[0, 0] = 1
    for (a0, a1), (b0, b1) in zip(source.spans, edit.spans):
        mapping[a0:a1, b0:b1] = _hand_over(a1 - a0, b1 - b0)
    _map_the_rest(mapping, _end(source), _end(edit))
    return mapping, torch.zeros(length)


def refine_words(source: Prompt, edit: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt-to-prompt's refinement as (mapping (L, L), keep (L,)): tokens of the longest common subsequence take the source's
    attention, new ones keep their own. Of equally long ones the reference's choice: from the end, skip in the edit first.

    Padding of the edit reads the source's padding; the reference reads real words there when the edit is shorter.
    """
    a, b = source.ids[:_end(source) + 1], edit.ids[:_end(edit) + 1]
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            best[i + 1][j + 1] = max(best[i + 1][j], best[i][j + 1], best[i][j] + (a[i] == b[j]))
    length = len(edit.ids)
    mapping, keep = torch.zeros(length, length), torch.zeros(length)
    i, j = len(a), len(b)
    while j:
        if best[i][j] == best[i][j - 1]:
            j -= 1
            keep[j] = 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            mapping[i, j] = 1
    _map_the_rest(mapping, max(len(a), len(b)), len(b))
    return mapping, keep


def _end(prompt: Prompt) -> int:
    """Position of the end token."""
    return prompt.spans[-1][1] if prompt.spans else 1


def _map_the_rest(mapping: torch.Tensor, source: int, edit: int) -> None:
    """Edit tokens from `edit` on read source tokens from `source` on, one to one; those left over read the last."""
    for j in range(edit, mapping.shape[1]):
        mapping[min(source + j - edit, len(mapping) - 1), j] = 1


def reweight(prompt: Prompt, weights: dict[str, float]) -> torch.Tensor:
    """(L,) factors on the attention to each token: prompt-to-prompt's equaliser. Multiplies both halves of a token edit."""
    factors = torch.ones(len(prompt.ids))
    for phrase, weight in weights.items():
        factors[prompt.tokens_of(phrase, "word weights")] = weight
    return factors


def word_windows(prompt: Prompt, steps: int, window: tuple[float, float], words: Mapping[str, tuple[float, float]] | None = None) -> torch.Tensor:
    """(steps, L): 1 where the token edit acts on a token of `prompt`, else 0. `words` gives single words windows of their own.

    A window (start, end), parts of the N steps, is open for int(start (N + 1)) <= step < int(end (N + 1)): N + 1 is
    prompt-to-prompt's own count. Raises LiveError when a window is not in order within 0 to 1.
    """
    opened = torch.zeros(steps, len(prompt.ids))
    for tokens, (start, end) in [(slice(None), window), *((prompt.tokens_of(phrase, "word windows"), own) for phrase, own in (words or {}).items())]:
        if not 0 <= start <= end <= 1:
            raise LiveError(f"word windows: {start} to {end}; give a start and an end in order, parts of the steps from 0 to 1")
        opened[:, tokens] = 0
        opened[int(start * (steps + 1)):int(end * (steps + 1)), tokens] = 1
    return opened


def at_step(token_edit: tuple[torch.Tensor, torch.Tensor], factors: torch.Tensor, opened: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The token edit of one step: multiplied by `factors` (L,) where `opened` (L,) is 1, the edit's own attention where it is 0."""
    mapping, keep = token_edit
    return mapping * (factors * opened), keep * factors * opened + (1 - opened)
