"""The autoencoder, trained from nothing, and the latents of the training pictures, encoded once."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data import CELL, Pictures
from .run import DEVICE, Run, export, rng_for, to_tensor

CROP_STEPS = 2600


def build_autoencoder():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=128,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        mid_block_add_attention=False,
    )


def load_autoencoder(model: Path):
    from live_core.folders import read_autoencoder

    return read_autoencoder(model / "vae", torch.float32).requires_grad_(True)


def train_autoencoder(work: Path, to: Path, steps: int, pictures: Pictures) -> None:
    """Four 64-pixel crops a step, then whole pictures one at a time, with a light KL.

    Many small steps beat few large ones here: a picture holds 16,384 pixels or more, so even one is a large batch.
    """
    torch.manual_seed(0)
    vae = build_autoencoder().to(DEVICE, memory_format=torch.channels_last)
    run = Run("autoencoder", work, {"vae": vae}, lr=1.5e-3, steps=steps, average=0.998)
    while run.step < steps:
        rng, generator = rng_for(run.step, 1)
        whole = run.step >= CROP_STEPS
        rows = np.sort(rng.choice(len(pictures), 1 if whole else 4, replace=False))
        images = pictures.images[rows]
        if not whole:
            corners = rng.integers(0, images.shape[1] - 63, (len(rows), 2))
            images = np.stack([image[y : y + 64, x : x + 64] for image, (y, x) in zip(images, corners, strict=True)])
        x = to_tensor(images)
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator).to(DEVICE)
        y = vae.decode(z).sample
        kl = posterior.kl().mean() / z[0].numel()
        run.update(picture_loss(y, x) + 1e-5 * kl, kl=kl.detach(), psnr=psnr(y, x))
    vae = run.averaged("vae").to(DEVICE, memory_format=torch.channels_last)
    with torch.no_grad():
        parts = np.split(pictures.images[:256], 16)
        latents = torch.cat([vae.encode(to_tensor(part)).latent_dist.mean for part in parts])
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    export(vae, to / "vae")


def picture_loss(y: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """L1, squared error and L1 of edges, of pictures (n, 3, h, w); `weight` (n, 1, h, w) has mean one.

    The squared error keeps the colour of small things, which L1 alone gives up for the background's.
    """
    weight = torch.ones_like(x[:, :1]) if weight is None else weight
    error, pixel = y - x, weight * (y - x).abs()
    edges = (weight[..., 1:, :] * error.diff(dim=2).abs()).mean() + (weight[..., 1:] * error.diff(dim=3).abs()).mean()
    return pixel.mean() + 4 * (weight * error.square()).mean() + 0.5 * edges


def psnr(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return -10 * torch.log10(F.mse_loss(y.detach(), x) / 4)


# ---------------------------------------------------------------------------------------------------- cached latents
def cached_latents(base: Path, pictures: Pictures, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every picture's latent, each (n, 4, s/8, s/8) float16, scaled by the VAE's factor.

    Encoded once, by two processes, and memory-mapped.
    """
    paths = [work / f"latents-{pictures.images.shape[1]}-{len(pictures)}-{name}.npy" for name in ("mean", "std")]
    if not paths[1].exists():
        side = pictures.images.shape[1] // CELL
        shape = (len(pictures), 4, side, side)
        arrays = [np.lib.format.open_memmap(path.with_suffix(".draft"), "w+", np.float16, shape) for path in paths]
        chunks = range(0, len(pictures), 50)
        images = Path(pictures.images.filename)
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            for start, rows in zip(chunks, pool.map(partial(_encode, base, images), chunks), strict=True):
                for array, row in zip(arrays, rows, strict=True):
                    array[start : start + 50] = row
        for array, path in zip(arrays, paths, strict=True):
            array.flush()
            path.with_suffix(".draft").rename(path)
    return tuple(np.load(path, mmap_mode="r") for path in paths)


_loaded: dict[Path, object] = {}


@torch.no_grad()
def _encode(base: Path, images: Path, start: int) -> tuple[np.ndarray, np.ndarray]:
    torch.set_num_threads(1)
    if base not in _loaded:
        _loaded[base] = load_autoencoder(base).to(DEVICE, memory_format=torch.channels_last)
    vae = _loaded[base]
    rows = np.load(images, mmap_mode="r")[start : start + 50]
    with torch.autocast(DEVICE, torch.bfloat16):  # four times as fast, at an error of a posterior deviation
        parts = [vae.encode(to_tensor(part)).latent_dist for part in np.array_split(rows, 5)]
    factor = vae.config.scaling_factor
    return tuple(
        (factor * torch.cat(values)).float().cpu().half().numpy()
        for values in ([p.mean for p in parts], [p.std for p in parts])
    )
