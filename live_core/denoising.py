"""The one loop: from noise to a clip, under a plan for each step and the parts of a method."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import torch

from .checks import check_step
from .diffusion import Callback, Schedule
from .frames import FramePlan
from .steering import Part, Step, merge
from .streams import Chain, Stream, guided, predict
from .video_unet import VideoUNet


@dataclass(frozen=True)
class Batch:
    """The rows of the U-Net's batch, the chain that guides those of the edit, and what frames see of one another at
    each of the N steps. `others`: the latents (f, c, h, w) of streams that are not the edit's, by their names, at the
    step under way. `guided`: the steps at which the chain guides, None for all; at the others the edit is what the last
    of it predicts, and the rest of it does not run."""

    streams: Sequence[Stream]
    chain: Chain
    frame_plans: Sequence[FramePlan]
    others: Callable[[], Mapping[str, torch.Tensor]] = dict
    guided: Container[int] | None = None

    def at(self, index: int) -> tuple[list[Stream], Chain]:
        """The rows and the chain of step `index`."""
        chain = self.chain if self.guided is None or index in self.guided else self.chain[-1:]
        resting = {name for name, _ in self.chain} - {name for name, _ in chain}
        return [stream for stream in self.streams if stream.name not in resting], chain


def denoise(
    unet: VideoUNet,
    schedule: Schedule,
    x: torch.Tensor,
    batch: Batch,
    parts: Sequence[Part],
    first: int = 0,
    callback: Callback = lambda step, total, latents: None,
    remedy: str = "",
    stage: str = "edit",
) -> torch.Tensor:
    """The edit's latents (f, c, h, w) from `x`, those at step `first` of as many as `batch` has plans. LiveError with
    `stage` and `remedy` where they cease to be finite."""
    total = len(batch.frame_plans)
    for index, t in list(enumerate(schedule.timesteps(total)))[first:]:
        streams, chain = batch.at(index)
        step = Step(index, total, t, x, streams, chain)
        plan = merge(batch.frame_plans[step.index], step, [part.before(step) for part in parts])
        noise = predict(unet, streams, {**batch.others(), "edit": x}, step.t, step.index, plan)
        x = schedule.denoise(x, guided(noise, chain), step.t, total)
        for part in parts:
            x = part.after(step, x, noise)
        check_step(stage, step.index + 1, total, x, remedy)
        callback(step.index + 1, total, x)
    return x
