"""A tuning that ends when it has learned: some noise is held back, which no step draws, and the loss on it is looked at
every few steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch

from . import LiveError
from .notes import note
from .objectives import ClipObjective, Learned, PhotoObjective, generator_of
from .pretrained import LiveModel
from .tune_settings import TuneSettings

PAIRS = 8  # timesteps, evenly spread, each with a noise of its own
EVERY = 20  # steps of an objective from one look to the next
MEAN_OF = 2  # looks, the mean of which is held against the mean of as many before
LEAST_FALL = 0.02  # what falls by a smaller part than this falls no longer
FIRST = (2 * MEAN_OF - 1) * EVERY  # steps after which this can be told for the first time

INPUTS = "clip steps", "photo steps"
RATES = "clip rate", "photo rate"


class HeldBack:
    """Which of a tuning's two objectives has learned. `looks`: of each, the geometric mean of its losses on all pairs,
    by which every noise level counts alike: before its first step, and after every `EVERY` steps.

    An objective with `FIRST` steps at most is not looked at, since nothing could be told before its last.
    """

    def __init__(
        self,
        model: LiveModel,
        objectives: tuple[ClipObjective, PhotoObjective],
        learned: Learned,
        settings: TuneSettings,
    ):
        self.model, self.objectives, self.learned, self.seed = model, objectives, learned, settings.seed
        self.most = settings.clip_steps, settings.photo_steps
        self.looks: tuple[list[float], list[float]] = ([], [])

    def has_learned(self, which: int, turn: int) -> bool:
        """Whether objective `which` needs no step at its `turn`, 0 the first. It looks where it is time to."""
        looks = self.looks[which]
        if self.most[which] > FIRST and not falls_no_longer(looks) and turn == len(looks) * EVERY:
            looks.append(self._look(which))
        return falls_no_longer(looks)

    def _look(self, which: int) -> float:
        """Raises LiveError for a loss that is not finite."""
        objective = self.objectives[which]
        compute = partial(_mean_loss, objective, self.model.schedule.length, self.seed)
        loss = self.model.unet.retried(compute, objective.work, self.learned.to_come)
        if not math.isfinite(loss):
            raise LiveError(
                f"{INPUTS[which]}: after {len(self.looks[which]) * EVERY} the loss on held-back noise is not finite, so"
                f" tuning was stopped; give a smaller {RATES[which]}, or load the model with precision float32 or"
                " bfloat16"
            )
        return loss

    def could_take(self, turns: Sequence[int], steps: Sequence[int], looks: Sequence[Sequence[float]]) -> list[int]:
        """`turns` without those that objectives no longer need that were looked at so, after `steps` of each."""
        most = [n if falls_no_longer(each) else math.inf for n, each in zip(steps, looks, strict=True)]
        taken, kept = [0] * len(most), []
        for which in turns:
            if taken[which] < most[which]:
                taken[which] += 1
                kept.append(which)
        return kept

    def could_have(self, which: int, steps: int, looks: int) -> bool:
        """Whether objective `which` can have been looked at so often before or after so many of its steps."""
        if self.most[which] <= FIRST:
            return looks == 0
        return looks in {math.ceil(steps / EVERY), steps // EVERY + 1}

    def say(self) -> None:
        """Note of each objective where it ended, and why."""
        for which, looks in enumerate(self.looks):
            if self.most[which]:
                note(f"{INPUTS[which]}: {self._ended(which, looks)}")

    def _ended(self, which: int, looks: Sequence[float]) -> str:
        most, steps = self.most[which], (len(looks) - 1) * EVERY
        if not looks:
            return (
                f"all {most} were taken; whether it has learned shows after {FIRST} at the earliest, so give more, or"
                " turn stop when learned off"
            )
        now = f"{looks[-1] / looks[0]:.1%} of what it was"
        if not falls_no_longer(looks):
            return (
                f"all {most} were taken; the loss on held-back noise was still falling, after {steps} it was {now}, so"
                " more may learn more"
            )
        if looks[-1] >= looks[0]:
            return (
                f"stopped after {steps} of {most}, and nothing seems to be learned: the loss on held-back noise is"
                f" {now}; give another {RATES[which]}, or turn stop when learned off"
            )
        return (
            f"stopped after {steps} of {most}, since the loss on held-back noise no longer falls: it is {now}; to take"
            " all, turn stop when learned off"
        )


def falls_no_longer(looks: Sequence[float]) -> bool:
    """Whether the mean of the last `MEAN_OF` looks is not lower than that of as many before by `LEAST_FALL` of it.

    >>> falls_no_longer([1.0, 0.8, 0.7]), falls_no_longer([1.0, 0.8, 0.7, 0.69]), falls_no_longer([0.7, 0.7, 0.69, 0.7])
    (False, False, True)
    """
    if len(looks) < 2 * MEAN_OF:
        return False
    before, last = sum(looks[-2 * MEAN_OF : -MEAN_OF]), sum(looks[-MEAN_OF:])
    return last > (1 - LEAST_FALL) * before


@torch.no_grad()
def _mean_loss(objective: ClipObjective | PhotoObjective, timesteps: int, seed: int) -> float:
    """The geometric mean of the objective's losses on all pairs. Their noise is that of the steps before the first."""
    losses = [
        objective.loss_at(int((i + 0.5) / PAIRS * timesteps), i, generator_of(seed, -1 - i))[0] for i in range(PAIRS)
    ]
    told = torch.stack(losses).double()
    return float(told.clamp_min(torch.finfo(torch.float32).tiny).log().mean().exp())
