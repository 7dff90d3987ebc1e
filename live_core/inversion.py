"""DDIM inversion of a clip under its own prompt, and the attention store that a later edit may read."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from . import LiveError
from .attention import AttentionPlan, FramePlan, WordTap
from .methods import Method
from .pretrained import LiveModel
from .stores import STORES, DiskStore, RamStore

Callback = Callable[[int, int, torch.Tensor], None]


@dataclass(frozen=True)
class Inversion:
    """`latents` (N + 1, f, c, h, w): from the clip's own latents to its noise. `store` holds the source's queries, keys, word
    maps and latents of every step when `attention` is "ram" or "disk"; with "recompute" it is None and 0 bytes are kept.
    """
    latents: torch.Tensor
    prompt: str
    method: Method
    attention: str = "recompute"
    store: RamStore | DiskStore | None = None

    @property
    def steps(self) -> int:
        return len(self.latents) - 1

    def describe(self) -> str:
        kept = self.store.nbytes() if self.store else 0
        return (f"{self.steps} steps, {self.latents.shape[1]} frames; latents {self.latents.nbytes / 1e6:.1f} MB, "
                f"attention ({self.attention}) {kept / 1e6:.1f} MB")


def latent_prompt_of(model: LiveModel, method: Method, clip: torch.Tensor) -> torch.Tensor | None:
    """The trained latent prompt (c, h, w) when the method has one; the clip's first frame before any tuning."""
    if not method.latent_prompt:
        return None
    trained = model.tuning.latent_prompt if model.tuning else None
    if trained is not None and trained.shape != clip.shape[1:]:
        raise LiveError(f"tuning: its latent prompt is {tuple(trained.shape)} and the clip's latents are {tuple(clip.shape[1:])}; tune on a clip of this size")
    return clip[0] if trained is None else trained.to(clip)


@torch.no_grad()
def invert(model: LiveModel, clip: torch.Tensor, prompt: str, method: Method, steps: int = 50, attention: str = "recompute",
           folder: Path | None = None, callback: Callback = lambda step, total, latents: None) -> Inversion:
    """Walk `clip` (f, c, h, w), scaled latents, to noise in `steps` DDIM steps at guidance 1.

    `attention`: "recompute" keeps nothing; "ram" and "disk" (in `folder`) run the source once more from its noise and keep its
    queries and keys, 2 f n d values a layer and step, so that edits need not run it again.
    """
    if attention not in STORES:
        raise LiveError(f"attention: {attention!r}; choose {', '.join(STORES)}")
    schedule = model.schedule
    timesteps = schedule.timesteps(steps)
    x = clip.to(model.unet.device)
    text = model.encode_text(prompt)[None]
    seat = latent_prompt_of(model, method, x)
    seats = None if seat is None else seat[None]
    plan = AttentionPlan(FramePlan(method.frame_plan))
    total = steps * (1 if attention == "recompute" else 2)
    path = [x]
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i, t in enumerate(reversed(timesteps)):
            x = schedule.invert(x, model.unet(x[None], t, text, seats, plan)[0], t, steps)
            path.append(x)
            callback(i + 1, total, x)
        store = {"recompute": lambda: None, "ram": RamStore, "disk": lambda: DiskStore(folder)}[attention]()
        if store is not None:
            tokens = _tap_tokens(model, x)
            for i, t in enumerate(timesteps):
                tap = WordTap(tokens)
                noise = model.unet(x[None], t, text, seats, AttentionPlan(FramePlan(method.frame_plan), tap=tap, record=(store, 0), step=i))[0]
                store.write(f"{i:04d}/maps", tap.maps[0])
                x = schedule.denoise(x, noise, t, steps)
                store.write(f"{i:04d}/latents", x)
                callback(steps + i + 1, total, x)
    return Inversion(torch.stack(path).cpu(), prompt, method, attention, store)


def _tap_tokens(model: LiveModel, x: torch.Tensor) -> int:
    height, width = model.unet.map_tokens(*x.shape[-2:])
    return height * width


@torch.no_grad()
def reconstruct(model: LiveModel, inversion: Inversion, callback: Callback = lambda step, total, latents: None) -> torch.Tensor:
    """Sample from the inverted noise with the source prompt at guidance 1: (f, c, h, w), the inversion's own check."""
    steps = inversion.steps
    x = inversion.latents[-1].to(model.unet.device)
    text = model.encode_text(inversion.prompt)[None]
    seat = latent_prompt_of(model, inversion.method, inversion.latents[0].to(x))
    plan = AttentionPlan(FramePlan(inversion.method.frame_plan))
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i, t in enumerate(model.schedule.timesteps(steps)):
            x = model.schedule.denoise(x, model.unet(x[None], t, text, None if seat is None else seat[None], plan)[0], t, steps)
            callback(i + 1, steps, x)
    return x
