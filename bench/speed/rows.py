"""What is measured, a row each: its figures are ratios within one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from live_core.attention import AttentionPlan
from live_core.concept import bind
from live_core.editing import Edit, edit
from live_core.frames import ALONE
from live_core.inversion import invert
from live_core.methods import METHODS
from live_core.tuning import TuneSettings, tune

from ..clocks import in_turns, part_of_peak, ratio, seconds
from ..networks import EDITED, PROMPT, Size, inputs_of, model_of, unet_of
from .maps import PLAN, by_maps, injections

ROOT = Path(__file__).resolve().parents[2]
TIMES, OF_RATE = "times", "of the rate"
PRODUCT = 2048  # side of the matrices of the plain product
LIVE = METHODS["live"]


@dataclass(frozen=True)
class Figure:
    """`what` was measured, its `value` and unit: of ratios `TIMES`, of which less is better, or `OF_RATE`."""

    what: str
    value: float
    unit: str = TIMES


Row = Callable[[Size, int], Iterator[Figure]]  # of a size, so many turns


@torch.no_grad()
def beside_the_picture_model(size: Size, turns: int) -> Iterator[Figure]:
    """A forward of the same frames by diffusers' own 2-D U-Net is 1: what it costs that frames see one another."""
    from diffusers import UNet2DConditionModel

    plain, unet = UNet2DConditionModel(**size.unet).eval(), unet_of(size)
    plans = {
        "LIVE: latent prompt, first and previous frame, temporal attention": LIVE.frame_plan,
        "Tune-A-Video: first and previous frame, temporal attention": METHODS["tav-ddim"].frame_plan,
        "each frame by itself": ALONE,
    }
    inputs = {name: inputs_of(size, AttentionPlan(plan), unet) for name, plan in plans.items()}
    alone = inputs["each frame by itself"]
    text = alone.text.expand(size.frames, -1, -1)
    taken = in_turns(
        [lambda: plain(alone.latents[0], 500, text), *(partial(each.predict, unet) for each in inputs.values())], turns
    )
    for name, ours in zip(inputs, taken[1:], strict=True):
        yield Figure(name, ratio(ours, taken[0]))


@torch.no_grad()
def beside_maps(size: Size, turns: int) -> Iterator[Figure]:
    """A forward of source and edit whose attention is injected as maps, as published editors do it, is 1."""
    unet = unet_of(size)
    words, selves = injections(77)
    fused = inputs_of(size, AttentionPlan(PLAN, words=words, selves=selves), unet, streams=2)
    plain = inputs_of(size, AttentionPlan(PLAN), unet, streams=2)

    def explicit() -> torch.Tensor:
        with by_maps(unet, size.frames, words[0]):
            return plain.predict(unet)

    ours, theirs = in_turns([lambda: fused.predict(unet), explicit], turns)
    yield Figure("injection by fused attention", ratio(ours, theirs))
    yield Figure("greatest difference of the outputs", (fused.predict(unet) - explicit()).abs().max().item(), "")


def stores_of_attention(size: Size, turns: int) -> Iterator[Figure]:
    """A step of FateZero's edit with the clip's attention computed again is 1: with it kept, and what is kept."""
    model, method = model_of(size), METHODS["fatezero-attribute"]
    clip, steps = latents_of(size, size.frames), 2  # the clip's attention is read at both
    with TemporaryDirectory() as folder:
        ways = {
            name: invert(model, clip, PROMPT, method, steps, name, Path(folder))
            for name in ("recompute", "ram", "disk")
        }
        taken = in_turns([partial(edit, model, each, Edit(EDITED), method) for each in ways.values()], turns)
        for (name, inversion), ours in zip(ways.items(), taken, strict=True):
            kept = inversion.store.nbytes() / steps / 1e6 if inversion.store else 0.0
            yield Figure(f"an edit's step, attention {name}", ratio(ours, taken[0]))
            yield Figure(f"kept for a step, attention {name}", kept, "MB")


