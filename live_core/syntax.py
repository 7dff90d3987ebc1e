"""ComfyUI's prompt syntax: weights in parentheses, `embedding:name`; and what looks like syntax and is none."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import accumulate

from . import LiveError
from .checks import quoted
from .notes import note

EMBEDDING = "embedding:"
DEEPEST = 100  # parentheses within parentheses
EXTRA_NETWORK = r"<(?:lora|lyco|hypernet):[^<>]*>"
# What other programs read in a prompt and ComfyUI takes for words: pattern, what to do instead.
FOREIGN = (
    (r"\bBREAK\b", "a prompt that is too long for one chunk is broken by itself"),
    (r"\bAND\b", "a clip has one prompt, so say it as one sentence"),
    (r"\[[^\[\]]*\]", "for less weight write (word:0.8)"),
    (r"\b(?!embedding:)[^\W\d_]+:\d*\.\d+(?!\s*\))", "for a weight write (word:1.2), in parentheses"),
    (r"(?:\)|\b\w{2,})\+\+|\)--", "for a weight write (word:1.2)"),
    (r"__\w[\w/-]*__", "no file of wildcards is read, so write one of its words"),
    (r"(?<!:)//[^\n]*|/\*.*?\*/", "the page takes comments out only where they are typed into the node itself"),
    (r"<[^\W\d_][^\s<>]*(?=\s|$)", "a photo's placeholder ends in '>'"),
    (r"\{[^{}]*\|[^{}]*\}", "the page chooses one of them only where the prompt is typed into Edit Video itself"),
)


@dataclass(frozen=True)
class Piece:
    """A part of a prompt under one weight: text, or the name of an embedding. `glued`: no blank stands before it."""

    text: str
    weight: float
    embedding: bool = False
    glued: bool = False


def pieces(text: str, embeddings: Container[str] = ()) -> list[Piece]:
    """A prompt taken apart as ComfyUI's CLIP Text Encode does.

    ``(words)`` weighs 1.1 times what stands around it, ``(words:0.8)`` weighs 0.8; ``\\(`` and ``\\)`` are
    parentheses. ``embedding:name`` counts at the beginning of a run of one weight or after a blank; the name ends at a
    blank or ``<``, and commas after it are its own only if `embeddings` has such a name. Raises LiveError for a weight
    that is not finite.

    >>> [(piece.text, piece.weight) for piece in pieces("a (blue (star):1.2) here")]
    [('a ', 1.0), ('blue ', 1.2), ('star', 1.32), (' here', 1.0)]
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LiveError(f"prompt: {text!r} has half a character at place {error.start + 1}; type it again") from error
    found: list[Piece] = []
    for run, weight in _weighted(_hide(text), 1.0, 0):
        run = _show(run)
        glued = bool(found) and not found[-1].text[-1:].isspace()
        for part in re.split(rf"(?<=\s)(?={EMBEDDING})", run):
            if part.startswith(EMBEDDING):
                found += _embedding(part, weight, glued, embeddings)
            elif part:
                found.append(Piece(part, weight, glued=glued and not part[0].isspace()))
            glued = False
    return found


def _embedding(part: str, weight: float, glued: bool, embeddings: Container[str]) -> list[Piece]:
    """`embedding:name` and what follows it."""
    _, name, rest = re.split(rf"^{EMBEDDING}\s*([^\s<\[]*)", part, maxsplit=1)
    shorter = name.rstrip(",")
    if name not in embeddings:
        name, rest = shorter, name[len(shorter) :] + rest
    return [Piece(name, weight, True, glued), *([Piece(rest, weight, glued=not rest[0].isspace())] if rest else [])]


def as_written(name: str) -> str | None:
    """How a prompt has the name of an embedding after ``embedding:``; None where it cannot, since a name ends at a
    blank, ``<`` or ``[``.
    """
    return None if re.search(r"[\s<\[]", name) else name.replace("(", r"\(").replace(")", r"\)")


