"""Measures of a demo model on held-out seeds, at any size of picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data import CELL, HELD_OUT
from ..tokenizer import CONTEXT
from ..world import SCENES, SIZE, Thing, make_picture, random_thing
from .autoencoder import load_autoencoder
from .looks import encode_with
from .run import to_tensor

NOISE_LEVELS = (201, 401, 601)
THRESHOLD = 0.3


@dataclass
class Parts:
    """A model folder's parts, in single precision, without gradients."""

    unet: torch.nn.Module
    text_encoder: torch.nn.Module
    tokenizer: object
    vae: torch.nn.Module
    alphas: torch.Tensor  # (1000,) cumulative


def load_parts(folder: Path) -> Parts:
    from live_core.folders import read_picture_unet, read_schedule, read_text_encoder
    from live_core.vocabulary import load_tokenizer

    return Parts(
        unet=read_picture_unet(folder / "unet", torch.float32)[0].to(memory_format=torch.channels_last),
        text_encoder=read_text_encoder(folder / "text_encoder", torch.float32)[0],
        tokenizer=load_tokenizer(folder / "tokenizer", CONTEXT),
        vae=load_autoencoder(folder).eval().requires_grad_(False),
        alphas=read_schedule(folder / "scheduler" / "scheduler_config.json").alphas_cumprod,
    )


def encode_captions(parts: Parts, captions: list[str], offsets: torch.Tensor | float = 0.0) -> torch.Tensor:
    """(n, CONTEXT, d)."""
    tokens = parts.tokenizer(captions, padding="max_length", max_length=CONTEXT, return_tensors="pt")
    return encode_with(parts.text_encoder, tokens.input_ids, offsets)


@torch.no_grad()
def sample(
    parts: Parts, text: torch.Tensor, x: torch.Tensor, start: int = 1000, steps: int = 30, guidance: float = 4.0
) -> torch.Tensor:
    """(n, 3, s, s) in -1..1: DDIM from `x` (n, 4, s/8, s/8) at timestep `start` under `text` (n, L, d).

    `steps` are those from 1000 on; fewer are taken from a lower start.
    """
    empty = encode_captions(parts, [""]).expand(len(x), -1, -1)
    stride = 1000 // steps
    for t in [t for t in range(1, 1 + steps * stride, stride)][::-1]:
        if t > start:
            continue
        a, a_next = parts.alphas[t], parts.alphas[max(t - stride, 0)]
        both = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
        without, told = parts.unet(both, t, torch.cat([empty, text])).sample.chunk(2)
        noise = without + guidance * (told - without)
        x = a_next.sqrt() * (x - (1 - a).sqrt() * noise) / a.sqrt() + (1 - a_next).sqrt() * noise
    x = x / parts.vae.config.scaling_factor
    return torch.cat([parts.vae.decode(rows).sample for rows in x.split(4)]).clamp(-1, 1)


def generate(
    parts: Parts, captions: list[str], size: int = SIZE, seed: int = 0, batch: int = 20, **options
) -> torch.Tensor:
    """(n, 3, size, size) in -1..1, from noise."""
    generator, pictures = torch.Generator().manual_seed(seed), []
    for start in range(0, len(captions), batch):
        text = encode_captions(parts, captions[start : start + batch])
        x = torch.randn(len(text), 4, size // CELL, size // CELL, generator=generator)
        pictures.append(sample(parts, text, x, **options))
    return torch.cat(pictures)


@torch.no_grad()
def autoencoder_figures(vae, size: int = SIZE, count: int = 60) -> dict[str, float]:
    """Of pictures there and back: PSNR; `thing_error`, the mean absolute difference 0..1 within things; and `ceiling`.

    `ceiling` is the least edit error an edit can have: the difference over all that an edit would change, its thing's
    place and another thing's on the same track, divided by the unedited picture's there.
    """
    rows = []
    for seed in range(HELD_OUT + 40_000, HELD_OUT + 40_000 + count):
        clip = make_picture(seed, ("one", "free")[seed % 2])[0].resized(size / SIZE)
        unedited = clip.swap(0, _another(clip.things[0], np.random.default_rng(seed)))
        truth = clip.frames()
        z = vae.encode(to_tensor(truth)).latent_dist.mean
        drawn = ((vae.decode(z).sample.clamp(-1, 1) + 1) / 2)[0].permute(1, 2, 0).numpy()
        error = np.abs(drawn - truth[0] / 255)
        thing = clip.masks(0)[0] > 0.01
        changed = thing | (unedited.masks(0)[0] > 0.01)
        other = np.abs(unedited.frames()[0] / 255 - truth[0] / 255)
        psnr = -10 * np.log10((error**2).mean())
        rows.append((psnr, error[thing].mean(), error[changed].mean() / other[changed].mean()))
    return dict(zip(("psnr", "thing_error", "ceiling"), np.mean(rows, 0).tolist(), strict=True))


def _another(thing: Thing, rng: np.random.Generator) -> Thing:
    while (other := random_thing(rng)).shape == thing.shape or other.colour == thing.colour:
        pass
    return other


@torch.no_grad()
def word_iou(model, grow: bool, size: int = SIZE, count: int = 60) -> tuple[float, float]:
    """Mean IoU of true masks with shape words' cross-attention in a `LiveModel`, thresholded as local blend does it.

    And the same for a perfect map: the true mask's own share of each of the map's cells. `grow`: with local blend's 3x3
    maximum.
    """
    from live_core.attention import AttentionPlan
    from live_core.masks import MaskRule, word_mask
    from live_core.prompts import read_prompt
    from live_core.taps import WordTap

    generator, scores = torch.Generator().manual_seed(0), []
    for i in range(count):
        clip = make_picture(HELD_OUT + 10_000 + i, "one" if i % 3 else "two")[0].resized(size / SIZE)
        caption = f"{' and '.join('a ' + thing.name for thing in clip.things)} {SCENES[clip.scene].place}"
        latents = model.encode_frames(torch.from_numpy(clip.frames()).float() / 255)
        cells = model.unet.map_size(*latents.shape[-2:])
        tap = WordTap(model.unet.map_level)
        for t in NOISE_LEVELS:
            noisy = model.schedule.add_noise(latents, torch.randn(latents.shape, generator=generator), t)
            model.unet(noisy[None], t, model.encode_text(caption)[None], plan=AttentionPlan(tap=tap))
        tokens = read_prompt(caption, model.tokenizer).tokens_of(clip.things[0].shape)
        true = torch.from_numpy(clip.masks(0)[0]).float()
        perfect = F.adaptive_avg_pool2d(true[None], cells).reshape(1, -1, 1)
        rule = MaskRule(THRESHOLD, int(grow), smooth=True)
        found = [
            word_mask(maps, words, cells, true.shape, rule)[0] > 0
            for maps, words in ((tap.maps[0], tokens), (perfect, [0]))
        ]
        scores.append([float((mask & (true > 0.5)).sum() / (mask | (true > 0.5)).sum().clamp_min(1)) for mask in found])
    ours, ceiling = np.mean(scores, 0)
    return float(ours), float(ceiling)
