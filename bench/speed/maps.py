"""Injection as published editors do it, to be compared with: maps of all attention are made, and the source's put in
the place of the edit's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange

from live_core.attention import SelfInjection, VideoAttention, WordInjection
from live_core.frames import FramePlan
from live_core.video_unet import VideoUNet

PLAN = FramePlan(("first", "previous"), norm="frame", temporal=False)


class Maps:
    """Diffusers attention processor for two streams of `frames` frames each: the source, then the edit."""

    def __init__(self, kind: str, frames: int, word: WordInjection):
        self.kind, self.word = kind, word
        self.rows = PLAN.sources(frames, latent_prompt=False)

    def __call__(self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states=None, **_: Any) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            rearrange(project(x), "b n (h c) -> b h n c", h=attn.heads)
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        if self.kind == "self":
            k, v = (rearrange(x.unflatten(0, (2, -1))[:, self.rows], "s f k h n c -> (s f) h (k n) c") for x in (k, v))
        maps = torch.matmul(q, k.transpose(-1, -2)).mul_(attn.scale).softmax(-1)
        source, edit = maps.unflatten(0, (2, -1))  # f h n m
        edit.copy_(source if self.kind == "self" else source @ self.word.mapping + edit * self.word.keep)
        return attn.to_out[0](rearrange(maps @ v, "b h n c -> b n (h c)"))


def injections(tokens: int) -> tuple[tuple[WordInjection, ...], tuple[SelfInjection, ...]]:
    """Of all layers: every other word's attention, and self-attention."""
    keep = torch.arange(tokens).remainder(2).float()
    return (WordInjection(1, 0, torch.diag(1 - keep), keep),), (SelfInjection(1, 0),)


@contextmanager
def by_maps(unet: VideoUNet, frames: int, word: WordInjection) -> Iterator[None]:
    """Attention as `Maps` has it, within the `with` block."""
    layers = [m for m in unet.modules() if isinstance(getattr(m, "processor", None), VideoAttention)]
    own = [layer.processor for layer in layers]
    try:
        for layer in layers:
            if layer.processor.kind != "temporal":
                layer.set_processor(Maps(layer.processor.kind, frames, word))
        yield
    finally:
        for layer, processor in zip(layers, own, strict=True):
            layer.set_processor(processor)
