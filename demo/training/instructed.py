"""How well a model of the sprite world follows instructions, on pictures that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..data import CELL, HELD_OUT
from ..instructions import KINDS, instruct
from ..world import SIZE, Clip, make_picture
from .judge import LABELS, Judge
from .measures import Parts, encode_captions
from .run import to_tensor

FIRST_SEED = HELD_OUT + 90_000
WORDS, PICTURE = 4.0, 1.5  # weights of guidance by the instruction and by the picture
HALO = 8  # pixels around what may change that count neither as changed nor as left alone


@dataclass(frozen=True)
class Asked:
    """One thing in one picture, what was said of it, and a right answer: the only one but for `instructions.VAGUE`."""

    kind: str
    text: str
    before: Clip
    after: Clip


def held_out(count: int) -> list[Asked]:
    """`count` of them, the kinds by turns."""
    asked = []
    for i, seed in enumerate(range(FIRST_SEED, FIRST_SEED + count)):
        before, kind = make_picture(seed, "one")[0], list(KINDS)[i % len(KINDS)]
        text, after = instruct(before, kind, np.random.default_rng(seed))
        asked.append(Asked(kind, text, before, after))
    return asked


@torch.no_grad()
def follow(
    parts: Parts, pictures: torch.Tensor, texts: Sequence[str], steps: int = 20, seed: int = 0, batch: int = 10
) -> torch.Tensor:
    """(n, 3, s, s) in -1..1: `pictures` edited by `texts`, one each. DDIM, and InstructPix2Pix's guidance (eq. 3)."""
    generator, edited = torch.Generator().manual_seed(seed), []
    side, stride = pictures.shape[-1] // CELL, 1000 // steps
    for rows, said in zip(pictures.split(batch), _split(texts, batch), strict=True):
        picture = parts.vae.encode(rows).latent_dist.mean  # unscaled, as in training
        told, empty = encode_captions(parts, list(said)), encode_captions(parts, [""] * len(said))
        x = torch.randn(len(rows), 4, side, side, generator=generator)
        for t in range(1 + (steps - 1) * stride, 0, -stride):
            streams = [torch.cat([x, shown], 1) for shown in (torch.zeros_like(picture), picture, picture)]
            noisy = torch.cat(streams).contiguous(memory_format=torch.channels_last)
            neither, shown, both = parts.unet(noisy, t, torch.cat([empty, empty, told])).sample.chunk(3)
            noise = neither + PICTURE * (shown - neither) + WORDS * (both - shown)
            a, a_next = parts.alphas[t], parts.alphas[max(t - stride, 0)]
            x = a_next.sqrt() * (x - (1 - a).sqrt() * noise) / a.sqrt() + (1 - a_next).sqrt() * noise
        edited.append(parts.vae.decode(x / parts.vae.config.scaling_factor).sample.clamp(-1, 1))
    return torch.cat(edited)


def _split(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[i : i + size] for i in range(0, len(texts), size)]


@torch.no_grad()
def done(judge: Judge, asked: Sequence[Asked], edited: torch.Tensor) -> list[bool]:
    """Whether each of `edited` (n, 3, s, s), -1..1, is what was asked, as the judge reads it."""
    seen = {name: [LABELS[name][i] for i in logits.argmax(-1)] for name, logits in judge(edited).items()}
    return [_is_done(a, {name: values[i] for name, values in seen.items()}, edited[i]) for i, a in enumerate(asked)]


def _is_done(asked: Asked, seen: dict[str, str], edited: torch.Tensor) -> bool:
    if asked.kind == "removal":  # the judge has no word for nothing
        before, after = (to_tensor(clip.frames())[0] for clip in (asked.before, asked.after))
        where = torch.from_numpy(asked.before.masks(0)[0] > 0.5)
        return bool((edited - after).abs()[:, where].mean() < (before - after).abs()[:, where].mean() / 2)
    was, now = asked.before.things[0], asked.after.things[0]
    if asked.kind == "any-colour":
        return seen["shape"] == was.shape and seen["colour"] != was.colour
    if asked.kind == "any-object":
        return seen["shape"] != was.shape
    right = seen["shape"] == now.shape and seen["colour"] == now.colour
    return right and (asked.kind != "scene" or seen["scene"] == asked.after.scene)


def rest(asked: Asked, picture: torch.Tensor) -> float:
    """PSNR in dB of `picture` (3, s, s), -1..1, where the instruction leaves the picture before alone. NaN for a scene,
    of which nothing is."""
    before, after = (clip.frames()[0].astype(np.int16) for clip in (asked.before, asked.after))
    changed = torch.from_numpy((np.abs(after - before).max(-1) > 0) | (asked.before.masks(0)[0] > 0)).float()
    alone = F.max_pool2d(changed[None, None], 2 * HALO + 1, 1, HALO)[0, 0] == 0
    if asked.kind == "scene":
        return float("nan")
    error = ((picture - to_tensor(asked.before.frames())[0]) / 2)[:, alone]
    return float(-10 * torch.log10(error.square().mean()))


def figures(parts: Parts, judge: Judge, count: int, size: int = SIZE) -> tuple[dict[str, float], torch.Tensor]:
    """Shares done, of all and by kind; the rest of the picture, and that of a perfect edit; and pictures, before beside
    edited (2 n, 3, s, s)."""
    asked = held_out(count)
    before = torch.cat([to_tensor(a.before.resized(size / SIZE).frames()) for a in asked])
    edited = follow(parts, before, [a.text for a in asked])
    small = F.interpolate(edited, (SIZE, SIZE), mode="area")
    right = done(judge, asked, small)
    with torch.no_grad():
        through = torch.cat([parts.vae.decode(parts.vae.encode(b).latent_dist.mean).sample for b in before.split(10)])
    through = F.interpolate(through.clamp(-1, 1), (SIZE, SIZE), mode="area")
    found = {"instructions done": float(np.mean(right))}
    for kind in KINDS:
        found[f"instructions done: {kind}"] = float(
            np.mean([r for r, a in zip(right, asked, strict=True) if a.kind == kind])
        )
    for name, pictures in (("rest of the picture, dB", small), ("the same through the autoencoder, dB", through)):
        found[name] = float(np.nanmean([rest(a, picture) for a, picture in zip(asked, pictures, strict=True)]))
    return found, torch.stack([before, edited], 1).flatten(0, 1)
