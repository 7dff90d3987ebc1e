"""Reading prompts as words and tokens, and lists of words.

A *word* is a run of letters and digits, a placeholder token (any word that holds a concept), or a punctuation mark;
"car," is the word "car" and the word ",". A word may be several tokens; it is always handled whole.
"""
from __future__ import annotations

import math
import re
from dataclasses import dataclass

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

    def find(self, phrase: str) -> list[int]:
        """Token positions of every occurrence of `phrase` (one or several consecutive words, any case), none when there is none."""
        wanted = [w.lower() for w in split_words(phrase, tuple(w for w in self.words if not re.fullmatch(_WORD, w)))]
        own = [w.lower() for w in self.words]
        return [t for i in range(len(own) - len(wanted) + 1) if wanted and own[i:i + len(wanted)] == wanted
                for t in range(self.spans[i][0], self.spans[i + len(wanted) - 1][1])]

    def tokens_of(self, phrase: str, name: str = "words") -> list[int]:
        """`find`, or a LiveError when the prompt does not contain `phrase`; `name` is the input the phrase came from."""
        found = self.find(phrase)
        if not found:
            raise LiveError(f"{name}: {phrase!r} is not in the prompt {self.text!r}; choose from its words: {', '.join(self.words)}")
        return found


PLACEHOLDER = r"<[^\s<>]+>"                 # the usual form; any string that `concept.check_placeholder` takes can be one


def check_clip_prompt(text: str, placeholders: tuple[str, ...] = ()) -> None:
    """LiveError if a prompt that says what the clip shows has a placeholder in it, which stands for what a photo shows."""
    found = [*(p for p in placeholders if p in text), *re.findall(PLACEHOLDER, text)]
    if found:
        raise LiveError(f"prompt: {found[0]!r} stands for the thing in a photo; say in words what the clip shows, and put {found[0]!r} into the edit prompt")


def split_words(text: str, placeholders: tuple[str, ...] = ()) -> list[str]:
    """The words of a prompt. Placeholders are matched first, longest first, wherever they stand.

    >>> split_words("a <cat*>'s hat, red", ("<cat*>",))
    ['a', '<cat*>', "'", 's', 'hat', ',', 'red']
    """
    first = [re.escape(p) for p in sorted(placeholders, key=len, reverse=True)]
    return re.findall("|".join([*first, _WORD]), text)


def read_prompt(text: str, tokenizer, placeholders: tuple[str, ...] = ()) -> Prompt:
    """Tokenise `text` word by word for a CLIP tokenizer. Words that do not fit whole into the model's context are cut off."""
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


def split_phrases(text: str) -> list[str]:
    """The phrases of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_weights(text: str) -> tuple[tuple[str, float], ...]:
    """"watercolor=10, road=0.5" as pairs. Raises LiveError for a part that is no word, equals sign and finite number."""
    out = []
    for part in split_phrases(text):
        word, _, number = part.rpartition("=")
        try:
            out.append((word.strip(), float(number)))
        except ValueError:
            word = ""
        if not word.strip() or not math.isfinite(out[-1][1]):
            raise LiveError(f"word weights: {part!r}; write word=number, separated by commas, such as \"watercolor=10, road=0.5\"")
    return tuple(out)


def read_windows(text: str) -> tuple[tuple[str, tuple[float, float]], ...]:
    """"car: 0-0.4, tree: 0.2-0.8" as pairs of a phrase and its window. Raises LiveError for a part that is no phrase, colon, and start and end in order within 0 to 1."""
    number, out = r"(\d+\.?\d*|\.\d+)", []
    for part in split_phrases(text):
        match = re.fullmatch(rf"(.*\S)\s*:\s*{number}\s*-\s*{number}", part)
        if not match or not 0 <= float(match[2]) <= float(match[3]) <= 1:
            raise LiveError(f"word windows: {part!r}; write word: start-end, parts of the steps in order from 0 to 1, separated by commas, such as \"car: 0-0.4, tree: 0.2-0.8\"")
        out.append((match[1], (float(match[2]), float(match[3]))))
    return tuple(out)