def to_the_limit(size: Size, turns: int) -> Iterator[Figure]:
    """The rate of a plain product of two 2048 x 2048 matrices is 1: how near forward and tuning step come to it, their
    products, convolutions and attentions counted, all else as time lost."""
    unet = unet_of(size)
    for side in (size.side, size.side * 3 // 2):
        inputs = inputs_of(size, AttentionPlan(LIVE.frame_plan), unet, side=side)
        with torch.no_grad():
            part, taken = part_of_peak(partial(inputs.predict, unet), turns, PRODUCT)
        yield Figure(f"forward, latents {side} x {side}", part, OF_RATE)
        yield Figure(f"forward, latents {side} x {side}: CPU time", taken, "s")
    inputs = inputs_of(size, AttentionPlan(LIVE.frame_plan), unet)
    learned = list(unet.trainable().values())
    for parameter in learned:
        parameter.requires_grad_(True)

    def step() -> object:
        return torch.autograd.grad(inputs.predict(unet).square().mean(), learned)

    part, taken = part_of_peak(step, turns, PRODUCT)
    yield Figure(f"tuning step, latents {size.side} x {size.side}", part, OF_RATE)
    yield Figure(f"tuning step, latents {size.side} x {size.side}: CPU time", taken, "s")


def latents_of(size: Size, frames: int) -> torch.Tensor:
    return torch.randn(frames, 4, size.side, size.side, generator=torch.Generator().manual_seed(0))


def by_frames(size: Size, turns: int) -> Iterator[Figure]:
    """A step of LIVE's edit, a frame, by the frames of the clip: 16 frames are 1. Where the system gives memory
    and takes it back at every layer, time goes there: the system's."""
    figures = list(_children("frames", (16, 75, 150, 300)))
    least = figures[0].value
    for each in figures:
        if each.what.endswith("a frame"):
            yield Figure(each.what, each.value / least)
            yield replace(each, what=f"{each.what}: CPU time")
        else:
            yield each


def memory_by_frames(size: Size, turns: int) -> Iterator[Figure]:
    """The most that a process holds for a stage, by the frames of the clip: whole, and in windows of 16."""
    yield from _children("memory", (32, 96))


def _children(kind: str, counts: tuple[int, ...]) -> Iterator[Figure]:
    """Figures of the demo's clip and model, a process of its own for each count of frames."""
    for frames in counts:
        asked = [sys.executable, "-m", "bench.speed.child", kind, str(frames)]
        done = subprocess.run(asked, check=True, cwd=ROOT, capture_output=True, text=True)
        yield from (Figure(*figure) for figure in json.loads(done.stdout.splitlines()[-1]))


class Steps:
    """A callback that clocks the steps of a stage."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __call__(self, *_: Any) -> None:
        self.ends.append(time.process_time())

    @property
    def each(self) -> float:
        """The median of the steps' CPU seconds, but for the first's."""
        return statistics.median(b - a for a, b in zip(self.ends, self.ends[1:], strict=False))


def demo_by_stage(size: Size, turns: int) -> Iterator[Figure]:
    """Parts of the time that the shipped workflow takes for its clip and photo, by the steps it has: a few of each kind
    are clocked."""
    from demo.cases import CASES
    from live_core.compositing import composite, soften
    from live_core.pictures import cover
    from live_core.pretrained import load_folder

    workflow = json.loads((ROOT / "workflows" / "api" / "live_image_driven_edit.json").read_text()).values()
    asked = {node["class_type"]: node["inputs"] for node in workflow}
    of_tuning, of_inversion = asked["LIVE_Tune"], asked["LIVE_Invert"]
    model, case = load_folder(ROOT / "demo" / "model"), CASES["ball-to-star"]
    frames = torch.from_numpy(case.clip.frames()).float() / 255
    photo = cover(torch.from_numpy(case.swaps[0].photo.frames()).float() / 255, *frames.shape[1:3])
    spent: dict[str, float] = {}
    bound: list[Any] = []

    def binding() -> None:
        reference = model.encode_frames(photo)
        bound.extend(bind("<thing*>", "thing", reference, model.tokenizer, model.text_encoder))

    spent["bind"] = seconds(binding)
    clip = model.encode_frames(frames)
    few = turns + 2
    settings = partial(TuneSettings, alternate=False)
    clip_steps, photo_steps = Steps(), Steps()
    tune(model, clip, case.prompt, (), settings(few, 0), clip_steps)
    tuning = tune(model, clip, case.prompt, tuple(bound), settings(0, few), photo_steps)
    spent["tune: clip"] = clip_steps.each * of_tuning["clip_steps"]
    spent["tune: photo"] = photo_steps.each * of_tuning["photo_steps"]
    model = model.with_tuning(replace(tuning, tensors={}, latent_prompt=clip[0]))
    walked, edited = Steps(), Steps()
    inversion = invert(model, clip, case.prompt, LIVE, few, callback=walked)
    made = edit(model, inversion, Edit(case.edit_prompt), LIVE, edited)
    spent["invert"], spent["edit"] = (each.each * of_inversion["steps"] for each in (walked, edited))
    spent["decode"] = seconds(lambda: bound.append(model.decode_frames(made.latents)))
    spent["composite"] = seconds(lambda: composite(frames, bound[-1], soften(made.mask, 3, 2.0)))
    for stage, taken in spent.items():
        yield Figure(stage, 100 * taken / sum(spent.values()), "% of the time")


ROWS: dict[str, Row] = {
    "picture model": beside_the_picture_model,
    "maps": beside_maps,
    "FateZero": stores_of_attention,
    "limit": to_the_limit,
    "frames": by_frames,
    "memory": memory_by_frames,
    "demo": demo_by_stage,
}
OF_THE_DEMO = ("frames", "memory", "demo")  # of its own model, whatever the size
