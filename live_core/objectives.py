"""What a one-clip tuning descends: two objectives (LIVE, section 3.3), each with its loss and with what learns from it.

Objective 1 learns the latent prompt, the attention queries and temporal attention from the clip. Objective 2 is textual
inversion: it learns the placeholder's vector from the photo, temporal attention bypassed. What they learn is disjoint,
and each has its own optimiser; but in the ablation in which both learn temporal attention that stays with the clip's.

Where the paper contradicts itself or its preprint ("Image-driven video editing with latent diffusion models"): the
objectives are descended by turns, as in the paper (section 3.2), not as the preprint's sum at a weight of 1, which is
the same, since what they learn is disjoint. "Latent prompts are given noise" (section 3.2) is read with the preprint as
the video's latents: the latent prompt stays clean, is never denoised, and what the U-Net makes of it counts in no loss.
It joins the clip, objective 1, as in the preprint, where section 3.3 has "the second"; in objective 2 the photo's own
latent is in its seat, with `photo_latent_prompt`, and temporal attention is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F

from .attention import AttentionPlan
from .concept import TEMPLATES, Concept
from .estimates import Work
from .memory import copies
from .pretrained import LiveModel
from .text import encode
from .transfers import sent
from .tune_settings import TuneSettings
from .windows import Window, in_window, window_at

Loss = tuple[torch.Tensor, torch.Tensor]  # the error, and the latents less the noise that the model saw in them


class LearnedWeights:
    """U-Net parameters that learn, by name, and what steps them. `weights`: their masters, in float32 or wider."""

    def __init__(self, model: LiveModel, parameters: dict[str, torch.nn.Parameter], rate: float):
        self.parameters, self.dtype = parameters, model.unet.dtype
        self.weights = copies(parameters, torch.promote_types(self.dtype, torch.float32))
        self.base = copies(parameters)
        self.optimizer = torch.optim.AdamW(self.groups(rate))

    def groups(self, rate: float) -> list[dict]:
        """Of the optimiser."""
        return [{"params": list(self.weights.values()), "lr": rate, "weight_decay": 1e-2}]

    @property
    def optimizers(self) -> tuple[torch.optim.AdamW, ...]:
        """All that learn; the first is that of the weights."""
        return (self.optimizer,)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is learned, by the names under which an unfinished tuning keeps it."""
        return self.weights

    def overlay(self) -> dict[str, torch.Tensor]:
        """The weights as they are handed on: in the U-Net's precision, on the CPU."""
        return {name: weight.to(self.dtype).cpu().clone() for name, weight in self.weights.items()}

    @property
    def to_come(self) -> int:
        """Bytes that the first step will take and no one gives back: gradients, and the optimiser's two moments."""
        return sum(2 * master.nbytes + self.parameters[name].nbytes for name, master in self.weights.items())

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The U-Net's parameters take gradients within the `with` block; the base's weights are back after it, whatever
        happens.
        """
        try:
            for p in self.parameters.values():
                p.requires_grad_(True)
            yield
        finally:
            for p in self.parameters.values():
                p.requires_grad_(False)
                p.grad = None
            _put(self.parameters, self.base)

    def put(self) -> None:
        """The masters' values into the U-Net."""
        _put(self.parameters, self.weights)


class Learned(LearnedWeights):
    """Everything that a tuning of a clip learns, and its optimisers."""

    def __init__(self, model: LiveModel, clip: torch.Tensor, concepts: Sequence[Concept], settings: TuneSettings):
        self.latent_prompt = clip[0].clone().requires_grad_() if settings.latent_prompt else None
        self.vectors = [c.vectors.clone().to(clip.device).requires_grad_() for c in concepts]
        self.settings = settings
        super().__init__(model, model.unet.trainable(), settings.clip_rate)
        of_photos = {"params": self.vectors, "lr": settings.photo_rate, "weight_decay": 0.0}
        self.photo_optimizer = torch.optim.AdamW([of_photos])

    def groups(self, rate: float) -> list[dict]:
        seats = [] if self.latent_prompt is None else [self.latent_prompt]
        rates = {"lr": self.settings.latent_prompt_rate, "weight_decay": 0.0}
        return [*super().groups(rate), *({"params": [seat], **rates} for seat in seats)]

    @property
    def optimizers(self) -> tuple[torch.optim.AdamW, ...]:
        return self.optimizer, self.photo_optimizer

    def tensors(self) -> dict[str, torch.Tensor]:
        seat = {} if self.latent_prompt is None else {"latent_prompt": self.latent_prompt}
        return {**self.weights, **seat, **{f"vector/{i}": vector for i, vector in enumerate(self.vectors)}}


