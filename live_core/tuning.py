"""One-clip tuning by turns (paper 000, section 3.3): even steps fit the clip, odd steps fit the photo.

Objective 1 learns the latent prompt, the attention queries and temporal attention from the clip. Objective 2 is textual
inversion: it learns the placeholder's vector from the photo, temporal attention bypassed. Their parameters are disjoint, each has its own optimiser
(but for the ablation in which both learn temporal attention: that stays with the clip's).
"""
from __future__ import annotations

import hashlib
import json
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from . import LiveError
from .attention import AttentionPlan, FramePlan
from .checks import check_number, check_whole, is_finite
from .concept import TEMPLATES, Concept, check_reference, encode
from .descent import descend
from .diffusion import Callback
from .memory import copies, one_run
from .notes import note
from .pretrained import LiveModel
from .prompts import check_clip_prompt, read_prompt
from .tunings import Tuning
from .unfinished import Unfinished


@dataclass(frozen=True)
class TuneSettings:
    """Defaults are the paper's for Stable Diffusion 1.4 at 512 x 512.

    `clip_steps` and `photo_steps` alternate until the shorter runs out; `alternate` False does all clip steps first. `latent_prompt`
    False is the paper's ablation (Fig. 6) and, with `frame_plan` ("first", "previous"), Tune-A-Video; `temporal_in_photo_steps` True is
    that of Fig. 7: temporal attention acts while the photo is learned, and learns from it too, by the mean squared error at the clip's rate.
    `photo_latent_prompt` True puts the photo's own latent into the latent prompt's seat while it is learned, as the papers have it:
    then the seat shows what the vector should learn, and it learns less (bench/RESULTS.md). `photo_loss`: the vector descends the "log" of
    the mean squared error, or the "square" itself, the papers'. What an edit will show is decided where most is noise; there the error is
    small, and so is its gradient: on the demo model 30 to 55 times smaller at the noisiest timesteps than at the cleanest. The logarithm's, the
    gradient over the error, is within a factor of 3 at all timesteps. Weights learned for each noise level end close to it (Karras et al. 2024).
    """
    clip_steps: int = 500
    photo_steps: int = 500
    clip_rate: float = 3e-5
    latent_prompt_rate: float = 3e-5
    photo_rate: float = 5e-3
    latent_prompt: bool = True
    temporal_in_photo_steps: bool = False
    alternate: bool = True
    photo_latent_prompt: bool = False
    photo_loss: str = "log"
    frame_plan: tuple[str, ...] = ("latent_prompt", "first", "previous")
    seed: int = 0

    def __post_init__(self):
        for name in ("clip_steps", "photo_steps"):
            check_whole(name.replace("_", " "), getattr(self, name), 0)
        for name in ("clip_rate", "latent_prompt_rate", "photo_rate"):
            check_number(name.replace("_", " "), getattr(self, name), 0, 1)


PHOTO_LOSSES = ("log", "square")
SECONDS_BETWEEN_CHECKPOINTS = 60
_LESS = "give smaller learning rates, or load the model with precision float32 or bfloat16"


@one_run()
def tune(model: LiveModel, clip: torch.Tensor, prompt: str, concepts: tuple[Concept, ...], settings: TuneSettings = TuneSettings(),
         callback: Callback = lambda step, total, latents: None, unfinished: Path | None = None) -> Tuning:
    """Learn `clip` (f, c, h, w), scaled latents, described by `prompt`, and the concepts' photos.

    `callback(step, total, latents)` runs after every step and may raise to stop; the model is then as it was before. Its latents are the
    clip's and then the photos', each as its last step left it: less the noise that the model saw in it; before its first step, as it is. In the folder
    `unfinished`, if given, a tuning that was stopped leaves a file named by its `tuning_key`, from which the same call goes on,
    to the same bits as if it had never stopped; the file goes away with the last step. The folder keeps the newest few. A file
    that cannot be read or written costs a warning, never the tuning.
    """
    if settings.photo_loss not in PHOTO_LOSSES:
        raise LiveError(f"photo loss: {settings.photo_loss!r}; choose {', '.join(PHOTO_LOSSES)}")
    if settings.clip_steps + settings.photo_steps < 1:
        raise LiveError("steps: clip steps and photo steps are both 0; at least one must be positive")
    if not concepts and settings.photo_steps:
        raise LiveError(f"photo steps: {settings.photo_steps} asked for and no concept given; bind a photo or set photo steps to 0")
    check_clip_prompt(prompt, tuple(c.placeholder for c in concepts))
    for concept in concepts:
        check_reference(concept, clip)
    with torch.inference_mode(False), torch.enable_grad():
        file = unfinished and unfinished / f"{tuning_key(model, clip, prompt, concepts, settings)}.safetensors"
        return _tune(model, clip.clone(), prompt, concepts, settings, callback, file)


