"""Prompts as the text that the U-Net reads, and the vectors that embedding files bring to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch

from . import LiveError
from .memory import Call, plainly
from .prompts import Prompt
from .transfers import sent

if TYPE_CHECKING:
    from transformers import CLIPTextModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class TextEncoder:
    """A `network`, and the `tokenizer` of what it reads."""

    network: CLIPTextModel
    tokenizer: PreTrainedTokenizerFast


def token_table(text_encoder: CLIPTextModel) -> torch.nn.Embedding:
    return text_encoder.get_input_embeddings()


def encode(
    prompt: Prompt, text_encoder: CLIPTextModel, vectors: tuple[torch.Tensor, ...] = (), call: Call = plainly
) -> torch.Tensor:
    """(k L, d): the text encoder's last hidden state, by `call` of it, of each chunk by itself, one after another,
    with the i-th of all rows of `vectors`, (n, d) each, in the place of token id -1 - i, and then the prompt's own.

    A token of weight w becomes ``e + w (z - e)``, z being its state and e that of its place in a chunk without words:
    ComfyUI's way. Differentiable in the vectors.
    """
    table = token_table(text_encoder)
    weights = torch.tensor(prompt.weights).view(-1, len(prompt.empty), 1)  # k L 1
    chunks = torch.tensor(prompt.ids).view(weights.shape[:2])  # k L
    weighs = bool((weights != 1).any())
    if weighs:
        chunks = torch.cat([chunks, torch.tensor([prompt.empty])])
    chunks = sent(chunks, table.weight)

    def put_vectors(_module: torch.nn.Module, _inputs: tuple, embedded: torch.Tensor) -> torch.Tensor:
        out = embedded
        rows = (row for several in vectors for row in several)
        for i, vector in enumerate((*rows, *prompt.vectors)):
            out = torch.where((chunks == -1 - i)[..., None].to(out.device), vector.to(out), out)
        return out

    hook = table.register_forward_hook(put_vectors)
    try:
        states = call(text_encoder, chunks.clamp(min=0)).last_hidden_state
    finally:
        hook.remove()
    if weighs:
        empty = states[-1:]
        weights = sent(weights, states)
        states = torch.where(weights == 1, states[:-1], empty + weights * (states[:-1] - empty))
    return states.flatten(0, 1)


def encode_apart(
    prompt: Prompt,
    text_encoder: CLIPTextModel,
    vectors: Sequence[torch.Tensor],
    plain: Sequence[torch.Tensor],
    call: Call = plainly,
) -> torch.Tensor:
    """`encode` of a prompt with several placeholders, where each one's own tokens are read as if the others were the
    ordinary words of `plain`, (n, d) each.

    A vector that was learned from photos of one thing alone has learned to speak through every later token, the next
    placeholder among them, which then means the first thing again. Phrases read one by one and put back into their
    sentence: Feng et al., Training-Free Structured Diffusion Guidance for Compositional Text-to-Image Synthesis, 2023.
    """
    states = encode(prompt, text_encoder, tuple(vectors), call)
    told = tokens_of_vectors(prompt, vectors)
    if sum(map(bool, told)) < 2:
        return states
    states = states.clone()
    for i, places in enumerate(told):
        if places:
            alone = tuple(vectors[j] if j == i else plain[j] for j in range(len(vectors)))
            states[places] = encode(prompt, text_encoder, alone, call)[places]
    return states


def tokens_of_vectors(prompt: Prompt, vectors: Sequence[torch.Tensor]) -> list[list[int]]:
    """Where in a prompt each of several placeholders' `vectors`, (n, d), stand: none where it is not said."""
    owner = {-1 - row: i for row, i in enumerate(i for i, several in enumerate(vectors) for _ in several)}
    return [[place for place, token in enumerate(prompt.ids) if owner.get(token) == i] for i in range(len(vectors))]


class Embeddings(Mapping[str, torch.Tensor]):
    """What `embedding:name` may name: vectors (n, width), read when they are asked for.

    `files`: path from the folder of embeddings -> file. A name is such a path or the file's own name, with or without
    its ending, as in ComfyUI; listed are paths without. Files that are no .safetensors can run code when they are
    read: they are named in a LiveError.
    """

    def __init__(self, files: Mapping[str, Path], width: int):
        self.width, self.paths = width, {Path(name).as_posix(): path for name, path in files.items()}

    def _find(self, name: object) -> Path | None:
        def names(path: PurePosixPath) -> list[str]:
            return [str(path), str(path.with_suffix("")), path.name, path.stem]

        found = [
            (path.suffix != ".safetensors", names(PurePosixPath(key)).index(name), path)
            for key, path in self.paths.items()
            if name in names(PurePosixPath(key))
        ]
        return min(found, key=lambda each: each[:2], default=(0, 0, None))[2]

    def __getitem__(self, name: str) -> torch.Tensor:
        path = self._find(name)
        if path is None:
            raise KeyError(name)
        if path.suffix != ".safetensors":
            raise LiveError(
                f"prompt: embedding {path.name!r} can run code when it is read; take one that is a .safetensors file"
            )
        return read_embedding(path, self.width)

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (key.removesuffix(".safetensors") for key in self.paths if key.endswith(".safetensors"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_embedding(path: Path, width: int) -> torch.Tensor:
    """(n, width) of a .safetensors file: its first tensor of that width, as (n, width) or (width,). Files for several
    text encoders have one for each. LiveError for a file that cannot be read, and for one made for a text encoder of
    another width."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise LiveError(f"prompt: embedding {path.stem!r} cannot be read ({error}); fetch it again") from error
    fitting = [
        tensor
        for tensor in tensors.values()
        if tensor.ndim in (1, 2) and tensor.shape[-1] == width and tensor.numel() and tensor.is_floating_point()
    ]
    if not fitting:
        held = [
            f"{name} {tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else ", which are no fractions")
            for name, tensor in list(tensors.items())[:4]
        ]
        raise LiveError(
            f"prompt: embedding {path.stem!r} holds {', '.join(held) or 'nothing'}, and this model's text encoder reads"
            f" vectors of {width}; it was made for another model, so choose one made for this"
        )
    vectors = fitting[0].float().reshape(-1, width)
    if not vectors.isfinite().all():
        raise LiveError(f"prompt: embedding {path.stem!r} has numbers that are not finite; make it anew")
    return vectors
