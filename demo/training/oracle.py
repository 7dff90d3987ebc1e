"""The oracle: how well the model can draw a thing that no word names, told by the best vectors there are.

For a held-out thing, placeholder vectors are descended on many pictures of the true thing. What they draw is the
model's own ceiling; what the inversion of one photo draws beside it, the binder's loss; what the encoder of looks finds
at once, how far training has opened the text space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ..data import HELD_OUT, draw_look
from ..outlines import OTHER_SHAPES
from ..patterns import PATTERNS, random_colour
from ..world import SCENES, Clip, Thing, make_picture, make_reference
from .diffusion import LOOKS, draw_timesteps
from .looks import TOKENS, LookEncoder, read_caption, spread
from .measures import Parts, encode_captions, sample
from .run import to_tensor

PICTURES = 40  # of the true thing, for the oracle to descend on
SHOWN = 6  # held-out pictures of it that are drawn again
START = 801  # the timestep they are drawn from: places stand, looks are open
BATCH = 4


@dataclass(frozen=True)
class Row:
    """`error`: mean absolute difference to the truth within the thing, divided by that of the scene without it."""

    thing: Thing
    told_by: str
    error: float
    pictures: torch.Tensor  # (SHOWN, 3, s, s) in -1..1


def unseen_things(count: int) -> list[Thing]:
    """Held-out outlines by turns, patterned, in any colours."""
    rng = np.random.default_rng(HELD_OUT)
    things = []
    for i in range(count):
        colour = random_colour(rng)
        pattern = PATTERNS[(i + i // len(OTHER_SHAPES)) % len(PATTERNS)]
        things.append(Thing(list(OTHER_SHAPES)[i % len(OTHER_SHAPES)], colour, pattern, random_colour(rng, colour)))
    return things


def clips_of(thing: Thing, seeds: range, size: int) -> list[tuple[Clip, str]]:
    """The thing in pictures of training's kind, and their captions."""
    out = []
    for seed in seeds:
        clip, _ = make_picture(seed, "free", size)
        out.append((replace(clip, things=(thing,)), f"a thing {SCENES[clip.scene].place}"))
    return out


def try_thing(parts: Parts, model: Path, thing: Thing, size: int, steps: int) -> list[Row]:
    """One row for each way to tell the thing; without `steps` only for those that need no descent."""
    many = clips_of(thing, range(HELD_OUT + 60_000, HELD_OUT + 60_000 + PICTURES), size)
    photo = [(make_reference(thing, HELD_OUT).resized(size / 128), "a photo of a thing")]
    shown = clips_of(thing, range(HELD_OUT + 70_000, HELD_OUT + 70_000 + SHOWN), size)
    ways = {
        "the word thing": lambda: torch.zeros(1, 1, 128),
        "the encoder of looks": lambda: encoded_look(model, thing),
    }
    descents = {
        "oracle, 1 vector": lambda: descend(parts, many, 1, steps),
        f"oracle, {TOKENS} vectors": lambda: descend(parts, many, TOKENS, steps),
        "one photo, 1 vector": lambda: descend(parts, photo, 1, steps),
        f"one photo, {TOKENS} vectors": lambda: descend(parts, photo, TOKENS, steps),
    }
    if steps:
        ways |= descents
    return [_draw(parts, thing, told_by, find(), shown) for told_by, find in ways.items()]


@torch.no_grad()
def encoded_look(model: Path, thing: Thing) -> torch.Tensor:
    """(1, TOKENS, d), zero where the model folder has no encoder of looks."""
    looks = LookEncoder()
    if not (model / f"{LOOKS}.safetensors").exists():
        return torch.zeros(1, TOKENS, 128)
    looks.load_state_dict(load_file(model / f"{LOOKS}.safetensors"))
    look = to_tensor(draw_look(thing, np.random.default_rng(0))[None])
    return looks.float()(look, torch.zeros(1, TOKENS, 128))


def descend(parts: Parts, clips: list[tuple[Clip, str]], tokens: int, steps: int, lr: float = 0.03) -> torch.Tensor:
    """(1, tokens, d): offsets from the word "thing" that predict best the noise on things in `clips`."""
    with torch.no_grad():
        factor = parts.vae.config.scaling_factor
        x0 = torch.cat([factor * parts.vae.encode(to_tensor(clip.frames())).latent_dist.mean for clip, _ in clips])
        masks = torch.nn.functional.adaptive_avg_pool2d(
            torch.from_numpy(np.stack([clip.masks(0) for clip, _ in clips])).float(), x0.shape[-2:]
        )
    generator = torch.Generator().manual_seed(0)
    offsets = torch.zeros(1, tokens, 128, requires_grad=True)
    optimizer = torch.optim.Adam([offsets], lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1.0, 2 * (1 - step / steps))
        rows = torch.randint(len(clips), (BATCH,), generator=generator)
        t = draw_timesteps((torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) / BATCH)
        noise = torch.randn(BATCH, *x0.shape[1:], generator=generator)
        a = parts.alphas[t].view(-1, 1, 1, 1)
        text = told(parts, [clips[row][1] for row in rows], offsets)
        predicted = parts.unet(a.sqrt() * x0[rows] + (1 - a).sqrt() * noise, t, text).sample
        weight = (a / (1 - a)).clamp(max=5) / (a / (1 - a)) * (0.2 + masks[rows])
        loss = (weight * (predicted - noise).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return offsets.detach()


def told(parts: Parts, captions: list[str], offsets: torch.Tensor) -> torch.Tensor:
    """(n, L, d): captions whose "thing" is said as often as `offsets` (1, k, d) has vectors, each moved by its own."""
    read = [read_caption(caption, ["thing"], 0, offsets.shape[1]) for caption in captions]
    places = torch.tensor([caption.told for caption in read])
    spoken = spread(offsets.expand(len(read), -1, -1), places)
    return encode_captions(parts, [caption.text for caption in read], spoken)


@torch.no_grad()
def _draw(parts: Parts, thing: Thing, told_by: str, offsets: torch.Tensor, shown: list[tuple[Clip, str]]) -> Row:
    truth = torch.cat([to_tensor(clip.frames()) for clip, _ in shown])
    x0 = parts.vae.config.scaling_factor * parts.vae.encode(truth).latent_dist.mean
    a = parts.alphas[START]
    noisy = a.sqrt() * x0 + (1 - a).sqrt() * torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    drawn = sample(parts, told(parts, [caption for _, caption in shown], offsets), noisy, START)
    errors = []
    for i, (clip, _) in enumerate(shown):
        mask = torch.from_numpy(clip.masks(0)[0] > 0.5)
        gone = to_tensor(clip.without(0).frames())[0]
        errors.append(within(drawn[i] - truth[i], mask) / within(gone - truth[i], mask))
    return Row(thing, told_by, float(np.mean(errors)), drawn)


def within(difference: torch.Tensor, mask: torch.Tensor) -> float:
    return float(difference.abs().mean(0)[mask].mean())


def mean_errors(rows: list[Row], key: Callable[[Row], str] = lambda row: row.told_by) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row.error)
    return {name: float(np.mean(values)) for name, values in groups.items()}