@dataclass(frozen=True)
class Learner:
    """Tensors that one optimiser steps down an error, or down its logarithm."""

    optimizer: torch.optim.AdamW
    # What the error is differentiated by, and the optimiser's own tensors for that, one each.
    learned: Sequence[torch.Tensor]
    masters: Sequence[torch.Tensor]
    log: bool = False


class Objective(Protocol):
    """What `learning.learn` descends, at the objective's own `turn`, 0 the first."""

    @property
    def work(self) -> Work:
        """What a turn's forward asks of the U-Net."""
        ...

    def learners(self, turn: int) -> list[Learner]: ...

    def shown(self, turn: int) -> int:
        """Which of the callback's latents a turn renews."""
        ...

    def loss(self, turn: int, generator: torch.Generator) -> Loss: ...


class ClipObjective:
    """Noise prediction on the clip (f, c, h, w) under its prompt: on all of it, or on a window drawn at random, beside
    which ride the frames that it reads, as in an edit of a long clip (`windows.window_at`); they count in no loss.
    """

    def __init__(self, model: LiveModel, clip: torch.Tensor, prompt: str, settings: TuneSettings, learned: Learned):
        self.model, self.clip, self.learned = model, clip, learned
        self.frame_plan, self.size = settings.frame_plan, settings.window or len(clip)
        self.drawn_from(0)
        with torch.no_grad():
            self.text = model.encode_text(prompt)[None]

    @property
    def frames(self) -> int:
        """How many frames a step learns."""
        return min(self.size, len(self.clip))

    @property
    def work(self) -> Work:
        window = self.drawn_from((len(self.clip) - self.frames) // 2)
        plan = AttentionPlan(in_window(self.frame_plan, window, len(self.clip)))
        clip = self.clip[None, : len(window.positions)]
        return self.model.unet.work(clip, self.learned.latent_prompt is not None, plan)

    def drawn_from(self, start: int) -> Window:
        """The window that starts there. LiveError where the frame plan has none of this size."""
        return window_at(start, len(self.clip), self.size, [self.frame_plan])

    def learners(self, _turn: int) -> list[Learner]:
        learned = self.learned
        seats = [] if learned.latent_prompt is None else [learned.latent_prompt]
        return [Learner(learned.optimizer, [*learned.parameters.values(), *seats], [*learned.weights.values(), *seats])]

    def shown(self, _turn: int) -> int:
        return 0  # the clip comes before the photos

    def loss(self, turn: int, generator: torch.Generator) -> Loss:
        return self.loss_at(_timestep(self.model, generator), turn, generator)

    def loss_at(self, t: int, _turn: int, generator: torch.Generator) -> Loss:
        """At timestep t, with noise, and where there are windows a window, by the generator."""
        total = len(self.clip)
        if self.frames == total:
            window, clip, counts = self.drawn_from(0), self.clip, None
        else:
            window = self.drawn_from(int(torch.randint(total - self.size + 1, (), generator=generator)))
            clip, counts = self.clip[window.positions], torch.zeros(len(window.positions), 1, 1, 1)
            counts[window.own] = 1
        plan = AttentionPlan(in_window(self.frame_plan, window, total))
        loss, clean = noise_error(self.model, clip, t, self.text, self.learned.latent_prompt, plan, generator, counts)
        return loss, clean[window.own]


class PhotoObjective:
    """Textual inversion (Gal et al. 2022) of each concept in turn: from one of its views, where its mask counts."""

    def __init__(self, model: LiveModel, concepts: Sequence[Concept], settings: TuneSettings, learned: Learned):
        self.model, self.concepts, self.settings, self.learned = model, concepts, settings, learned
        self.views = [c.views.clone().to(model.unet.device) for c in concepts]
        self.plan = AttentionPlan(replace(settings.frame_plan, temporal=settings.temporal_in_photo_steps))

    @property
    def work(self) -> Work:
        seat = self.settings.latent_prompt and self.settings.photo_latent_prompt
        return self.model.unet.work(self.views[0][None, :1], seat, self.plan)

    def learners(self, turn: int) -> list[Learner]:
        learned, vector = self.learned, self.learned.vectors[turn % len(self.concepts)]
        found = [Learner(learned.photo_optimizer, [vector], [vector], log=self.settings.photo_loss == "log")]
        temporal = (
            [name for name in learned.parameters if ".attn_temp." in name]
            if self.settings.temporal_in_photo_steps
            else []
        )
        if temporal:
            found.append(
                Learner(
                    learned.optimizer,
                    [learned.parameters[name] for name in temporal],
                    [learned.weights[name] for name in temporal],
                )
            )
        return found

    def shown(self, turn: int) -> int:
        return 1 + turn % len(self.concepts)

    def loss(self, turn: int, generator: torch.Generator) -> Loss:
        return self.loss_at(_timestep(self.model, generator), turn, generator)

    def loss_at(self, t: int, turn: int, generator: torch.Generator) -> Loss:
        """At timestep t, with template, view and noise by the generator."""
        which = turn % len(self.concepts)
        concept, views = self.concepts[which], self.views[which]
        template = TEMPLATES[int(torch.randint(len(TEMPLATES), (), generator=generator))]
        prompt = self.model.read(template.format(concept.placeholder), tuple(self.concepts))
        text = encode(prompt, self.model.text_encoder, tuple(self.learned.vectors))[None]
        one = int(torch.randint(len(views), (), generator=generator)) if len(views) > 1 else 0
        view, mask = views[one : one + 1], None if concept.mask is None else concept.mask[one : one + 1]
        seat = view[0] if self.settings.latent_prompt and self.settings.photo_latent_prompt else None
        return noise_error(self.model, view, t, text, seat, self.plan, generator, mask)


def noise_error(
    model: LiveModel,
    latents: torch.Tensor,
    t: int,
    text: torch.Tensor,
    latent_prompt: torch.Tensor | None,
    plan: AttentionPlan,
    generator: torch.Generator,
    mask: torch.Tensor | None = None,
) -> Loss:
    """The mean squared error of the prediction for `latents` (f, c, h, w) at timestep t under `text` (1, L, d), where
    `mask`, (1, 1, h, w) or (f, 1, 1, 1), counts.
    """
    schedule = model.schedule
    noise = sent(torch.randn(latents.shape, generator=generator), latents)
    noisy = schedule.add_noise(latents, noise, t)
    predicted = model.unet(noisy[None], t, text, None if latent_prompt is None else latent_prompt[None], plan)[0]
    target = schedule.target(latents, noise, t)
    clean = schedule.clean(noisy, schedule.noise(noisy, predicted.detach(), t), t)
    if mask is None:
        return F.mse_loss(predicted, target), clean
    weight = mask.clone().to(latents).expand_as(latents)  # a clone is no inference tensor
    return (weight * (predicted - target) ** 2).sum() / weight.sum(), clean


def generator_of(seed: int, step: int) -> torch.Generator:
    """That of a step, for a seed of up to 64 bits. PyTorch's reads the lower 32 of what it is given, so the upper ones
    are mixed in.
    """
    return torch.Generator().manual_seed((seed * 1_000_003 + (seed >> 32) * 2_654_435_761 + step) % 2**64)


def _timestep(model: LiveModel, generator: torch.Generator) -> int:
    return int(torch.randint(model.schedule.length, (), generator=generator))


@torch.no_grad()
def _put(parameters: dict[str, torch.nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    for name, p in parameters.items():
        p.copy_(values[name])
