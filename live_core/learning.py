"""What every learning of a clip goes through: step by step an objective, until all turns are taken; stopped at any step
it leaves the model as it was, and goes on to the same bits."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import LiveError
from .checks import is_finite
from .descent import descend
from .diffusion import Callback
from .held_back import HeldBack
from .notes import note
from .objectives import LearnedWeights, Learner, Loss, Objective, generator_of
from .pretrained import LiveModel
from .unfinished import Unfinished

SECONDS_BETWEEN_CHECKPOINTS = 60
LESS = "give smaller learning rates, or load the model with precision float32 or bfloat16"
Gradients = tuple[torch.Tensor, ...]
Losses = tuple[list[float], list[float]]  # each objective's, step by step


def learn(
    model: LiveModel,
    learned: LearnedWeights,
    objectives: Sequence[Objective],
    turns: Sequence[int],
    seed: int,
    seen: list[torch.Tensor],
    callback: Callback = lambda step, total, latents: None,
    file: Path | None = None,
    losses: Losses | None = None,
    held_back: HeldBack | None = None,
) -> Losses:
    """Descend at each step the objective that `turns` names, one of at most two, and give their losses; the U-Net's
    own weights are as they were before, and what was learned is in `learned`. `held_back` leaves out the turns of an
    objective that has learned.

    `callback(step, total, latents)` is shown `seen`, latents (f, c, h, w) each, of which a step renews one; it may
    raise to stop. `file`: where a stopped one leaves what it needs to go on, and where it is looked for; it goes away
    with the last step. `losses`: empty lists, to which each step adds its own before `callback` is called.
    """
    losses = ([], []) if losses is None else losses
    state = Unfinished(learned.tensors(), learned.optimizers, losses, held_back)
    scale = 1024.0 if model.unet.dtype == torch.float16 else 1.0  # keeps small half-precision gradients from vanishing
    whole = True  # False while a step is half done
    with learned.in_place():
        try:
            if file is not None and file.exists():
                state.load(file, turns)
                learned.put()
            saved = time.monotonic()
            for step, turn in _turns_left(turns, losses, held_back):
                objective = objectives[turns[step]]
                learners = objective.learners(turn)
                compute = partial(_gradients, partial(objective.loss, turn), learners, scale, seed, step)
                loss, fit, seen[objective.shown(turn)], found = model.unet.retried(
                    compute, objective.work, learned.to_come
                )
                if not math.isfinite(loss):  # before the optimisers, which never forget a NaN
                    raise LiveError(
                        f"tuning: the loss of step {step + 1} of {len(turns)} is not finite, so it was stopped before"
                        f" it learned from that; {LESS}"
                    )
                whole = False
                _learn(learned, learners, found, fit, scale)
                losses[turns[step]].append(loss)
                whole = True
                if file is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    state.save(file)
                    saved = time.monotonic()
                callback(step + 1, len(turns), torch.cat(seen))
            if not all(is_finite(tensor.to(model.unet.dtype)) for tensor in learned.tensors().values()):
                raise LiveError(f"tuning: what the last of {len(turns)} steps learned is not finite; {LESS}")
        except BaseException:
            if file is not None and whole and any(losses):
                state.save(file)
            raise
    if file is not None:
        with suppress(OSError):  # one left behind costs only its space
            file.unlink()
    return losses


def _turns_left(turns: Sequence[int], losses: Losses, held_back: HeldBack | None) -> Iterator[tuple[int, int]]:
    """The steps to take, and which turn each is of its objective's, 0 the first; without those that `losses` are of."""
    counts = [0, 0]
    for step, which in enumerate(turns):
        turn, counts[which] = counts[which], counts[which] + 1
        if turn >= len(losses[which]) and not (held_back is not None and held_back.has_learned(which, turn)):
            yield step, turn


def key_of(model: LiveModel, facts: Sequence[Any], tensors: Iterable[torch.Tensor]) -> str:
    """A hash of what a learning depends on: the model, `facts` that can be written down, and `tensors`."""
    told = [model.fingerprint, str(model.unet.dtype), model.schedule.prediction, *facts]
    digest = hashlib.sha256(json.dumps(told).encode())
    for tensor in (model.schedule.alphas_cumprod, *tensors):
        digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _gradients(
    loss_of: Callable[[torch.Generator], Loss], learners: Sequence[Learner], scale: float, seed: int, step: int
) -> tuple[float, list[bool], torch.Tensor, list[Gradients]]:
    """A step's loss, whether each learner's gradients are finite, the step's latents less the predicted noise, and the
    gradients, `scale` times too large.
    """
    loss, clean = loss_of(generator_of(seed, step))
    found = []
    for i, learner in enumerate(learners):
        descended = loss.log() if learner.log else loss
        found.append(torch.autograd.grad(descended * scale, learner.learned, retain_graph=i + 1 < len(learners)))
    # One word from the device for all, since it stops what has been asked of it until then.
    finite = [torch.stack([gradient.isfinite().all() for gradient in gradients]).all() for gradients in found]
    told, *fit = torch.stack([loss.detach(), *(each.to(loss) for each in finite)]).tolist()
    return told, [bool(each) for each in fit], clean, found


def _learn(
    learned: LearnedWeights,
    learners: Sequence[Learner],
    found: Sequence[Gradients],
    fit: Sequence[bool],
    scale: float,
) -> None:
    """One step of each learner by its gradients, and the U-Net's own weights after their masters. No step, with a
    warning, where half precision overflowed, since an optimiser never forgets a NaN.
    """
    for learner, gradients, finite in zip(learners, found, fit, strict=True):
        if finite:
            _descend(gradients, learner.masters, learner.optimizer, scale)
        else:
            note(
                "precision: a gradient overflowed, so a step learned nothing; if that happens often, choose precision"
                " bfloat16 or float32"
            )
    if any(learner.optimizer is learned.optimizer for learner in learners):
        learned.put()


def _descend(gradients: Gradients, masters: Sequence[torch.Tensor], optimizer: torch.optim.AdamW, scale: float) -> None:
    """One clipped step of the optimiser's own tensors, `masters`, by `gradients`, which are `scale` times too large."""
    descend(optimizer, masters, gradients, scale, most=1.0)
