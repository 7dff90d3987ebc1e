"""The U-Net with a picture beside the noise, trained to do as instructions say (InstructPix2Pix, Brooks et al. 2023).

The world knows the right answer to an instruction, so its pairs are exact: nothing but what was asked for differs.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from ..data import CELL, Pictures
from ..instructions import KINDS, instruct
from ..tokenizer import CONTEXT, INSTRUCTION_WORDS, save_tokenizer
from ..world import make_picture
from .autoencoder import cached_latents
from .diffusion import draw_timesteps
from .run import DEVICE, Run, copy_missing_parts, export, rng_for

CHANNELS = 8  # four noisy ones, then the picture's
BATCH = 8
PICTURE_KINDS = {"one": 0.62, "two": 0.2, "wide": 0.1, "free": 0.08}
CHANGE_WEIGHT = 4  # how much more a latent pixel that the instruction changes counts
# Of the steps: the picture dropped; both; the text; for the three streams of guidance.
DROPPED = {"picture": 0.05, "both": 0.05, "text": 0.05}
EXPORT_EVERY = 500


@dataclass
class Pairs:
    """`pictures`: before and after of one instruction follow each other, so pair i is of rows 2i and 2i + 1."""

    pictures: Pictures
    instructions: list[str]

    def __len__(self) -> int:
        return len(self.instructions)


def draw_pair(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Before and after (size, size, 3) uint8, and the instruction."""
    rng = np.random.default_rng((seed, 2))
    clip, _ = make_picture(seed, str(rng.choice(list(PICTURE_KINDS), p=list(PICTURE_KINDS.values()))), size)
    text, after = instruct(clip, str(rng.choice(list(KINDS), p=list(KINDS.values()))), rng)
    return clip.frames()[0], after.frames()[0], text


def load_or_draw_pairs(work: Path, count: int, size: int) -> Pairs:
    """The first `count` training pairs, memory-mapped from `work`, drawn there by two processes when absent."""
    folder = work / f"pairs-{size}-{count}"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        draft.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(draft / "images.npy", "w+", np.uint8, (2 * count, size, size, 3))
        texts = []
        with ProcessPoolExecutor(2) as pool:
            drawn = pool.map(partial(draw_pair, size=size), range(count), chunksize=64)
            for i, (before, after, text) in enumerate(drawn):
                images[2 * i], images[2 * i + 1] = before, after
                texts.append(text)
        images.flush()
        (draft / "instructions.json").write_text(json.dumps(texts))
        draft.rename(folder)
    images = np.load(folder / "images.npy", mmap_mode="r")
    nothing = np.zeros((0,), np.uint8)
    texts = json.loads((folder / "instructions.json").read_text())
    return Pairs(Pictures(images, nothing, nothing, [text for text in texts for _ in ("before", "after")], []), texts)


def build_instruct(base: Path, folder: Path, side: int):
    """(U-Net, text encoder, tokenizer, scheduler) that start as `base` does: the picture's channels weigh nothing yet,
    the instructions' words are those of a fresh text encoder."""
    from live_core.vocabulary import load_tokenizer

    from .diffusion import build_diffusion

    if not (folder / "tokenizer").exists():
        save_tokenizer(folder / "tokenizer", INSTRUCTION_WORDS)
    torch.manual_seed(0)
    unet, text_encoder, tokenizer, scheduler = build_diffusion(folder / "tokenizer", side, CHANNELS)
    weights = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    weights["conv_in.weight"] = F.pad(weights["conv_in.weight"], (0, 0, 0, 0, 0, CHANNELS - 4))
    unet.load_state_dict(weights)
    texts = load_file(base / "text_encoder" / "model.safetensors")
    words = "text_model.embeddings.token_embedding.weight"
    known = load_tokenizer(base / "tokenizer", CONTEXT).get_vocab()
    embeddings = text_encoder.state_dict()[_named(text_encoder, words)].clone()
    source = texts[_named(texts, words)]
    for token, index in tokenizer.get_vocab().items():
        if token in known:
            embeddings[index] = source[known[token]].to(embeddings)
    texts = {name: tensor.float() for name, tensor in texts.items()} | {_named(texts, words): embeddings}
    text_encoder.load_state_dict(texts)
    return unet, text_encoder, tokenizer, scheduler