def tuning_key(model: LiveModel, clip: torch.Tensor, prompt: str, concepts: tuple[Concept, ...], settings: TuneSettings) -> str:
    """A hash of everything that a tuning depends on."""
    facts = [model.fingerprint, str(model.unet.dtype), model.schedule.prediction, prompt, asdict(settings), [c.placeholder for c in concepts]]
    digest = hashlib.sha256(json.dumps(facts).encode())
    with torch.no_grad():
        text = model.encode_text(prompt)                    # what the prompt is to this text encoder, of which the fingerprint sees samples
    for tensor in (clip, text, model.schedule.alphas_cumprod, *(t for c in concepts for t in (c.reference, c.vector, c.mask) if t is not None)):
        digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _tune(model, clip, prompt, concepts, settings, callback, file: Path | None) -> Tuning:
    unet = model.unet
    device = unet.device
    clip = clip.to(device)
    references = [c.reference.clone().to(device) for c in concepts]
    vectors = [c.vector.clone().to(device).requires_grad_() for c in concepts]
    with torch.no_grad():
        text = model.encode_text(prompt)[None]
    parameters = unet.trainable()
    precision = torch.promote_types(unet.dtype, torch.float32)                          # of the masters, whatever half-precision type the model has
    weights = copies(parameters, precision)
    latent_prompt = clip[0].clone().requires_grad_() if settings.latent_prompt else None

    groups = [{"params": list(weights.values()), "lr": settings.clip_rate, "weight_decay": 1e-2}]
    if latent_prompt is not None:
        groups.append({"params": [latent_prompt], "lr": settings.latent_prompt_rate, "weight_decay": 0.0})
    clip_optimizer = torch.optim.AdamW(groups)
    photo_optimizer = torch.optim.AdamW(vectors, lr=settings.photo_rate, weight_decay=0.0) if vectors else None
    scale = 1024.0 if unet.dtype == torch.float16 else 1.0                              # keeps small half-precision gradients from vanishing
    losses: tuple[list[float], list[float]] = ([], [])
    base = copies(parameters)
    temporal = [name for name in parameters if ".attn_temp." in name] if settings.temporal_in_photo_steps else []
    order = _turns(settings)
    seen = [clip, *references]                                                          # what the callback is shown
    state = Unfinished({**weights, **({} if latent_prompt is None else {"latent_prompt": latent_prompt}), **{f"vector/{i}": v for i, v in enumerate(vectors)}},
                       [clip_optimizer, *([photo_optimizer] if vectors else [])], losses)
    whole = True                                                                        # False while a step is half done
    try:
        for p in parameters.values():
            p.requires_grad_(True)
        if file is not None and file.exists():
            state.load(file, order)
            _put(parameters, weights)
        saved = time.monotonic()
        for step in range(len(losses[0]) + len(losses[1]), len(order)):
            objective = order[step]
            # learners: (optimiser, what the error is differentiated by, the optimiser's own tensors for it)
            if objective == 0:
                shown = 0
                learners = [(clip_optimizer, [*parameters.values()] + ([latent_prompt] if latent_prompt is not None else []), [p for group in groups for p in group["params"]])]
            else:
                which = len(losses[1]) % len(concepts)
                shown = 1 + which
                learners = [(photo_optimizer, [vectors[which]], [vectors[which]])]
                if temporal:
                    learners.append((clip_optimizer, [parameters[name] for name in temporal], [weights[name] for name in temporal]))

            def gradients() -> tuple[float, torch.Tensor, list[tuple[torch.Tensor, ...]]]:
                generator = _generator(settings.seed, step)
                loss, clean = (_clip_loss(model, clip, text, latent_prompt, settings, generator) if objective == 0
                               else _photo_loss(model, references[which], concepts, vectors, which, settings, generator))
                found = []
                for i, (optimizer, learned, _) in enumerate(learners):
                    descended = loss.log() if optimizer is photo_optimizer and settings.photo_loss == "log" else loss
                    found.append(torch.autograd.grad(descended * scale, learned, retain_graph=i + 1 < len(learners)))
                return float(loss.detach()), clean, found
            loss, seen[shown], found = unet.retried(gradients, len(clip))
            if not math.isfinite(loss):                                                 # before the optimisers, which never forget a NaN
                raise LiveError(f"tuning: the loss of step {step + 1} of {len(order)} is not finite, so it was stopped before it learned from that; {_LESS}")
            whole = False
            for (optimizer, _, masters), part in zip(learners, found):
                _descend(part, masters, optimizer, scale)
            if any(optimizer is clip_optimizer for optimizer, *_ in learners):
                _put(parameters, weights)
            losses[objective].append(loss)
            whole = True
            if file is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                state.save(file)
                saved = time.monotonic()
            callback(step + 1, len(order), torch.cat(seen))
        tensors = {name: w.to(unet.dtype).cpu().clone() for name, w in weights.items()}
        if not all(is_finite(tensor) for tensor in (*tensors.values(), *vectors, *([] if latent_prompt is None else [latent_prompt]))):
            raise LiveError(f"tuning: what the last of {len(order)} steps learned is not finite; {_LESS}")
    except BaseException:
        if file is not None and whole and any(losses):
            state.save(file)
        raise
    finally:
        for p in parameters.values():
            p.requires_grad_(False)
            p.grad = None
        _put(parameters, base)
    if file is not None:
        with suppress(OSError):                                                         # one left behind costs only its space
            file.unlink()
    learned_concepts = tuple(replace(c, vector=v.detach().cpu().clone()) for c, v in zip(concepts, vectors))
    return Tuning(tensors if settings.clip_steps or temporal else {}, None if latent_prompt is None else latent_prompt.detach().cpu().clone(), learned_concepts, prompt,
                  model.fingerprint, asdict(settings), (tuple(losses[0]), tuple(losses[1])), model.name)


