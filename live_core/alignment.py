"""Aligning two prompts: which words they share, which replace which, and what of that names a thing."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from itertools import pairwise

from .notes import note
from .prompts import Prompt
from .syntax import EMBEDDING

# Signs that part clauses.
STOP = r"[,.;:|!?\u2013\u2014\u3001\u3002\uff0c\uff1b]|--"
# Words that name no thing: articles, prepositions, conjunctions, auxiliaries, pronouns.
FUNCTION_WORDS = frozenset(
    """
    a about above across after against along alongside amid among an and are around as at atop be because been
    before behind being below beneath beside besides between beyond but by did do does down during each for from had
    has have he her hers him his how i if in inside into is it its itself me my near next no nor not of off on onto
    or our out outside over past per she so some that the their them then there these they this those through
    throughout to toward towards under underneath until up upon us was we were what when where which while who whom
    whose will with within without you your
    """.split()
)


def align_words(source: Prompt, edit: Prompt) -> list[tuple[int, int]]:
    """Pairs (source word, edit word) of the words that both prompts share, in order; prompts may differ in length."""
    matcher = SequenceMatcher(None, [w.lower() for w in source.words], [w.lower() for w in edit.words], autojunk=False)
    return [(block.a + i, block.b + i) for block in matcher.get_matching_blocks() for i in range(block.size)]


def share_words(source: Prompt, edit: Prompt) -> list[tuple[int, int]]:
    """`align_words`, and then by name what stands elsewhere: the words left over that are equal, the first with the
    first."""
    pairs = align_words(source, edit)
    left = [a for a in range(len(source.words)) if a not in {x for x, _ in pairs}]
    right = [b for b in range(len(edit.words)) if b not in {y for _, y in pairs}]
    for a in left:
        b = next((b for b in right if edit.words[b].lower() == source.words[a].lower()), None)
        if b is not None:
            right.remove(b)
            pairs.append((a, b))
    return pairs


def replacements(source: Prompt, edit: Prompt) -> list[tuple[list[int], list[int]]]:
    """(source words, edit words) of each run between two words that `align_words` pairs: the edit's stand in the place
    of the source's. Either may be empty. Words that `share_words` pairs from afar, and what the edit only appends
    (`appended`), replace nothing."""
    shared, runs, before = share_words(source, edit), [], (0, 0)
    extra = {*appended(source, edit)}
    for a, b in [*align_words(source, edit), (len(source.words), len(edit.words))]:
        old = [i for i in range(before[0], a) if i not in {x for x, _ in shared}]
        new = [i for i in range(before[1], b) if i not in {y for _, y in shared} and i not in extra]
        runs.append((old, new))
        before = a + 1, b + 1
    return runs


def appended(source: Prompt, edit: Prompt) -> list[int]:
    """Words of the edit that a stop of its own, such as a comma, parts from what has a counterpart in the source:
    "masterpiece, best quality" after or before the sentence.

    Between two aligned words, stops without a partner part clauses. One clause is the counterpart of the source's
    words there: that with a placeholder, else the one next to an aligned word, before it at the beginning of the
    prompt, after it elsewhere. Where the source has no words only a clause with a placeholder counts.
    """
    shared, found, before = share_words(source, edit), [], (0, 0)
    taken = {a for a, _ in shared}
    for a, b in [*align_words(source, edit), (len(source.words), len(edit.words))]:
        stops = [
            i
            for i in range(before[1], b)
            if re.search(STOP, edit.words[i]) and not is_content(edit, i) and i not in {y for _, y in shared}
        ]
        if stops:
            edges = [before[1] - 1, *stops, b]
            clauses = [list(range(start + 1, end)) for start, end in pairwise(edges)]
            replaces = any(i not in taken for i in range(before[0], a))
            of_photo = [
                clause
                for clause in clauses
                if any(is_named(edit, i) and not edit.words[i].startswith(EMBEDDING) for i in clause)
            ]
            nearest = clauses[-1] if before[1] == 0 and b < len(edit.words) else clauses[0]
            own = of_photo[0] if of_photo else nearest if replaces else []
            found += [i for i in range(before[1], b) if i not in own]
        before = a + 1, b + 1
    return found


def changed_words(source: Prompt, edit: Prompt) -> tuple[list[int], list[int]]:
    """Words of the source and of the edit that something is to be looked for by: the *content* words of
    `replacements`. Signs, articles, prepositions and the like name no thing."""
    runs = replacements(source, edit)
    old = [i for run, _ in runs for i in run if is_content(source, i)]
    new = [i for _, run in runs for i in run if is_content(edit, i)]
    return old, new


def only_appended(source: Prompt, edit: Prompt) -> list[int]:
    """The content words of `appended`, for an edit that changes nothing else; that they are looked for is noted."""
    extra = [i for i in appended(source, edit) if is_content(edit, i)]
    if extra:
        note(
            f"edit prompt: nothing changes but {edit.phrases(extra)!r}, which is only appended; words such as "
            "'best quality' can be found anywhere, so name edit words if the mask is too large"
        )
    return extra


def unchanged(source: Prompt, edit: Prompt) -> str:
    """Why an edit has no `changed_words`."""
    kept = share_words(source, edit)
    changed = [word for i, word in enumerate(source.words) if i not in {a for a, _ in kept}]
    changed += [word for i, word in enumerate(edit.words) if i not in {b for _, b in kept}]
    return (
        f"changes only {', '.join(map(repr, changed))}, where no thing is named"
        if changed
        else "has the same words as the source prompt"
    )


def is_named(prompt: Prompt, word: int) -> bool:
    """Whether a word is a placeholder or an embedding."""
    return any(prompt.ids[t] < 0 for t in prompt.tokens[word])


def is_content(prompt: Prompt, word: int) -> bool:
    """Whether a word can name a thing, what it does or what it is like. Pictures of things, such as emoji, do."""
    text = prompt.words[word].lower()
    return is_named(prompt, word) or (
        any(c.isalnum() or unicodedata.category(c) == "So" for c in text)
        and text not in FUNCTION_WORDS
        and not text.startswith("'")
    )
