"""One-clip tuning by turns (paper 000, section 3.3): even steps fit the clip, odd steps fit the photo.

Objective 1 learns the latent prompt, the attention queries and temporal attention from the clip. Objective 2 is textual
inversion: it learns the placeholder's vector from the photo, with the photo's latent in the latent prompt's seat and
temporal attention bypassed. Their parameters are disjoint, each has its own optimiser.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F

from . import LiveError
from .attention import AttentionPlan, FramePlan
from .concept import TEMPLATES, Concept, encode
from .pretrained import LiveModel, Tuning
from .prompts import read_prompt


@dataclass(frozen=True)
class TuneSettings:
    """Defaults are the paper's for Stable Diffusion 1.4 at 512 x 512.

    `clip_steps` and `photo_steps` alternate until the shorter runs out. `latent_prompt` False is the paper's ablation (Fig. 6)
    and, with `frame_plan` ("first", "previous"), Tune-A-Video; `temporal_in_photo_steps` True is that of Fig. 7.
    """
    clip_steps: int = 500
    photo_steps: int = 500
    clip_rate: float = 3e-5
    latent_prompt_rate: float = 3e-5
    photo_rate: float = 5e-3
    latent_prompt: bool = True
    temporal_in_photo_steps: bool = False
    frame_plan: tuple[str, ...] = ("latent_prompt", "first", "previous")
    seed: int = 0


Callback = Callable[[int, int, float], None]


def tune(model: LiveModel, clip: torch.Tensor, prompt: str, concepts: tuple[Concept, ...], settings: TuneSettings = TuneSettings(),
         callback: Callback = lambda step, total, loss: None) -> Tuning:
    """Learn `clip` (f, c, h, w), scaled latents, described by `prompt`, and the concepts' photos.

    `callback(step, total, loss)` runs after every step and may raise to stop; the model is then as it was before.
    """
    if settings.clip_steps + settings.photo_steps < 1:
        raise LiveError("steps: clip steps and photo steps are both 0; at least one must be positive")
    if not concepts and settings.photo_steps:
        raise LiveError(f"photo steps: {settings.photo_steps} asked for and no concept given; bind a photo or set photo steps to 0")
    with torch.inference_mode(False), torch.enable_grad():
        return _tune(model, clip.clone(), prompt, concepts, settings, callback)


def _tune(model, clip, prompt, concepts, settings, callback) -> Tuning:
    unet = model.unet
    device = unet.device
    clip = clip.to(device)
    references = [c.reference.clone().to(device) for c in concepts]
    vectors = [c.vector.clone().to(device).requires_grad_() for c in concepts]
    with torch.no_grad():
        text = model.encode_text(prompt)[None]
    parameters = unet.trainable()
    weights = {name: p.detach().float().clone() for name, p in parameters.items()}      # float32 masters, whatever the model's dtype
    latent_prompt = clip[0].clone().requires_grad_() if settings.latent_prompt else None

    groups = [{"params": list(weights.values()), "lr": settings.clip_rate, "weight_decay": 1e-2}]
    if latent_prompt is not None:
        groups.append({"params": [latent_prompt], "lr": settings.latent_prompt_rate, "weight_decay": 0.0})
    clip_optimizer = torch.optim.AdamW(groups)
    photo_optimizer = torch.optim.AdamW(vectors, lr=settings.photo_rate, weight_decay=0.0) if vectors else None
    scale = 1024.0 if unet.dtype == torch.float16 else 1.0                              # keeps small half-precision gradients from vanishing
    losses: tuple[list[float], list[float]] = ([], [])
    base = {name: p.detach().clone() for name, p in parameters.items()}
    order = _turns(settings.clip_steps, settings.photo_steps)
    try:
        for p in parameters.values():
            p.requires_grad_(True)
        for step, objective in enumerate(order):
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            if objective == 0:
                loss = _clip_loss(model, clip, text, latent_prompt, settings, generator)
                learned = [*parameters.values()] + ([latent_prompt] if latent_prompt is not None else [])
                _descend(loss, learned, [p for group in groups for p in group["params"]], clip_optimizer, scale)
                with torch.no_grad():
                    for name, p in parameters.items():
                        p.copy_(weights[name])
            else:
                which = (step // 2) % len(concepts)
                loss = _photo_loss(model, references[which], concepts, vectors, which, settings, generator)
                _descend(loss, [vectors[which]], [vectors[which]], photo_optimizer, scale)
            losses[objective].append(float(loss.detach()))
            callback(step + 1, len(order), losses[objective][-1])
        tensors = {name: w.to(unet.dtype).cpu().clone() for name, w in weights.items()}
    finally:
        with torch.no_grad():
            for name, p in parameters.items():
                p.requires_grad_(False)
                p.grad = None
                p.copy_(base[name])
    learned_concepts = tuple(replace(c, vector=v.detach().cpu().clone()) for c, v in zip(concepts, vectors))
    return Tuning(tensors if settings.clip_steps else {}, None if latent_prompt is None else latent_prompt.detach().cpu().clone(), learned_concepts, prompt,
                  model.fingerprint, asdict(settings), (tuple(losses[0]), tuple(losses[1])))


def _turns(clip_steps: int, photo_steps: int) -> list[int]:
    """0 for a clip step, 1 for a photo step: by turns, then the rest of the longer."""
    shared = min(clip_steps, photo_steps)
    return [0, 1] * shared + [0] * (clip_steps - shared) + [1] * (photo_steps - shared)


def _clip_loss(model, clip, text, latent_prompt, settings, generator) -> torch.Tensor:
    t = int(torch.randint(model.schedule.length, (), generator=generator))
    noise = torch.randn(clip.shape, generator=generator).to(clip)
    plan = AttentionPlan(FramePlan(settings.frame_plan))
    predicted = model.unet(model.schedule.add_noise(clip, noise, t)[None], t, text, None if latent_prompt is None else latent_prompt[None], plan)
    return F.mse_loss(predicted[0], model.schedule.target(clip, noise, t))


def _photo_loss(model, reference, concepts, vectors, which, settings, generator) -> torch.Tensor:
    t = int(torch.randint(model.schedule.length, (), generator=generator))
    template = TEMPLATES[int(torch.randint(len(TEMPLATES), (), generator=generator))]
    prompt = read_prompt(template.format(concepts[which].placeholder), model.tokenizer, tuple(c.placeholder for c in concepts))
    text = encode(prompt, model.text_encoder, tuple(vectors))[None]
    noise = torch.randn(reference.shape, generator=generator).to(reference)
    plan = AttentionPlan(FramePlan(settings.frame_plan), temporal=settings.temporal_in_photo_steps)
    predicted = model.unet(model.schedule.add_noise(reference, noise, t)[None], t, text, reference if settings.latent_prompt else None, plan)
    return F.mse_loss(predicted[0], model.schedule.target(reference, noise, t))


def _descend(loss, learned, masters, optimizer, scale) -> None:
    """One clipped step of the optimiser's float32 tensors by the gradient at `learned`."""
    gradients = torch.autograd.grad(loss * scale, learned)
    for master, gradient in zip(masters, gradients):
        master.grad = gradient.float() / scale
    torch.nn.utils.clip_grad_norm_(masters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
