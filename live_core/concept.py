"""A concept: a placeholder bound to what one or several photos of a thing show (textual inversion, Gal et al. 2022).

Neither the tokenizer nor the text encoder is edited: a placeholder has negative ids in `prompts.Prompt`, and its
learned vectors take their places in the text encoder's input for the length of one call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from . import LiveError
from .prompts import split_words
from .syntax import EMBEDDING, EXTRA_NETWORK
from .text import token_table

if TYPE_CHECKING:
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

TEMPLATES = ("a photo of a {}", "a picture of a {}", "the photo of a {}", "a {}")


@dataclass(frozen=True)
class Concept:
    """`views` (v, c, h, w): scaled latents of all that it is learned from, the photo first; `vectors` (n, d): the token
    embeddings that stand for it one after another, each the initial word's until tuned.

    `mask` (v, 1, h, w), 0..1: how much of each view counts while it is learned; None: all. Files of tunings keep the
    photo alone, and no mask.
    """

    placeholder: str
    initial_word: str
    views: torch.Tensor
    vectors: torch.Tensor
    mask: torch.Tensor | None = None
    base: str = ""  # fingerprint of the model it was bound with; "" where that is not known

    def __post_init__(self) -> None:
        if self.views.ndim != 4 or self.vectors.ndim != 2 or not len(self.views) or not len(self.vectors):
            raise LiveError(
                f"concept: {self.placeholder!r} has photos of shape {tuple(self.views.shape)} and vectors of"
                f" {tuple(self.vectors.shape)}, where (v, c, h, w) and (n, d) are expected; bind its photo again"
            )

    @property
    def reference(self) -> torch.Tensor:
        """(1, c, h, w): the photo."""
        return self.views[:1]


def bind(
    placeholder: str,
    initial_word: str,
    views: torch.Tensor,
    tokenizer: PreTrainedTokenizerFast,
    text_encoder: CLIPTextModel,
    others: tuple[Concept, ...] = (),
    mask: torch.Tensor | None = None,
    base: str = "",
    vectors: int = 1,
) -> tuple[Concept, ...]:
    """`others` and a new concept whose `vectors` all start as `initial_word`'s. Raises LiveError when either string
    cannot serve.

    `mask` (v, H, W), 0..1: what counts in each view, in pixels or latents. `base`: the model's fingerprint.
    """
    check_placeholder(placeholder, tokenizer)
    taken = next((other.placeholder for other in others if other.placeholder.lower() == placeholder.lower()), None)
    if taken is not None:
        raise LiveError(
            f"placeholder: {taken!r} already stands for another photo, and prompts do not tell {placeholder!r} from it;"
            f' give each photo one of its own, such as "<thing{len(others) + 1}*>"'
        )
    ids = tokenizer(initial_word.strip(), add_special_tokens=False).input_ids
    if len(ids) != 1:
        tokens = ", ".join(tokenizer.convert_ids_to_tokens(ids)) or "nothing"
        raise LiveError(
            f"initial word: {initial_word!r} is {len(ids)} tokens ({tokens}); choose one common word of one token, such"
            ' as "thing" or "cat"'
        )
    if not initial_word.strip().isalnum():
        raise LiveError(
            f"initial word: {initial_word!r} is a sign and no word; choose one common word for what the photo shows,"
            ' such as "thing" or "cat"'
        )
    start = _of_token(ids[0], text_encoder, vectors)
    if mask is not None:
        height, width = views.shape[-2:]
        mask = torch.nn.functional.adaptive_avg_pool2d(mask.float().cpu()[:, None], (height, width))
    return (*others, Concept(placeholder, initial_word, views, start, mask, base))


def initial_vectors(concept: Concept, tokenizer: PreTrainedTokenizerFast, text_encoder: CLIPTextModel) -> torch.Tensor:
    """(n, d): what a concept's `vectors` were before they learned. Of a file whose initial word is none they are its
    own."""
    ids = tokenizer(concept.initial_word.strip(), add_special_tokens=False).input_ids
    return _of_token(ids[0], text_encoder, len(concept.vectors)) if ids else concept.vectors


def _of_token(token: int, text_encoder: CLIPTextModel, count: int) -> torch.Tensor:
    """(count, d) float32, in main memory: a token's own vector, over and over."""
    return token_table(text_encoder).weight[token].detach().float().cpu().repeat(count, 1)


MEANT = (",", "(", ")", "\\", "{", "}", "|")  # to lists of words, to weights, to the page's choices


def check_placeholder(placeholder: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """A placeholder is one new string without spaces: not a word the tokenizer knows, nor one word or one run of signs,
    and nothing that prompts or lists of words take for something else."""
    if not placeholder.strip() or len(placeholder.split()) != 1 or placeholder != placeholder.strip():
        raise LiveError(f'placeholder: {placeholder!r} must be one string without spaces, such as "<thing*>"')
    vocabulary = tokenizer.get_vocab()
    if placeholder.lower() in vocabulary or placeholder.lower() + "</w>" in vocabulary:
        raise LiveError(
            f"placeholder: {placeholder!r} is already a token of this model; choose a string it does not know, such as"
            f' "<{placeholder}*>"'
        )
    meant = [sign for sign in MEANT if sign in placeholder] or [
        part for part in re.findall(f"{EMBEDDING}|{EXTRA_NETWORK}", placeholder, re.IGNORECASE)
    ]
    if meant:
        raise LiveError(
            f"placeholder: {placeholder!r} has {meant[0]!r} in it, which means something else in prompts or lists of"
            ' words; choose a string without, such as "<thing*>"'
        )
    if len(split_words(placeholder)) == 1:
        raise LiveError(
            f"placeholder: {placeholder!r} is an ordinary word, which a prompt could contain by chance; "
            f'wrap it in signs, such as "<{placeholder.strip("<>*") or "thing"}*>"'
        )


def check_reference(concept: Concept, clip: torch.Tensor) -> None:
    """LiveError unless the photo's latents have the size of `clip` (f, c, h, w)."""
    if concept.reference.shape[1:] != clip.shape[1:]:
        sizes = [f"{shape[-1]}x{shape[-2]}" for shape in (concept.reference.shape, clip.shape)]
        raise LiveError(
            f"concept: the photo of {concept.placeholder!r} was fitted to latents of {sizes[0]} and the clip's are"
            f" {sizes[1]}; give Bind Photo the clip's own frames as images"
        )
