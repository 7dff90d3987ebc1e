"""Reading prompts as a text encoder does: words, tokens, chunks.

A *word* is a run of letters and digits, a run of signs, a placeholder (any string that holds a concept) or
``embedding:name``; "car," is the word "car" and the word ",". CLIP's tokenizer never joins what these part, so word by
word it gives the tokens of the whole. A word may be several tokens; it is always handled whole. Weights are no words:
"a (blue star:1.2)" has the words of "a blue star".

In the examples `read` is `read_prompt` with the demo model's tokenizer, for which their words are one token each.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch

from . import LiveError
from .notes import note
from .syntax import EMBEDDING, EXTRA_NETWORK, Piece, as_written, check_syntax, pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_APART, _SIGN = r"'(?:s|t|re|ve|m|ll|d)|[^\W_]+(?:'[^\W_]+)?", r"(?:[^\w\s]|_)"
_WORD = rf"{_APART}|{_SIGN}+"
# The usual form of a placeholder; any string that `concept.check_placeholder` takes can be one.
PLACEHOLDER = rf"(?!{EXTRA_NETWORK})<[^\s<>]+>"
UNBREAKABLE = 7  # tokens of one run that ComfyUI moves whole into the next chunk
WHOLE_VOCABULARY = 10_000  # CLIP's own has 49,408 tokens; one of fewer than this knows few words
NO_EMBEDDINGS: Mapping[str, torch.Tensor] = MappingProxyType({})
NO_PLACEHOLDERS: Mapping[str, int] = MappingProxyType({})


class Token(NamedTuple):
    """`word`: the number of the word that it is of."""

    id: int
    weight: float
    word: int


@dataclass(frozen=True)
class Prompt:
    """A prompt as tokens: k chunks, each L long, a model's context, with its own start and end.

    `vectors`, of embeddings, have the negative ids that come after those of `placeholders`.

    >>> prompt = read("a (red ball:1.2), moving")
    >>> prompt.words, prompt.tokens
    (('a', 'red', 'ball', ',', 'moving'), ((1,), (2,), (3,), (4,), (5,)))
    >>> prompt.weights[:7], prompt.glued
    ((1.0, 1.0, 1.2, 1.2, 1.0, 1.0, 1.0), (False, False, False, True, False))
    """

    text: str
    ids: tuple[int, ...]  # (k L,), padded; the i-th vector of all placeholders is -1 - i
    words: tuple[str, ...]
    # The places in `ids` of each word, in order. Between two of them there may be a chunk's end and another's start.
    tokens: tuple[tuple[int, ...], ...]
    glued: tuple[bool, ...] = ()  # whether a word stands with no blank before it
    weights: tuple[float, ...] = ()  # (k L,), 1 is none
    empty: tuple[int, ...] = ()  # (L,): a chunk of no words
    vectors: tuple[torch.Tensor, ...] = field(default=(), compare=False, repr=False)  # (d,) each

    @property
    def end(self) -> int:
        """The place after the last word.

        >>> read("a red ball").end, read("").end
        (4, 1)
        """
        return self.tokens[-1][-1] + 1 if self.tokens else 1

    def occurrences(self, phrase: str) -> list[list[int]]:
        """Numbers of the words of every occurrence of `phrase` (one or several consecutive words, any case), none when
        there is none.

        >>> read("a red ball and a Red Ball").occurrences("red ball")
        [[1, 2], [5, 6]]
        """
        wanted = [
            w.lower()
            for w in split_words(phrase, tuple(w for w in self.words if not re.fullmatch(_WORD, w, re.IGNORECASE)))
        ]
        own = [w.lower() for w in self.words]
        return [
            list(range(i, i + len(wanted)))
            for i in range(len(own) - len(wanted) + 1)
            if wanted and own[i : i + len(wanted)] == wanted
        ]

    def find(self, phrase: str) -> list[int]:
        """Token positions of every occurrence of `phrase`, none when there is none.

        >>> read("a red ball and a ball").find("ball"), read("a red ball").find("star")
        ([3, 6], [])
        """
        return [
            t
            for word in sorted({word for words in self.occurrences(phrase) for word in words})
            for t in self.tokens[word]
        ]

    def phrases(self, words: Sequence[int]) -> str:
        """These words, in order, those that are neighbours as one phrase.

        >>> read("a red ball on the meadow").phrases([1, 2, 5])
        'red ball, meadow'
        """
        return "".join(
            self.words[i] if n == 0 else f" {self.words[i]}" if words[n - 1] == i - 1 else f", {self.words[i]}"
            for n, i in enumerate(words)
        )

    def tokens_in(self, words: Sequence[int]) -> list[int]:
        """The tokens of these words.

        >>> read("a red ball").tokens_in([0, 2])
        [1, 3]
        """
        return [t for i in words for t in self.tokens[i]]

    def tokens_of(self, phrase: str, name: str = "words") -> list[int]:
        """`find`, or a LiveError when the prompt does not contain `phrase`; `name` is the input the phrase came
        from.

        >>> read("a red ball").tokens_of("star", "edit words")
        Traceback (most recent call last):
        live_core.LiveError: edit words: 'star' is not in the prompt 'a red ball'; choose from its words: a, red, ball
        """
        found = self.find(phrase)
        if not found:
            raise LiveError(
                f"{name}: {phrase!r} is not in the prompt {self.text!r}; choose from its words: {', '.join(self.words)}"
            )
        return found


def split_words(text: str, named: tuple[str, ...] = ()) -> list[str]:
    """The words of a text. Those that are `named`, placeholders, are matched first, longest first, in any case; a run
    of signs ends before them.

    >>> split_words("a <cat*>'s hat, red", ("<cat*>",))
    ['a', '<cat*>', "'s", 'hat', ',', 'red']
    """
    return [match[0] for match in _matches(text, named)]


def _matches(text: str, named: tuple[str, ...]) -> list[re.Match]:
    if not named:
        return list(re.finditer(_WORD, text, re.IGNORECASE))
    first = "|".join(map(re.escape, sorted(named, key=len, reverse=True)))
    return list(re.finditer(rf"{first}|{_APART}|(?:(?!{first}){_SIGN})+", text, re.IGNORECASE))


def read_prompt(
    text: str,
    tokenizer: PreTrainedTokenizerFast,
    placeholders: Mapping[str, int] = NO_PLACEHOLDERS,
    embeddings: Mapping[str, torch.Tensor] = NO_EMBEDDINGS,
) -> Prompt:
    """Tokenise `text`, in ComfyUI's prompt syntax (`syntax.pieces`), for a CLIP tokenizer.

    What does not fit into the model's context goes on in another chunk, as ComfyUI does it: a run of up to seven
    tokens of one weight goes there whole, a longer one is cut. `placeholders`: each with the number of its vectors, and
    so of its tokens. `embeddings`: name -> vectors (n, d). Raises LiveError for an embedding that is not there.

    >>> prompt = read("a <thing*> on the meadow", {"<thing*>": 2})
    >>> prompt.words, prompt.tokens, prompt.ids[2:4]
    (('a', '<thing*>', 'on', 'the', 'meadow'), ((1,), (2, 3), (4,), (5,), (6,)), (-1, -2))
    >>> read("a embedding:mine")
    Traceback (most recent call last):
    live_core.LiveError: prompt: 'embedding:mine' is not there; write one of the .safetensors files of \
