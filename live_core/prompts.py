"""Prompts as words and tokens: spans, alignment of two prompts, and the token edit that attention injection needs.

A *word* is a run of letters and digits, a placeholder token (any word that holds a concept), or a punctuation mark;
"car," is the word "car" and the word ",". A word may be several tokens; it is always handled whole.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch

from . import LiveError

_WORD = r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]|_"


@dataclass(frozen=True)
class Prompt:
    """`ids` (L,): token ids, padded; a placeholder's tokens have the negative ids -1, -2, ... in `placeholders` order.

    `words[i]` occupies tokens ``spans[i][0]`` to ``spans[i][1] - 1``.
    """
    text: str
    ids: tuple[int, ...]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def tokens_of(self, phrase: str, name: str = "words") -> list[int]:
        """Token positions of every occurrence of `phrase` (one or several consecutive words, any case).

        Raises LiveError when the prompt does not contain it; `name` is the input the phrase came from.
        """
        wanted = split_words(phrase, tuple(w for w in self.words if not re.fullmatch(_WORD, w)))
        own = [w.lower() for w in self.words]
        wanted_lower = [w.lower() for w in wanted]
        found = [t for i in range(len(own) - len(wanted) + 1) if wanted and own[i:i + len(wanted)] == wanted_lower
                 for t in range(self.spans[i][0], self.spans[i + len(wanted) - 1][1])]
        if not found:
            raise LiveError(f"{name}: {phrase!r} is not in the prompt {self.text!r}; choose from its words: {', '.join(self.words)}")
        return found


def split_words(text: str, placeholders: tuple[str, ...] = ()) -> list[str]:
    """The words of a prompt. Placeholders are matched first, longest first, wherever they stand.

    >>> split_words("a <cat*>'s hat, red", ("<cat*>",))
    ['a', '<cat*>', "'", 's', 'hat', ',', 'red']
    """
    first = [re.escape(p) for p in sorted(placeholders, key=len, reverse=True)]
    return re.findall("|".join([*first, _WORD]), text)


def read_prompt(text: str, tokenizer, placeholders: tuple[str, ...] = ()) -> Prompt:
    """Tokenise `text` word by word for a CLIP tokenizer. Words past the model's context are cut off, as CLIP does."""
    length = tokenizer.model_max_length
    ids, words, spans = [tokenizer.bos_token_id], [], []
    for word in split_words(text, placeholders):
        new = [-1 - placeholders.index(word)] if word in placeholders else tokenizer(word, add_special_tokens=False).input_ids
        if len(ids) + len(new) > length - 1:
            break
        words.append(word)
        spans.append((len(ids), len(ids) + len(new)))
        ids += new
    ids.append(tokenizer.eos_token_id)
    ids += [tokenizer.pad_token_id] * (length - len(ids))
    return Prompt(text, tuple(ids), tuple(words), tuple(spans))


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
        chosen = {t for phrase in _phrases(keep) for t in edit.tokens_of(phrase, "keep words")}
        for phrase in _phrases(keep):
            source.tokens_of(phrase, "keep words")
        pairs = [(a, b) for a, b in pairs if edit.spans[b][0] in chosen]
    length = len(edit.ids)
    mapping, own = torch.zeros(length, length), torch.ones(length)
    for a, b in pairs:
        (a0, a1), (b0, b1) = source.spans[a], edit.spans[b]
        mapping[a0:a1, b0:b1] = 1 / (a1 - a0)
        own[b0:b1] = 0
    return mapping, own


def _phrases(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