@torch.no_grad()
def _put(parameters: dict[str, torch.nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    for name, p in parameters.items():
        p.copy_(values[name])


def _generator(seed: int, step: int) -> torch.Generator:
    """That of a step, for a seed of up to 64 bits. PyTorch's reads the lower 32 of what it is given, so the upper ones are mixed in."""
    return torch.Generator().manual_seed((seed * 1_000_003 + (seed >> 32) * 2_654_435_761 + step) % 2 ** 64)


def _turns(settings: TuneSettings) -> list[int]:
    """0 for a clip step, 1 for a photo step: by turns, then the rest of the longer."""
    clip, photo = settings.clip_steps, settings.photo_steps
    shared = min(clip, photo) if settings.alternate else 0
    return [0, 1] * shared + [0] * (clip - shared) + [1] * (photo - shared)


def _clip_loss(model, clip, text, latent_prompt, settings, generator) -> tuple[torch.Tensor, torch.Tensor]:
    t = int(torch.randint(model.schedule.length, (), generator=generator))
    return _loss(model, clip, t, text, latent_prompt, AttentionPlan(FramePlan(settings.frame_plan)), generator)


def _photo_loss(model, reference, concepts, vectors, which, settings, generator) -> tuple[torch.Tensor, torch.Tensor]:
    t = int(torch.randint(model.schedule.length, (), generator=generator))
    template = TEMPLATES[int(torch.randint(len(TEMPLATES), (), generator=generator))]
    prompt = read_prompt(template.format(concepts[which].placeholder), model.tokenizer, tuple(c.placeholder for c in concepts))
    text = encode(prompt, model.text_encoder, tuple(vectors))[None]
    plan = AttentionPlan(FramePlan(settings.frame_plan), temporal=settings.temporal_in_photo_steps)
    seat = reference[0] if settings.latent_prompt and settings.photo_latent_prompt else None
    return _loss(model, reference, t, text, seat, plan, generator, concepts[which].mask)


def _loss(model, latents, t, text, latent_prompt, plan, generator, mask=None) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean squared error of the prediction for `latents` (f, c, h, w) at timestep t, where `mask` (1, 1, h, w) counts, and
    the latents less the predicted noise."""
    schedule = model.schedule
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = schedule.add_noise(latents, noise, t)
    predicted = model.unet(noisy[None], t, text, None if latent_prompt is None else latent_prompt[None], plan)[0]
    target, clean = schedule.target(latents, noise, t), schedule.clean(noisy, schedule.noise(noisy, predicted.detach(), t), t)
    if mask is None:
        return F.mse_loss(predicted, target), clean
    weight = mask.clone().to(latents).expand_as(latents)        # a clone is no inference tensor
    return (weight * (predicted - target) ** 2).sum() / weight.sum(), clean


def _descend(gradients, masters, optimizer, scale) -> None:
    """One clipped step of the optimiser's own tensors, `masters`, by `gradients`, which are `scale` times too large; none, with a warning,
    where half precision overflowed, since an optimiser never forgets a NaN."""
    if all(gradient.isfinite().all() for gradient in gradients):
        descend(optimizer, masters, gradients, scale, most=1.0)
    else:
        note("precision: a gradient overflowed, so a step learned nothing; if that happens often, choose precision bfloat16 or float32")
