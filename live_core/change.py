"""What is asked of an edit: two prompts, and from them the tokens that change, the attention that is injected, and
what is looked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import LiveError
from .alignment import changed_words, only_appended, unchanged
from .checks import check_number
from .concept import Concept
from .methods import Method
from .notes import note
from .phrases import split_phrases
from .pretrained import LiveModel
from .prompts import Prompt, check_prompt
from .token_edits import (
    TokenEdit,
    at_step,
    place_words,
    refine_words,
    replace_words,
    reweight,
    swap_words,
    word_windows,
)

MOST_WEIGHT = 1000.0  # on a word's attention, either way; prompt-to-prompt's notebooks use 2 to 8


@dataclass(frozen=True)
class Edit:
    """What to change, in words. Lists of words are separated by commas."""

    prompt: str
    # Words whose attention comes from the source, None for all that both prompts share; for a method that swaps words.
    keep_words: str | None = None
    # What local blend looks for in the source prompt, and in `prompt`; empty: the content words without a partner when
    # the two are aligned.
    source_words: str = ""
    edit_words: str = ""
    # What local blend spares, in either prompt.
    subtract_words: str = ""
    # (word of `prompt`, factor on its attention) while words are injected.
    weights: tuple[tuple[str, float], ...] = ()
    # (word of `prompt`, (start, end)), parts of the steps, in place of the method's for that word.
    windows: tuple[tuple[str, tuple[float, float]], ...] = ()
    # What guidance leads away from. Null text, where the edit is guided from it, leaves no place for it.
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        for word, weight in self.weights:
            check_number(f"word weights: {word}", weight, -MOST_WEIGHT, MOST_WEIGHT)


@dataclass(frozen=True)
class Asked:
    """An `Edit` of a clip's prompt, as the model reads both. Raises LiveError for words that are not in their prompt
    (`asked_of`)."""

    source: Prompt
    edit: Prompt
    change: Edit

    def token_edits(self, method: Method, steps: int) -> list[TokenEdit | None]:
        """The word injection's (mapping (S, L), keep (L,)) at every step, weights and windows applied; None where no
        word's window is open."""
        return word_edits(method, self.source, self.edit, self.change, steps)

    def looked_for(self) -> tuple[list[int], list[int]]:
        """Words of the source prompt and of the edit's that masks are read from: those named, else what changes
        (`alignment.changed_words`)."""
        found = list(changed_words(self.source, self.edit))
        named = self.change.source_words.strip(), self.change.edit_words.strip()
        for side, (prompt, phrases, name) in enumerate(
            ((self.source, named[0], "source words"), (self.edit, named[1], "edit words"))
        ):
            if phrases:
                found[side] = [
                    word for phrase in split_phrases(phrases, name) for word in words_of(prompt, phrase, name)
                ]
        if not any(found) and not any(named):
            found[1] = only_appended(self.source, self.edit)
        if not any(found):
            why = unchanged(self.source, self.edit)
            raise LiveError(
                f"edit prompt: {self.edit.text!r} {why}, so there is nothing to look for; "
                "change a word, name source words and edit words, or set blend threshold and self blend threshold to 0"
            )
        return sorted(set(found[0])), sorted(set(found[1]))

    def spared(self) -> tuple[list[int], list[int]]:
        """Tokens of the subtracted words in either prompt; a word that neither has is an error."""
        phrases = split_phrases(self.change.subtract_words, "subtract words")
        for phrase in phrases:
            if not self.source.find(phrase):
                self.edit.tokens_of(phrase, "subtract words")
        in_source, in_edit = (
            sorted({t for phrase in phrases for t in prompt.find(phrase)}) for prompt in (self.source, self.edit)
        )
        return in_source, in_edit

    def note_unsought(self, method: Method, sought: tuple[list[int], list[int]]) -> None:
        """Notes on words that were named for masks, of which the method, as it is set, reads none: `sought` is what
        masks look for."""
        spared = method.blend_threshold is not None
        for name, words, is_read in (
            ("source words", self.change.source_words, bool(sought[0])),
            ("edit words", self.change.edit_words, bool(sought[1])),
            ("subtract words", self.change.subtract_words, spared),
        ):
            if words.strip() and not is_read:
                remedy = "take the mask from 'both'" if spared else "set blend threshold above 0"
                note(f"{name}: {words!r}, but no mask of {method.name!r} reads them; {remedy}, or leave them out")