models/embeddings: none
    """
    fresh = count(-1, -1)  # ids of the placeholders' vectors, then of the embeddings'
    named = {placeholder.lower(): list(islice(fresh, n)) for placeholder, n in placeholders.items()}
    words: list[str] = []
    glued: list[bool] = []
    vectors: list[torch.Tensor] = []
    runs: list[list[Token]] = []

    def add(word: str, ids: list[int], weight: float, is_glued: bool) -> list[Token]:
        if ids:
            words.append(word)
            glued.append(is_glued)
        return [Token(i, weight, len(words) - 1) for i in ids]

    for piece in pieces(text, embeddings):
        if piece.embedding:
            rows = _vectors(piece, embeddings)
            vectors += rows
            runs.append(add(EMBEDDING + piece.text, [next(fresh) for _ in rows], piece.weight, piece.glued))
            continue
        plain = unicodedata.normalize("NFC", piece.text)  # as the tokenizer does, which would see words alone
        run: list[Token] = []
        for match in _matches(plain, tuple(placeholders)):
            word, start = match[0], match.start()
            is_glued = piece.glued if start == 0 else not plain[start - 1].isspace()
            if word.lower() in named:  # as an embedding, a run of its own
                runs += [run, add(word, named[word.lower()], piece.weight, is_glued)]
                run = []
            else:
                run += add(word, tokenizer(word, add_special_tokens=False).input_ids, piece.weight, is_glued)
        runs.append(run)
    return _assemble(text, _chunks(runs, tokenizer.model_max_length - 2), tokenizer, words, glued, vectors)


def _assemble(
    text: str,
    chunks: list[list[Token]],
    tokenizer: PreTrainedTokenizerFast,
    words: list[str],
    glued: list[bool],
    vectors: list[torch.Tensor],
) -> Prompt:
    """Chunks with start, end and padding in one row."""
    length = tokenizer.model_max_length
    ids: list[int] = []
    weights: list[float] = []
    tokens: list[list[int]] = [[] for _ in words]
    for chunk in chunks:
        for place, token in enumerate(chunk, len(ids) + 1):
            tokens[token.word].append(place)
        padding = length - len(chunk) - 2
        ids += [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * padding
        weights += [1.0, *(token.weight for token in chunk), 1.0, *[1.0] * padding]
    empty = tokenizer.bos_token_id, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * (length - 2)
    return Prompt(
        text, tuple(ids), tuple(words), tuple(map(tuple, tokens)), tuple(glued), tuple(weights), empty, tuple(vectors)
    )


def _chunks(runs: list[list[Token]], room: int) -> list[list[Token]]:
    """`runs` in chunks of up to `room` tokens. At least one, empty for no tokens."""
    chunks: list[list[Token]] = [[]]
    for run in runs:
        breakable = len(run) > min(UNBREAKABLE, room)
        while len(run) > (free := room - len(chunks[-1])):
            if breakable:
                chunks[-1] += run[:free]
                run = run[free:]
            chunks.append([])
        chunks[-1] += run
    return chunks


def _vectors(piece: Piece, embeddings: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """(d,) each, of an embedding."""
    if piece.text not in embeddings:
        written = {name: as_written(name) for name in embeddings}
        unnamed = [name for name, way in written.items() if way is None]
        rename = f"; rename {', '.join(map(repr, unnamed))}, since a name ends at a blank, < or [" if unnamed else ""
        raise LiveError(
            f"prompt: {EMBEDDING + piece.text!r} is not there; write one of the .safetensors files of "
            f"models/embeddings: {', '.join(filter(None, written.values())) or 'none'}{rename}"
        )
    return list(embeddings[piece.text])


def check_prompt(
    prompt: Prompt, name: str, tokenizer: PreTrainedTokenizerFast, placeholders: tuple[str, ...] = ()
) -> None:
    """What is noted or refused of a prompt that the input `name` brought: see `syntax.check_syntax`; a placeholder
    that no photo is bound to; words that a model of few words only spells.

    >>> check_prompt(read("a <thing*>"), "edit prompt", tokenizer)
    Traceback (most recent call last):
    live_core.LiveError: edit prompt: '<thing*>' stands for no photo here; bind a photo to it, or use a placeholder \
