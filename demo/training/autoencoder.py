"""The autoencoder, trained whole, and the latents of the training pictures, encoded once."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..data import CELL, Pictures
from .run import DEVICE, PARTS, Run, copy_missing_parts, export, half_precision, rng_for, to_tensor

THING_WEIGHT = 4  # how much more a pixel in a thing's cell, or in one next to it, counts


def load_autoencoder(model: Path):
    from live_core.folders import read_autoencoder

    return read_autoencoder(model / "vae", torch.float32).requires_grad_(True)


def train_autoencoder(
    work: Path, base: Path, to: Path, steps: int, pictures: Pictures, batch: int = 1, minutes: float | None = None
) -> None:
    """From the weights in `base`, on whole pictures, with a light KL. A U-Net must learn its latents anew.

    Many small steps beat few large ones on a CPU: a picture holds 16,384 pixels or more, so even one is a large batch.
    """
    vae = load_autoencoder(base).to(DEVICE, memory_format=torch.channels_last)
    copy_missing_parts(base, to)
    run = Run("autoencoder", work, {"vae": vae}, lr=1e-3, steps=steps, average=0.999, minutes=minutes)
    while run.done < 1:
        rng, generator = rng_for(run.step, 1)
        rows = np.sort(rng.choice(len(pictures), batch, replace=False))
        x = to_tensor(pictures.images[rows])
        run.learn(
            partial(_losses, vae),
            x=x,
            weight=weigh(torch.from_numpy(pictures.masks[rows]).to(DEVICE)),
            noise=torch.randn(batch, 4, *(side // CELL for side in x.shape[2:]), generator=generator).to(DEVICE),
        )
    vae = run.averaged("vae").to(DEVICE, memory_format=torch.channels_last)
    with torch.no_grad():
        parts = np.split(pictures.images[:256], 16)
        latents = torch.cat([vae.encode(to_tensor(part)).latent_dist.mean for part in parts])
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    export(vae.cpu(), to / "vae")


def weigh(masks: torch.Tensor) -> torch.Tensor:
    """(n, things, h, w) masks by cells to (n, 1, 8h, 8w) weights of mean one, more for things and what is near them."""
    things = F.max_pool2d((masks.amax(1, keepdim=True) > 0).float(), 3, 1, 1)
    weight = F.interpolate(1 + THING_WEIGHT * things, scale_factor=CELL)
    return weight / weight.mean()


def _losses(vae, x: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
    with half_precision():
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.mean + posterior.std * noise).sample
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    y = y.float()
    return {"loss": picture_loss(y, x, weight) + 1e-5 * kl, "kl": kl, "psnr": psnr(y, x)}


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


# ----------------------------------------------------------------------------------------------------------- latents
CHUNK = 200  # pictures that a process encodes at a time


def named_latents(model: Path) -> str:
    """Eight hex digits that tell apart models whose autoencoders make other latents; decoders may differ."""
    from live_core.pretrained import fingerprint_of

    vae = load_autoencoder(model)
    encoder = {n: tensor for n, tensor in vae.state_dict().items() if n.startswith(("encoder.", "quant_conv."))}
    return fingerprint_of({**encoder, "factor": torch.tensor(vae.config.scaling_factor)})[:8]


def prepare(base: Path, to: Path, parts: tuple[str, ...] = PARTS) -> None:
    """`copy_missing_parts`, where what is written to `to` will have learned the latents of `base`."""
    copy_missing_parts(base, to, parts)
    if named_latents(base) != named_latents(to):
        raise SystemExit(
            f"the autoencoder in {to} makes other latents than the one in {base}, which would be learned: "
            f"give another --to, or a --base that has the same"
        )


def cached_latents(base: Path, pictures: Pictures, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every picture's latent, each (n, 4, s/8, s/8) float16, scaled by the VAE's factor.

    Encoded once, by all cores or the GPU, and memory-mapped.
    """
    kept = f"latents-{pictures.images.shape[1]}-{len(pictures)}-{named_latents(base)}"
    paths = [work / f"{kept}-{name}.npy" for name in ("mean", "std")]
    if not paths[1].exists():
        side = pictures.images.shape[1] // CELL
        shape = (len(pictures), 4, side, side)
        arrays = [np.lib.format.open_memmap(path.with_suffix(".draft"), "w+", np.float16, shape) for path in paths]
        chunks = range(0, len(pictures), CHUNK)
        images = Path(pictures.images.filename)
        workers = 1 if DEVICE == "cuda" else os.cpu_count()
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for start, rows in zip(chunks, pool.map(partial(_encode, base, images), chunks), strict=True):
                for array, row in zip(arrays, rows, strict=True):
                    array[start : start + CHUNK] = row
        for array, path in zip(arrays, paths, strict=True):
            array.flush()
            path.with_suffix(".draft").rename(path)
    return tuple(np.load(path, mmap_mode="c") for path in paths)


_loaded: dict[Path, object] = {}


@torch.no_grad()
def _encode(base: Path, images: Path, start: int) -> tuple[np.ndarray, np.ndarray]:
    torch.set_num_threads(1)
    if base not in _loaded:
        _loaded[base] = load_autoencoder(base).to(DEVICE, memory_format=torch.channels_last)
    vae = _loaded[base]
    rows = np.load(images, mmap_mode="r")[start : start + CHUNK]
    with torch.autocast(DEVICE, torch.bfloat16):  # four times as fast, at an error of a posterior deviation
        parts = [vae.encode(to_tensor(part)).latent_dist for part in np.array_split(rows, 10)]
    factor = vae.config.scaling_factor
    return tuple(
        (factor * torch.cat(values)).float().cpu().half().numpy()
        for values in ([p.mean for p in parts], [p.std for p in parts])
    )
