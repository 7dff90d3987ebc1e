"""The autoencoder's decoder alone, made finer: the encoder, and so all latents, stay as they were."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data import CELL, HELD_OUT, Pictures
from ..world import make_picture
from .autoencoder import THING_WEIGHT, cached_latents, load_autoencoder, picture_loss, prepare, psnr
from .run import DEVICE, FALL, Run, export, rng_for, to_tensor

WINDOW = 12  # cells to a side of what the decoder is shown of a picture
WHOLE = 0.2  # of the steps show it all
CHECK_EVERY = 500  # steps from one look at held-out pictures to the next


def train_decoder(work: Path, base: Path, to: Path, steps: int, pictures: Pictures) -> None:
    """Windows on things, from cached latents; one step in five, and all while the rate falls, whole pictures.

    A window costs a quarter of a whole picture and holds all that is hard in it; whole ones keep the group norms to the
    statistics of whole pictures. Exported when held-out things come out better than by what was exported before, the
    base's own decoder first of all.
    """
    prepare(base, to)
    vae = load_autoencoder(base)
    latents = cached_latents(base, pictures, work)
    vae.to(DEVICE, memory_format=torch.channels_last).requires_grad_(False)
    decoder = torch.nn.ModuleDict({"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder}).requires_grad_(True)
    run = Run("decoder", work, {"decoder": decoder}, lr=1e-3, steps=steps, average=0.999, captured=False)
    held_out = held_out_pictures(vae, 24, pictures.images.shape[1])
    if run.step == 0:
        run.best = thing_error(decoder, held_out)
        run.log(held_out=run.best)
    while run.step < steps:
        rng, generator = rng_for(run.step, 3)
        row = rng.integers(len(pictures))
        whole = rng.random() < WHOLE or run.step >= (1 - FALL) * steps
        things = pictures.masks[row].max(0) > 0
        cells = (slice(0, len(things)),) * 2 if whole else choose_window(things, rng)
        x = to_tensor(pictures.images[(row, *(slice(CELL * s.start, CELL * s.stop) for s in cells))][None])
        mean, std = (torch.from_numpy(array[(row, slice(None), *cells)].astype(np.float32))[None] for array in latents)
        z = (mean + std * torch.randn(mean.shape, generator=generator)).to(DEVICE) / vae.config.scaling_factor
        weight = F.interpolate(torch.from_numpy(window_weight(things, cells))[None, None].to(DEVICE), scale_factor=CELL)
        run.learn(partial(_losses, decoder), z=z, x=x, weight=weight / weight.mean())
        if run.step % CHECK_EVERY == 0 or run.step == steps:
            _export_if_better(run, vae, held_out, to)


def _losses(decoder, z: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    y = decode(decoder, z)
    return {"loss": picture_loss(y, x, weight), "psnr": psnr(y, x)}


def choose_window(things: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of cells around one with a thing, `things` (h, w) bool; anywhere when there are none."""
    cells = np.argwhere(things if things.any() else ~things)
    corner = cells[rng.integers(len(cells))] - rng.integers(2, WINDOW - 2, 2)
    corner = np.clip(corner, 0, np.array(things.shape) - WINDOW)
    return tuple(slice(int(start), int(start) + WINDOW) for start in corner)


def window_weight(things: np.ndarray, cells: tuple[slice, slice]) -> np.ndarray:
    """(rows, columns) float32: a cell's weight, nothing where the window cuts a cell's neighbours off."""
    weight = 1 + THING_WEIGHT * F.max_pool2d(torch.from_numpy(things)[None].float(), 3, 1, 1)[0].numpy()
    inside = np.zeros_like(weight)
    rows, columns = (
        slice(s.start + (s.start > 0), s.stop - (s.stop < side)) for s, side in zip(cells, things.shape, strict=True)
    )
    inside[rows, columns] = 1
    return (inside * weight)[cells]


def decode(decoder: torch.nn.ModuleDict, z: torch.Tensor) -> torch.Tensor:
    return decoder["decoder"](decoder["post_quant_conv"](z))


def _export_if_better(run: Run, vae, held_out, to: Path) -> None:
    averaged = run.averaged("decoder").to(DEVICE, memory_format=torch.channels_last)
    error = thing_error(averaged, held_out)
    run.log(held_out=error, best=run.best)
    if error < run.best:
        run.best = error
        whole = copy.deepcopy(vae).to("cpu", memory_format=torch.contiguous_format)
        whole.decoder.load_state_dict(averaged["decoder"].state_dict())
        whole.post_quant_conv.load_state_dict(averaged["post_quant_conv"].state_dict())
        export(whole, to / "vae")


@torch.no_grad()
def held_out_pictures(vae, count: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(picture, latent, mask of its thing), each with a leading 1."""
    out = []
    for seed in range(HELD_OUT + 30_000, HELD_OUT + 30_000 + count):
        clip, _ = make_picture(seed, ("one", "free")[seed % 2], size)
        x = to_tensor(clip.frames())
        mask = torch.from_numpy(clip.masks(0)[:, None] > 0.01).to(DEVICE)
        out.append((x, vae.encode(x).latent_dist.mean, mask))
    return out


@torch.no_grad()
def thing_error(decoder: torch.nn.ModuleDict, held_out) -> float:
    """Mean absolute difference 0..1 within the things."""

    def error(x, z, mask):
        return (decode(decoder, z).clamp(-1, 1) - x).abs().mean(1, keepdim=True)[mask].mean() / 2

    return float(torch.stack([error(*row) for row in held_out]).mean())