def _named(tensors, ending: str) -> str:
    names = tensors if isinstance(tensors, dict) else tensors.state_dict()
    return next(name for name in names if name.endswith(ending.removeprefix("text_model.")))


@dataclass
class Batch:
    """`x0`, `noise` (b, 4, h, w): the scaled answer, and what hides it; `picture` (b, 4, h, w): unscaled, as
    InstructPix2Pix has it; `weight` (b, h, w); `t` (b,)."""

    x0: torch.Tensor
    noise: torch.Tensor
    picture: torch.Tensor
    weight: torch.Tensor
    t: torch.Tensor
    texts: list[str]


def draw_batch(
    step: int, pairs: Pairs, latents: tuple[np.ndarray, np.ndarray], scaling: float, size: int = BATCH
) -> Batch:
    rng, generator = rng_for(step, 4)
    rows = np.sort(rng.choice(len(pairs), size, replace=False))
    mean, std = (torch.from_numpy(array[2 * rows + 1].astype(np.float32)) for array in latents)
    picture = torch.from_numpy(latents[0][2 * rows].astype(np.float32)) / scaling
    before, after = (pairs.pictures.images[2 * rows + i].astype(np.int16) for i in (0, 1))
    changed = torch.from_numpy((np.abs(after - before).max(-1) > 4).astype(np.float32))
    weight = 1 + CHANGE_WEIGHT * F.max_pool2d(F.avg_pool2d(changed[:, None], CELL), 3, 1, 1)[:, 0].clamp(max=1)
    texts = [pairs.instructions[row] for row in rows]
    for i, u in enumerate(rng.random(size)):
        if u < DROPPED["picture"] + DROPPED["both"]:
            picture[i] = 0
        if DROPPED["picture"] <= u < sum(DROPPED.values()):
            texts[i] = ""
    strata = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
    x0 = mean + std * torch.randn(mean.shape, generator=generator)
    return Batch(x0, torch.randn(x0.shape, generator=generator), picture, weight, draw_timesteps(strata), texts)


def train_instruct(work: Path, base: Path, to: Path, steps: int, pairs: Pairs) -> None:
    """Noise prediction with min-SNR weights (gamma 5), the text encoder trained along, warm-started from `base`."""
    latents = cached_latents(base, pairs.pictures, work)
    copy_missing_parts(base, to, ("vae", "scheduler"))
    unet, text_encoder, tokenizer, scheduler = build_instruct(base, to, latents[0].shape[-1])
    scaling = json.loads((base / "vae" / "config.json").read_text())["scaling_factor"]
    unet.to(DEVICE, memory_format=torch.channels_last)
    modules = {"unet": unet, "text_encoder": text_encoder.to(DEVICE)}
    run = Run("instruct", work, modules, lr=6e-4, steps=steps, average=0.999)
    while run.step < steps:
        batch = draw_batch(run.step, pairs, latents, scaling)
        a = scheduler.alphas_cumprod[batch.t].view(-1, 1, 1, 1)
        noisy = torch.cat([a.sqrt() * batch.x0 + (1 - a).sqrt() * batch.noise, batch.picture], 1)
        ids = tokenizer(
            batch.texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt"
        ).input_ids
        text = text_encoder(ids.to(DEVICE)).last_hidden_state
        noisy = noisy.to(DEVICE, memory_format=torch.channels_last)
        error = (unet(noisy, batch.t.to(DEVICE), text).sample - batch.noise.to(DEVICE)).square().mean(1)
        snr = (a / (1 - a))[:, 0]
        loss = ((snr.clamp(max=5) / snr * batch.weight).to(DEVICE) * error).mean()
        run.update(loss, noise=error.detach().mean())
        if run.step % EXPORT_EVERY == 0 or run.step == steps:
            for name in modules:
                export(run.averaged(name), to / name)
