"""The one loop: from noise to a clip, under a plan for each step and the parts of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    step under way."""

    streams: Sequence[Stream]
    chain: Chain
    frame_plans: Sequence[FramePlan]
    others: Callable[[], Mapping[str, torch.Tensor]] = dict


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
        step = Step(index, total, t, x)
        plan = merge(batch.frame_plans[step.index], step, [part.before(step) for part in parts])
        noise = predict(unet, batch.streams, {**batch.others(), "edit": x}, step.t, step.index, plan)
        x = schedule.denoise(x, guided(noise, batch.chain), step.t, total)
        for part in parts:
            x = part.after(step, x, noise)
        check_step(stage, step.index + 1, total, x, remedy)
        callback(step.index + 1, total, x)
    return x