of this model's tuning: none
    """
    check_syntax(prompt.text, name, placeholders)
    for found in re.findall(PLACEHOLDER, prompt.text, re.IGNORECASE):
        if found.lower() not in (placeholder.lower() for placeholder in placeholders):
            raise LiveError(
                f"{name}: {found!r} stands for no photo here; bind a photo to it, or use a placeholder of this model's "
                f"tuning: {', '.join(placeholders) or 'none'}"
            )
    if tokenizer.vocab_size < WHOLE_VOCABULARY:
        spelled = [
            word
            for word, tokens in zip(prompt.words, prompt.tokens, strict=True)
            if re.fullmatch(_WORD, word, re.IGNORECASE)
            and (len(tokens) > len(_parts(word)) or prompt.ids[tokens[0]] == tokenizer.unk_token_id)
        ]
        if spelled:
            note(
                f"{name}: this model was taught few words, and reads {', '.join(map(repr, dict.fromkeys(spelled)))} "
                "letter by letter; use words that it knows, such as those of the shipped prompts"
            )


def _parts(word: str) -> list[str]:
    """What CLIP's tokenizer never joins in a word.

    >>> _parts("ball's"), _parts("ball")
    (['ball', "'s"], ['ball'])
    """
    return re.findall("'?[^']+", word) or [word]


def check_clip_prompt(prompt: Prompt, tokenizer: PreTrainedTokenizerFast, placeholders: tuple[str, ...] = ()) -> None:
    """`check_prompt` for one that says what the clip shows. LiveError if it has a placeholder, which stands for what a
    photo shows; a note if it has no words.

    >>> check_clip_prompt(read("a <thing*> moving"), tokenizer)
    Traceback (most recent call last):
    live_core.LiveError: prompt: '<thing*>' stands for the thing in a photo; say in words what the clip shows, and put \
'<thing*>' into the edit prompt
    """
    text = prompt.text
    found = [*(p for p in placeholders if p.lower() in text.lower()), *re.findall(PLACEHOLDER, text, re.IGNORECASE)]
    if found:
        raise LiveError(
            f"prompt: {found[0]!r} stands for the thing in a photo; say in words what the clip shows, and put "
            f"{found[0]!r} into the edit prompt"
        )
    check_prompt(prompt, "prompt", tokenizer)
    if not prompt.words:
        note(f"prompt: {text!r} has no words, so no word of the clip can be found or kept; say what the clip shows")