def asked_of(model: LiveModel, source_prompt: str, change: Edit, concepts: tuple[Concept, ...] = ()) -> Asked:
    """Read both prompts. LiveError for a phrase that is not in its prompt, whether the method reads it or not, for a
    placeholder that no photo is bound to, and for a prompt without any of the `concepts`'."""
    source, edit = model.read(source_prompt), model.read(change.prompt, concepts)
    check_edit_prompt(model, edit, concepts)
    if change.negative_prompt.strip():
        check_prompt(
            model.read(change.negative_prompt, concepts),
            "negative prompt",
            model.tokenizer,
            tuple(c.placeholder for c in concepts),
        )
    for prompt, phrases, name in (
        (source, split_phrases(change.source_words, "source words"), "source words"),
        (edit, split_phrases(change.edit_words, "edit words"), "edit words"),
        *((prompt, split_phrases(change.keep_words or "", "keep words"), "keep words") for prompt in (source, edit)),
        (edit, [word for word, _ in change.weights], "word weights"),
        (edit, [word for word, _ in change.windows], "word windows"),
    ):
        for phrase in phrases:
            prompt.tokens_of(phrase, name)
    asked = Asked(source, edit, change)
    asked.spared()
    return asked


def check_edit_prompt(model: LiveModel, prompt: Prompt, concepts: tuple[Concept, ...]) -> None:
    """LiveError for a prompt of no words, for a placeholder that no photo is bound to, and for one without any of the
    `concepts`'; a note where only some are in it."""
    placeholders = tuple(concept.placeholder for concept in concepts)
    if not prompt.words:
        raise LiveError(f"edit prompt: {prompt.text!r} has no words; say what the edited clip shall show")
    check_prompt(prompt, "edit prompt", model.tokenizer, placeholders)
    named = {word.lower() for word in prompt.words}
    missing = [placeholder for placeholder in placeholders if placeholder.lower() not in named]
    if missing and missing == list(placeholders):
        raise LiveError(
            f"edit prompt: {prompt.text!r} does not say where the thing of the photo shall be; put "
            f"{' or '.join(map(repr, placeholders))} into it, or give a model that no photo is bound to"
        )
    for placeholder in missing:
        note(
            f"edit prompt: {prompt.text!r} is without {placeholder!r}, so that photo's thing is not asked for; put the "
            "placeholder where it shall be"
        )


def words_of(prompt: Prompt, phrase: str, name: str) -> list[int]:
    """Numbers of the words of every occurrence of `phrase`, LiveError where there is none."""
    prompt.tokens_of(phrase, name)
    return [word for words in prompt.occurrences(phrase) for word in words]


def note_idle(edit: Prompt, change: Edit, opened: torch.Tensor) -> None:
    """Notes on words of a change that no step's injection reaches, `opened` (steps, L) being 1 where one does."""
    asked = [
        *(("word weights", word) for word, weight in change.weights if weight != 1),
        *(("word windows", word) for word, (start, end) in change.windows if start < end),
        *(("keep words", word) for word in split_phrases(change.keep_words or "", "keep words")),
    ]
    for name, word in asked:
        if not opened[:, edit.find(word)].any():
            note(
                f"{name}: {word!r} acts while its attention is injected, which is at none of the {len(opened)} steps;"
                " raise the cross ratio, widen the word's window, or take more steps"
            )


def note_placing(method: Method) -> None:
    """Note a `place_ratio` of which a part, or all, does not act."""
    if method.place_ratio > method.cross_ratio:
        note(
            f"place ratio: {method.place_ratio:g} is above the cross ratio, {method.cross_ratio:g}, after which no "
            "word is injected; it acts up to there, so raise the cross ratio or lower the place ratio"
        )
    if 0 < method.place_ratio <= method.cross_start < method.cross_ratio:
        note(
            f"place ratio: {method.place_ratio:g} ends before words are injected, from {method.cross_start:g} of the "
            "steps on, so no word is placed; raise the place ratio or lower the cross start"
        )


def word_edits(method: Method, source: Prompt, edit: Prompt, change: Edit, steps: int) -> list[TokenEdit | None]:
    """See `Asked.token_edits`."""
    if change.keep_words is not None and method.word_edit != "swap":
        raise LiveError(
            f"keep words: {change.keep_words!r}, but {method.word_edit!r} takes its words by itself; leave them out or "
            "choose word_edit 'swap'"
        )
    note_placing(method)
    default = (method.cross_start, method.cross_ratio) if method.cross_ratio > 0 else (0.0, 0.0)
    opened = word_windows(edit, steps, default, change.windows)
    note_idle(edit, change, opened)
    if not opened.any():
        return [None] * steps
    token_edit = {
        "swap": lambda: swap_words(source, edit, change.keep_words),
        "replace": lambda: replace_words(source, edit),
        "refine": lambda: refine_words(source, edit),
    }[method.word_edit]()
    placed = place_words(source, edit, token_edit)
    factors = reweight(edit, change.weights)
    return [
        at_step(placed if i in method.place_steps(steps) else token_edit, factors, row) if row.any() else None
        for i, row in enumerate(opened)
    ]
