"""Streams: the rows of one U-Net batch, how their noise is predicted, and how predictions combine into guidance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from .attention import PLAIN, AttentionPlan
from .video_unet import VideoUNet

# Streams by name, each one condition further than the one before, with the weight w of that condition; the first w is
# not read.
Chain = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Stream:
    """One row of a batch: a whole clip under its own conditions."""

    name: str
    latents: str  # whose latents it denoises, a key of `predict`'s
    # (L, d); (N, L, d) when every step has its own; (1, f, L, d) when every frame has. L may differ between streams.
    text: torch.Tensor
    latent_prompt: torch.Tensor | None = None  # (c, h, w); all streams of a batch have one, or none
    picture: torch.Tensor | None = None  # (f, c', h, w), channels joined to the noisy ones; all or none


def predict(
    unet: VideoUNet,
    streams: Sequence[Stream],
    latents: Mapping[str, torch.Tensor],
    t: int | torch.Tensor,
    step: int = 0,
    plan: AttentionPlan = PLAIN,
) -> dict[str, torch.Tensor]:
    """The noise (f, c, h, w) that `unet` sees in each stream, by its name, at timestep `t`, or (s,), each
    stream's own, and `step` of the texts that have steps.

    `latents`: (f, c, h, w) for each name in ``stream.latents``. Texts are repeated to their common length (`alike`).
    """
    x = torch.stack([latents[stream.latents] for stream in streams])  # streams frames channels height width
    if pictures := [stream.picture for stream in streams if stream.picture is not None]:
        x = torch.cat([x, torch.stack(pictures).to(x)], 2)
    texts = [each.text if each.text.ndim == 2 else each.text[min(step, len(each.text) - 1)] for each in alike(streams)]
    if any(text.ndim == 3 for text in texts):
        texts = [text.expand(x.shape[1], -1, -1) for text in texts]
    text = torch.stack(texts)
    seats = [stream.latent_prompt for stream in streams if stream.latent_prompt is not None]
    noise = unet(x, t, text, torch.stack(seats) if seats else None, plan)
    return {stream.name: noise[i] for i, stream in enumerate(streams)}


def common_length(streams: Sequence[Stream]) -> int:
    """How many tokens a text has in a batch of `streams`: the least that is a whole number of each stream's."""
    return math.lcm(*(stream.text.shape[-2] for stream in streams))


def alike(streams: Sequence[Stream]) -> list[Stream]:
    """The streams with their texts repeated to their `common_length`, as ComfyUI does: attention to several copies of a
    token adds up to that to one, so what is predicted is the same."""
    tokens = common_length(streams)
    copies = [tokens // each.text.shape[-2] for each in streams]
    return [
        each if many == 1 else replace(each, text=torch.cat([each.text] * many, -2))
        for each, many in zip(streams, copies, strict=True)
    ]


def needed(chain: Chain) -> Chain:
    """The chain without the streams that cancel out of `guided`, which need not run: one whose weight is the next
    one's, and a first whose next has a weight of 1.

    >>> needed([("neither", 1.0), ("picture", 1.5), ("both", 1.5)])
    [('neither', 1.0), ('both', 1.5)]
    """
    after = [weight for _, weight in chain[1:]] + [0.0]
    weighed = enumerate(zip(chain, after, strict=True))
    return [each for i, (each, weight) in weighed if (1.0 if i == 0 else each[1]) != weight]


def guided(noise: Mapping[str, torch.Tensor], chain: Chain) -> torch.Tensor:
    """``e_0 + w_1 (e_1 - e_0) + w_2 (e_2 - e_1) ...`` along a chain of streams.

    One stream is its own prediction, two are classifier-free guidance, three InstructPix2Pix's (Brooks et al. 2023, eq.
    3).
    """
    told = [noise[name] for name, _ in chain]
    steps = zip(chain[1:], pairwise(told), strict=True)
    return told[0] + sum(weight * (more - less) for (_, weight), (less, more) in steps)
