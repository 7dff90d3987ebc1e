"""One-clip tuning (LIVE, section 3.3): by turns a step of each objective, until the shorter runs out."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from . import LiveError
from .bases import TEXT_TO_IMAGE
from .checks import is_finite
from .concept import Concept, check_reference
from .descent import descend
from .diffusion import Callback
from .memory import one_run
from .notes import note
from .objectives import ClipObjective, Learned, Learner, Loss, PhotoObjective
from .pretrained import LiveModel
from .tune_settings import TuneSettings
from .tunings import Tuning
from .unfinished import Unfinished

DEFAULTS = TuneSettings()
SECONDS_BETWEEN_CHECKPOINTS = 60
Gradients = tuple[torch.Tensor, ...]
_LESS = "give smaller learning rates, or load the model with precision float32 or bfloat16"


@one_run()
def tune(
    model: LiveModel,
    clip: torch.Tensor,
    prompt: str,
    concepts: tuple[Concept, ...],
    settings: TuneSettings = DEFAULTS,
    callback: Callback = lambda step, total, latents: None,
    unfinished: Path | None = None,
) -> Tuning:
    """Learn `clip` (f, c, h, w), scaled latents, described by `prompt`, and the concepts' photos.

    `callback(step, total, latents)` runs after every step and may raise to stop; the model is then as it was before.
    Its latents are the clip's and then the photos', each as its last step left it: less the noise that the model saw in
    it; before its first step, as it is. In the folder `unfinished`, if given, a tuning that was stopped leaves a file
    named by its `tuning_key`, from which the same call goes on, to the same bits as if it had never stopped; the file
    goes away with the last step. The folder keeps the newest few. A file that cannot be read or written costs a
    warning, never the tuning.
    """
    model.check_base(TEXT_TO_IMAGE, "Tune Video")
    if settings.clip_steps + settings.photo_steps < 1:
        raise LiveError("steps: clip steps and photo steps are both 0; at least one must be positive")
    if not concepts and settings.photo_steps:
        raise LiveError(
            f"photo steps: {settings.photo_steps} asked for and no concept given; bind a photo or set photo steps to 0"
        )
    model.check_clip_prompt(prompt, concepts)
    model.check_concepts(concepts)
    for concept in concepts:
        check_reference(concept, clip)
    if concepts and not settings.photo_steps:
        note(
            f"photo steps: 0, so the photo of {concepts[0].placeholder!r} is not learned, and in prompts it means "
            f"{concepts[0].initial_word!r}; give it steps, or leave the concept out"
        )
    if model.tuning is not None:
        note(
            "model: it is tuned already, and Tune Video starts again from its base; connect Load LIVE Model, or use the"
            " tuning as it is"
        )
    with torch.inference_mode(False), torch.enable_grad():
        file = unfinished and unfinished / f"{tuning_key(model, clip, prompt, concepts, settings)}.safetensors"
        return _tune(model, clip.clone(), prompt, concepts, settings, callback, file)


def tuning_key(
    model: LiveModel, clip: torch.Tensor, prompt: str, concepts: tuple[Concept, ...], settings: TuneSettings
) -> str:
    """A hash of everything that a tuning depends on."""
    facts = [
        model.fingerprint,
        str(model.unet.dtype),
        model.schedule.prediction,
        prompt,
        asdict(settings),
        [c.placeholder for c in concepts],
    ]
    digest = hashlib.sha256(json.dumps(facts).encode())
    with torch.no_grad():
        # What the prompt is to this text encoder, of which the fingerprint sees samples.
        text = model.encode_text(prompt)
    for tensor in (
        clip,
        text,
        model.schedule.alphas_cumprod,
        *(t for c in concepts for t in (c.reference, c.vector, c.mask) if t is not None),
    ):
        digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _tune(
    model: LiveModel,
    clip: torch.Tensor,
    prompt: str,
    concepts: tuple[Concept, ...],
    settings: TuneSettings,
    callback: Callback,
    file: Path | None,
) -> Tuning:
    clip = clip.to(model.unet.device)
    learned = Learned(model, clip, concepts, settings)
    objectives = (
        ClipObjective(model, clip, prompt, settings.frame_plan, learned),
        PhotoObjective(model, concepts, settings, learned),
    )
    losses: tuple[list[float], list[float]] = ([], [])
    state = Unfinished(learned.tensors(), learned.optimizers, losses)
    order = _turns(settings)
    seen = [clip, *objectives[1].references]  # what the callback is shown
    scale = 1024.0 if model.unet.dtype == torch.float16 else 1.0  # keeps small half-precision gradients from vanishing
    whole = True  # False while a step is half done
    with learned.in_place():
        try:
            if file is not None and file.exists():
                state.load(file, order)
                learned.put()
            saved = time.monotonic()
            for step in range(len(losses[0]) + len(losses[1]), len(order)):
                objective, turn = objectives[order[step]], len(losses[order[step]])
                learners = objective.learners(turn)
                compute = partial(_gradients, partial(objective.loss, turn), learners, scale, settings.seed, step)
                loss, seen[objective.shown(turn)], found = model.unet.retried(compute, len(clip))
                if not math.isfinite(loss):  # before the optimisers, which never forget a NaN
                    raise LiveError(
                        f"tuning: the loss of step {step + 1} of {len(order)} is not finite, so it was stopped before"
                        f" it learned from that; {_LESS}"
                    )
                whole = False
                _learn(learned, learners, found, scale)
                losses[order[step]].append(loss)
                whole = True
                if file is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    state.save(file)
                    saved = time.monotonic()
                callback(step + 1, len(order), torch.cat(seen))
            tuning = _tuning_of(model, learned, concepts, prompt, settings, losses)
        except BaseException:
            if file is not None and whole and any(losses):
                state.save(file)
            raise
    if file is not None:
        with suppress(OSError):  # one left behind costs only its space
            file.unlink()
    return tuning


def _gradients(
    loss_of: Callable[[torch.Generator], Loss], learners: Sequence[Learner], scale: float, seed: int, step: int
) -> tuple[float, torch.Tensor, list[Gradients]]:
    """A step's loss, its latents less the predicted noise, and each learner's gradients, `scale` times too large."""
    loss, clean = loss_of(_generator(seed, step))
    found = []
    for i, learner in enumerate(learners):
        descended = loss.log() if learner.log else loss
        found.append(torch.autograd.grad(descended * scale, learner.learned, retain_graph=i + 1 < len(learners)))
    return float(loss.detach()), clean, found


def _learn(learned: Learned, learners: Sequence[Learner], found: Sequence[Gradients], scale: float) -> None:
    """One step of each learner by its gradients, and the U-Net's own weights after their masters."""
    for learner, gradients in zip(learners, found, strict=True):
        _descend(gradients, learner.masters, learner.optimizer, scale)
    if any(learner.optimizer is learned.clip_optimizer for learner in learners):
        learned.put()


