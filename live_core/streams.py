"""Streams: the rows of one U-Net batch. Each is a whole clip with its own words and its own latent prompt."""
from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Stream:
    """`latents` names whose latents this stream denoises ("source" or "edit"); `text` (L, d), or (N, L, d) when every step has its own;
    `latent_prompt` (c, h, w) or None."""
    name: str
    latents: str
    text: torch.Tensor
    latent_prompt: torch.Tensor | None = None


def batch_text(streams: list[Stream], step: int) -> torch.Tensor:
    """(s, L, d)"""
    return torch.stack([stream.text[step] if stream.text.ndim == 3 else stream.text for stream in streams])


def batch_latent_prompts(streams: list[Stream]) -> torch.Tensor | None:
    """(s, c, h, w), or None when the method has no latent prompt."""
    if all(stream.latent_prompt is None for stream in streams):
        return None
    return torch.stack([stream.latent_prompt for stream in streams])