def _hide(text: str) -> str:
    """Escaped parentheses out of sight of those that weigh."""
    return text.replace("\\(", "\0\1").replace("\\)", "\0\2")


def _show(text: str) -> str:
    return text.replace("\0\1", "(").replace("\0\2", ")")


def _weighted(text: str, weight: float, depth: int) -> Iterator[tuple[str, float]]:
    """Runs of `text` and their weights."""
    if depth > DEEPEST:
        raise LiveError(
            f"prompt: its parentheses stand more than {DEEPEST} deep in each other; write (words:1.5) in place of "
            "(((words)))"
        )
    for run in _outermost(text):
        if len(run) < 2 or run[0] != "(" or run[-1] != ")":
            yield run, weight
            continue
        words, number = _weight_of(run[1:-1])
        yield from _weighted(words, 1.1 * weight if number is None else number, depth + 1)


def _weight_of(inside: str) -> tuple[str, float | None]:
    """What stands in parentheses: its words, and the weight after the last colon, None where there is none."""
    words, colon, number = inside.rpartition(":")
    try:
        weight = float(number) if words else None
    except ValueError:
        return inside, None
    if weight is None:
        return inside, None
    if not math.isfinite(weight):
        raise LiveError(
            f"prompt: the weight {number!r} in {_show(f'({inside})')!r} is not finite; write a number such as "
            "(word:1.2)"
        )
    return words, weight


def _outermost(text: str) -> Iterator[str]:
    """`text` cut before and after each outermost pair of parentheses; what a surplus parenthesis begins runs to the
    end."""
    depth = start = 0
    for i, character in enumerate(text):
        if character == "(":
            if depth == 0 and i > start:
                yield text[start:i]
                start = i
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield text[start : i + 1]
                start = i + 1
    if start < len(text):
        yield text[start:]


def _insides(hidden: str) -> Iterator[str]:
    """What stands in each pair of parentheses that weighs."""
    for run in _outermost(hidden):
        if len(run) > 1 and run[0] == "(" and run[-1] == ")":
            yield run[1:-1]
            yield from _insides(_weight_of(run[1:-1])[0])


def check_syntax(text: str, name: str, placeholders: tuple[str, ...] = ()) -> None:
    """LiveError for a LoRA, a note for other things that ComfyUI reads as words though they look as if they were more.
    `name`: the input."""
    for placeholder in placeholders:  # which may look like anything
        text = re.sub(re.escape(placeholder), "x", text, flags=re.IGNORECASE)
    network = re.search(EXTRA_NETWORK, text, re.IGNORECASE)
    if network:
        raise LiveError(
            f"{name}: {network[0]!r} loads nothing in ComfyUI; leave it out, and give the model its LoRA by Load LoRA "
            "and LIVE Model from MODEL, CLIP, VAE"
        )
    for pattern, remedy in FOREIGN:
        found = re.search(pattern, text)
        if found and not (found[0].isupper() and text.isupper()):  # a word among others written large
            note(f"{name}: {found[0]!r} is read as words, as everywhere in ComfyUI; {remedy}")
    hidden = _hide(text)
    depths = list(accumulate({"(": 1, ")": -1}.get(character, 0) for character in hidden))
    if depths and (min(depths) < 0 or depths[-1]):
        note(
            f"{name}: in {quoted(text)} the parentheses do not pair, so some are read as words and weigh nothing; write"
            " \\( and \\) for those that are meant as signs"
        )
    for inside in _insides(hidden):
        if ":" in inside.rpartition(")")[2] and EMBEDDING not in inside and _weight_of(inside)[1] is None:
            note(
                f"{name}: {_show(f'({inside})')!r} has no number after its colon, so it weighs 1.1 and the colon is "
                "read as a word; write (words:1.2)"
            )
    if len(re.findall(EMBEDDING, text, re.IGNORECASE)) > sum(piece.embedding for piece in pieces(text)):
        note(
            f"{name}: an embedding is read as words where no blank stands before {EMBEDDING!r}, and in capitals; write "
            "it small, after a blank"
        )