def _tuning_of(
    model: LiveModel,
    learned: Learned,
    concepts: tuple[Concept, ...],
    prompt: str,
    settings: TuneSettings,
    losses: tuple[list[float], list[float]],
) -> Tuning:
    """What was learned, as it is handed on: in the U-Net's precision, on the CPU. LiveError where a number is not
    finite.
    """
    tensors = {name: w.to(model.unet.dtype).cpu().clone() for name, w in learned.weights.items()}
    seat = None if learned.latent_prompt is None else learned.latent_prompt.detach().cpu().clone()
    if not all(
        is_finite(tensor) for tensor in (*tensors.values(), *learned.vectors, *([] if seat is None else [seat]))
    ):
        raise LiveError(
            f"tuning: what the last of {len(losses[0]) + len(losses[1])} steps learned is not finite; {_LESS}"
        )
    return Tuning(
        tensors=tensors if settings.clip_steps or settings.temporal_in_photo_steps else {},
        latent_prompt=seat,
        concepts=tuple(
            replace(concept, vector=vector.detach().cpu().clone(), base=model.fingerprint)
            for concept, vector in zip(concepts, learned.vectors, strict=True)
        ),
        prompt=prompt,
        base=model.fingerprint,
        settings=asdict(settings),
        losses=(tuple(losses[0]), tuple(losses[1])),
        base_name=model.name,
    )


def _generator(seed: int, step: int) -> torch.Generator:
    """That of a step, for a seed of up to 64 bits. PyTorch's reads the lower 32 of what it is given, so the upper ones
    are mixed in.
    """
    return torch.Generator().manual_seed((seed * 1_000_003 + (seed >> 32) * 2_654_435_761 + step) % 2**64)


def _turns(settings: TuneSettings) -> list[int]:
    """0 for a clip step, 1 for a photo step: by turns, then the rest of the longer."""
    clip, photo = settings.clip_steps, settings.photo_steps
    shared = min(clip, photo) if settings.alternate else 0
    return [0, 1] * shared + [0] * (clip - shared) + [1] * (photo - shared)


def _descend(gradients: Gradients, masters: Sequence[torch.Tensor], optimizer: torch.optim.AdamW, scale: float) -> None:
    """One clipped step of the optimiser's own tensors, `masters`, by `gradients`, which are `scale` times too large;
    none, with a warning, where half precision overflowed, since an optimiser never forgets a NaN."""
    if all(gradient.isfinite().all() for gradient in gradients):
        descend(optimizer, masters, gradients, scale, most=1.0)
    else:
        note(
            "precision: a gradient overflowed, so a step learned nothing; if that happens often, choose precision"
            " bfloat16 or float32"
        )
