"""What ships with less work: fewer steps on the clip, a tuning that stops, guidance in a part of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .variants import Variant


def with_less_work(shipped: Variant) -> Iterator[Variant]:
    for steps in (0, 60):
        yield replace(
            shipped,
            name=f"clip-steps-{steps}",
            tuning=replace(shipped.tuning, clip_steps=steps),
            claim=f"what ships, with {steps} steps on the clip",
        )
    yield replace(
        shipped,
        name="until-learned",
        tuning=replace(shipped.tuning, stop_when_learned=True),
        claim="what ships, tuned until the loss on held-back noise no longer falls",
    )
    for start, end in ((0.18, 0.92), (0.0, 0.6)):
        yield replace(
            shipped,
            name=f"guided-{start:g}-to-{end:g}",
            method=replace(shipped.method, guidance_start=start, guidance_end=end),
            claim=f"what ships, guided from {start:g} to {end:g} of the steps alone",
        )
