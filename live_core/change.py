"""What is asked of an edit: two prompts, and from them the tokens that change, the attention that is injected, and what is looked for."""
from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from . import LiveError
from .alignment import align_words, at_step, place_words, refine_words, replace_words, reweight, swap_words, word_windows
from .checks import check_number
from .methods import Method
from .prompts import PLACEHOLDER, Prompt, read_prompt, split_phrases


@dataclass(frozen=True)
class Edit:
    """What to change, in words. Lists of words are separated by commas."""
    prompt: str
    # Words whose attention comes from the source, None for all that both prompts share; only for a method that swaps words.
    keep_words: str | None = None
    # What local blend looks for in the source prompt, and in `prompt`; empty: the words without a partner when the two are aligned.
    source_words: str = ""
    edit_words: str = ""
    # What local blend spares, in either prompt.
    subtract_words: str = ""
    # (word of `prompt`, factor on its attention) while words are injected.
    weights: tuple[tuple[str, float], ...] = ()
    # (word of `prompt`, (start, end)), parts of the steps, in place of the method's for that word.
    windows: tuple[tuple[str, tuple[float, float]], ...] = ()

    def __post_init__(self):
        for word, weight in self.weights:
            check_number(f"word weights: {word}", weight)


@dataclass(frozen=True)
class Asked:
    """An `Edit` of a clip's prompt, as the model reads both. Raises LiveError for words that are not in their prompt (`asked_of`)."""
    source: Prompt
    edit: Prompt
    change: Edit

    def token_edits(self, method: Method, steps: int) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """The word injection's (mapping (L, L), keep (L,)) at every step, weights and windows applied; None where no word's window is open."""
        return word_edits(method, self.source, self.edit, self.change, steps)

    def looked_for(self) -> tuple[list[int], list[int]]:
        """Tokens of the changed words in the source prompt and in the edit's: those named, else those without a partner in the other prompt."""
        found = []
        shared = list(zip(*align_words(self.source, self.edit))) or [(), ()]
        for prompt, kept, phrases, name in ((self.source, shared[0], self.change.source_words, "source words"),
                                            (self.edit, shared[1], self.change.edit_words, "edit words")):
            if phrases.strip():
                found.append([t for phrase in split_phrases(phrases) for t in prompt.tokens_of(phrase, name)])
            else:
                found.append([t for i, (a, b) in enumerate(prompt.spans) if i not in kept for t in range(a, b)])
        if not any(found):
            raise LiveError(f"edit prompt: {self.edit.text!r} has the same words as the source prompt, so there is nothing to look for; "
                            "change a word, name source words and edit words, or set blend threshold and self blend threshold to 0")
        return found[0], found[1]

    def spared(self) -> tuple[list[int], list[int]]:
        """Tokens of the subtracted words in either prompt; a word that neither has is an error."""
        phrases = split_phrases(self.change.subtract_words)
        for phrase in phrases:
            if not self.source.find(phrase):
                self.edit.tokens_of(phrase, "subtract words")
        return [t for phrase in phrases for t in self.source.find(phrase)], [t for phrase in phrases for t in self.edit.find(phrase)]


def asked_of(source_prompt: str, change: Edit, tokenizer, placeholders: tuple[str, ...]) -> Asked:
    """Read both prompts. LiveError for a phrase that is not in its prompt, whether the method reads it or not, and for a placeholder that no
    photo is bound to."""
    source, edit = read_prompt(source_prompt, tokenizer), read_prompt(change.prompt, tokenizer, placeholders)
    for name in re.findall(PLACEHOLDER, edit.text):
        if name not in edit.words:
            raise LiveError(f"edit prompt: {name!r} stands for no photo here, or comes after the last token that the model reads; "
                            f"placeholders of this model's tuning: {', '.join(placeholders) or 'none'}")
    keep = split_phrases(change.keep_words or "")
    for prompt, phrases, name in ((source, split_phrases(change.source_words), "source words"), (edit, split_phrases(change.edit_words), "edit words"),
                                  (source, keep, "keep words"), (edit, keep, "keep words"), (edit, [word for word, _ in change.weights], "word weights"),
                                  (edit, [word for word, _ in change.windows], "word windows")):
        for phrase in phrases:
            prompt.tokens_of(phrase, name)
    asked = Asked(source, edit, change)
    asked.spared()
    return asked


def word_edits(method: Method, source: Prompt, edit: Prompt, change: Edit, steps: int) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
    """See `Asked.token_edits`."""
    if change.keep_words is not None and method.word_edit != "swap":
        raise LiveError(f"keep words: {change.keep_words!r}, but {method.word_edit!r} takes its words by itself; leave them out or choose word_edit 'swap'")
    opened = word_windows(edit, steps, (0, method.cross_ratio), dict(change.windows))
    if not opened.any():
        return [None] * steps
    token_edit = {"swap": lambda: swap_words(source, edit, change.keep_words), "replace": lambda: replace_words(source, edit),
                  "refine": lambda: refine_words(source, edit)}[method.word_edit]()
    placed = place_words(source, edit, token_edit)
    factors = reweight(edit, dict(change.weights))
    return [at_step(placed if i in method.place_steps(steps) else token_edit, factors, row) if row.any() else None for i, row in enumerate(opened)]
