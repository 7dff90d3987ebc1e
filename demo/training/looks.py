"""Looks without words: what "thing" means in one picture, told by vectors added to the text encoder's input."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..tokenizer import CONTEXT

TOKENS = 4  # the most words that tell one look
SCALE = 0.1  # an offset's size per number: a vector of 128 gets the length of a word's
NOISE = 0.01  # and the noise on each, so that looks beside a look mean nearly the same


class LookEncoder(torch.nn.Module):
    """(n, 4, LOOK, LOOK) looks in -1..1, opacity last, to (n, TOKENS, 128) offsets from the word "thing".

    The text space of Stable Diffusion holds far more looks than it has words for, and textual inversion lives on that.
    The vocabulary of this world spans ten shapes in nine plain colours. So in a part of the pictures the word "thing",
    said one to four times, is moved by what this encoder sees, and the space learns to hold looks that no word names.
    As any of the later words can be missing, the first ones carry most. Only training uses it.
    """

    def __init__(self, width: int = 128):
        super().__init__()
        self.body = torch.nn.Sequential(
            _block(4, 32), _block(32, 64), _block(64, 128), _block(128, 128), torch.nn.Flatten()
        )
        self.heads = torch.nn.Linear(128 * 9, TOKENS * width)
        self.norm = torch.nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, looks: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return SCALE * self.norm(self.heads(self.body(looks)).unflatten(1, (TOKENS, -1))) + NOISE * noise


def _block(a: int, b: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv2d(a, b, 3, 2, 1), torch.nn.GroupNorm(8, b), torch.nn.SiLU())


@dataclass(frozen=True)
class Caption:
    """`words` (token position, which thing): all words that name things; `told`: the positions that tell a look."""

    text: str
    words: tuple[tuple[int, int], ...]
    told: tuple[int, ...] = ()


def read_caption(text: str, names: list[str], look_of: int | None = None, tokens: int = 1) -> Caption:
    """A caption and where it names its things; thing `look_of` is called "thing" instead, `tokens` times.

    One token a word, the start token first.

    >>> read_caption("a red ball on the sea", ["red ball"], look_of=0, tokens=2)
    Caption(text='a thing thing on the sea', words=((2, 0), (3, 0)), told=(2, 3))
    """
    rest, out, words, told = text.split(), [], [], ()
    for which, name in enumerate(names):
        parts = name.split()
        start = next(i for i in range(len(rest)) if rest[i : i + len(parts)] == parts)
        out += rest[:start]
        rest = rest[start + len(parts) :]
        said = ["thing"] * tokens if which == look_of else parts
        positions = tuple(range(1 + len(out), 1 + len(out) + len(said)))
        told = positions if which == look_of else told
        words += [(position, which) for position in positions]
        out += said
    return Caption(" ".join(out + rest), tuple(words), told)


def look_of(names: list[str]) -> int | None:
    """Which thing a picture's look shows (as `data.Pictures` has it)."""
    return (names.index("thing") if "thing" in names else 0) if names else None


def spread(offsets: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """(b, CONTEXT, d): each row's `offsets` (b, TOKENS, d) at its positions `told` (b, TOKENS); 0 is none."""
    out = offsets.new_zeros(len(offsets), CONTEXT, offsets.shape[-1])
    at = told[..., None].expand_as(offsets)
    return out.scatter_add(1, at, offsets * (told > 0)[..., None])


def encode_with(text_encoder, ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Last hidden state (n, L, d) with `offsets` (n, L, d) added to the token embeddings."""

    def move(_module, _inputs, embedded):
        return embedded + offsets

    hook = text_encoder.get_input_embeddings().register_forward_hook(move)
    try:
        return text_encoder(ids).last_hidden_state
    finally:
        hook.remove()
