"""The training captions as tensors, in every way that training says them, so that a batch is drawn without a loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..data import Pictures
from ..tokenizer import CONTEXT
from .looks import TOKENS, Caption, look_of, read_caption

DROPPED = 0.1  # of the captions, for guidance
LOOK_SHARE = {True: 0.9, False: 0.25}  # of the pictures with a thing that has no words, of those without one
WORDS = 8  # the most words of a caption that name things


@dataclass
class Captions:
    """Of n pictures, each caption in words (way 0) and with its look told by one to `TOKENS` words (that way).

    `ids` (n, 1 + TOKENS, CONTEXT). `words` and `which` (n, 1 + TOKENS, WORDS): positions of the words that name things,
    0 for none, and which thing. `told` (n, 1 + TOKENS, TOKENS): positions of the words that tell a look, 0 for none.
    `shares` (n,): how often a look tells it. `empty` (CONTEXT,): the dropped caption.
    """

    ids: torch.Tensor
    words: torch.Tensor
    which: torch.Tensor
    told: torch.Tensor
    shares: torch.Tensor
    empty: torch.Tensor

    def draw(self, rows: torch.Tensor, u: torch.Tensor) -> dict[str, torch.Tensor]:
        """`ids`, `words`, `which` and `told` of pictures `rows` (b,), as chance `u` (b, 3), 0..1, has them said:
        dropped, in words or by look, with how many words."""
        dropped = u[:, 0] < DROPPED
        way = torch.where(u[:, 1] < self.shares[rows], 1 + (TOKENS * u[:, 2]).long().clamp(max=TOKENS - 1), 0)
        said = {name: getattr(self, name)[rows, way].long() for name in ("ids", "words", "which", "told")}
        said["ids"] = torch.where(dropped[:, None], self.empty, said["ids"])
        for name in ("words", "told"):
            said[name] = said[name].masked_fill(dropped[:, None], 0)
        return said


def tabulate(pictures: Pictures, tokenizer, device: str) -> Captions:
    """Every word of a training caption is one token, so a caption's tokens are looked up word by word."""
    n, ways = len(pictures), 1 + TOKENS
    start, *empty = tokenizer("", padding="max_length", max_length=CONTEXT).input_ids
    ids = np.tile(np.array([start, *empty], np.int16), (n, ways, 1))
    words, which = np.zeros((2, n, ways, WORDS), np.int8)
    told = np.zeros((n, ways, TOKENS), np.int8)
    shares = np.zeros(n, np.float32)
    known: dict[str, int] = {}
    for i, (text, names) in enumerate(zip(pictures.captions, pictures.names, strict=True)):
        look = look_of(names)
        shares[i] = LOOK_SHARE["thing" in names] if names else 0
        for way in range(ways if names else 1):
            caption = read_caption(text, names, look if way else None, max(way, 1))
            said = _tokens(caption, known, tokenizer)
            ids[i, way, 1 : 1 + len(said)] = said
            if caption.words:
                words[i, way, : len(caption.words)], which[i, way, : len(caption.words)] = zip(
                    *caption.words, strict=True
                )
            told[i, way, : len(caption.told)] = caption.told
    arrays = (ids, words, which, told, shares, np.array([start, *empty]))
    return Captions(*(torch.from_numpy(array).to(device) for array in arrays))


def _tokens(caption: Caption, known: dict[str, int], tokenizer) -> list[int]:
    for word in caption.text.split():
        if word not in known:
            (known[word],) = tokenizer(word, add_special_tokens=False).input_ids
    return [known[word] for word in caption.text.split()]
