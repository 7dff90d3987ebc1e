"""The streams of a batch one after another, each alone in a forward: what one injects from another waits between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from .attention import AttentionPlan, Record, SelfInjection, WordInjection
from .step_store import StepStore
from .taps import WordTap

# (latents, timestep, text, latent prompts, plan) of some streams -> their noise (s, f, c, h, w)
Predict = Callable[[torch.Tensor, int | torch.Tensor, torch.Tensor, torch.Tensor | None, AttentionPlan], torch.Tensor]


def can_part(plan: AttentionPlan, streams: int) -> bool:
    """Whether the streams of such a forward can run one after another: not where something around a layer sees all of
    them, and not where one is kept as it is."""
    return streams > 1 and not plan.around and plan.record is None


def one_by_one(
    predict: Predict,
    latents: torch.Tensor,
    timestep: int | torch.Tensor,
    text: torch.Tensor,
    latent_prompts: torch.Tensor | None,
    plan: AttentionPlan,
) -> torch.Tensor:
    """What `predict` gives for all streams, the same but for rounding: those that others read run first."""
    store, sources = StepStore(), {w.source for w in plan.words} | {s.source for s in plan.selves}
    rows = range(len(latents))
    noise: dict[int, torch.Tensor] = {}
    taps: dict[int, WordTap] = {}
    for row in sorted(rows, key=lambda row: row not in sources):
        if plan.tap is not None and row in (plan.tap.rows or rows):
            taps[row] = plan.tap.of_one()
        here = slice(row, row + 1)
        noise[row] = predict(
            latents[here],
            timestep[here] if isinstance(timestep, torch.Tensor) and timestep.ndim else timestep,
            text[here],
            None if latent_prompts is None else latent_prompts[here],
            _of_row(plan, row, store, taps.get(row)),
        )
    if plan.tap is not None:
        plan.tap.join([taps[row] for row in plan.tap.rows or rows])
    return torch.cat([noise[row] for row in rows])


def _of_row(plan: AttentionPlan, row: int, store: StepStore, tap: WordTap | None) -> AttentionPlan:
    """The plan of a forward of this row alone, which keeps in `store` what others read of it and reads there what it
    reads of them."""
    return replace(
        plan,
        words=_from_store(plan.words, row),
        selves=_from_store(plan.selves, row),
        tap=tap,
        store=plan.store or store,
        record=_record([w for w in plan.words if w.source == row], [s for s in plan.selves if s.source == row], store),
    )


def _from_store(injections: Sequence, row: int) -> tuple:
    return tuple(replace(each, target=0, source=None) for each in injections if each.target == row)


def _record(words: Sequence[WordInjection], selves: Sequence[SelfInjection], store: StepStore) -> Record | None:
    """What keeps all that these injections read of their source, None for none."""
    spatial = [each.level for each in selves if each.spatial]
    if not words and not selves:
        return None
    return Record(
        store,
        cross=bool(words),
        spatial=bool(spatial),
        temporal=any(each.temporal for each in selves),
        cross_level=min((each.level for each in words), default=0),
        self_level=min(spatial, default=0),
    )
