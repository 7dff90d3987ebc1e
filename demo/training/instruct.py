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
from .autoencoder import cached_latents, prepare
from .diffusion import draw_timesteps, on_device
from .run import DEVICE, Run, export, half_precision, rate_for

CHANNELS = 8  # four noisy ones, then the picture's
BATCH = 8
PICTURE_KINDS = {"one": 0.62, "two": 0.2, "wide": 0.1, "free": 0.08}
CHANGE_WEIGHT = 4  # how much more a latent pixel that the instruction changes counts
# Of the steps: the picture dropped; both; the text; for the three streams of guidance.
DROPPED = {"picture": 0.05, "both": 0.05, "text": 0.05}


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
    """The first `count` training pairs, memory-mapped from `work`, drawn there on all cores when absent."""
    folder = work / f"pairs-{size}-{count}"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        draft.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(draft / "images.npy", "w+", np.uint8, (2 * count, size, size, 3))
        texts = []
        with ProcessPoolExecutor() as pool:
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
class Material:
    """All that batches are drawn from, on the device: `mean`, `std` (2 n, 4, h, w), before and after by turns; `weight`
    (n, h, w); `ids` (n, CONTEXT) and `empty` (CONTEXT,)."""

    mean: torch.Tensor
    std: torch.Tensor
    weight: torch.Tensor
    ids: torch.Tensor
    empty: torch.Tensor


def load_material(base: Path, pairs: Pairs, work: Path, tokenizer) -> Material:
    def read(texts: list[str]) -> torch.Tensor:
        said = tokenizer(texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")
        return said.input_ids.to(DEVICE)

    images = pairs.pictures.images
    weight = [_weigh(images[2 * i : 2 * i + 400]) for i in range(0, len(pairs), 200)]
    mean, std = map(on_device, cached_latents(base, pairs.pictures, work))
    return Material(mean, std, torch.cat(weight).to(DEVICE), read(pairs.instructions), read([""])[0])


def _weigh(images: np.ndarray) -> torch.Tensor:
    """(n, h, w) of (2 n, s, s, 3) uint8: how much each cell counts."""
    before, after = (images[i::2].astype(np.int16) for i in (0, 1))
    changed = torch.from_numpy((np.abs(after - before).max(-1) > 4).astype(np.float32))
    return 1 + CHANGE_WEIGHT * F.max_pool2d(F.avg_pool2d(changed[:, None], CELL), 3, 1, 1)[:, 0].clamp(max=1)


def draw_batch(step: int, material: Material, scaling: float, size: int = BATCH) -> dict[str, torch.Tensor]:
    """`x0`, `noise` (b, 4, h, w): the scaled answer, and what hides it; `picture` (b, 4, h, w): unscaled, as
    InstructPix2Pix has it; `weight` (b, h, w); `t` (b,); `ids` (b, CONTEXT)."""
    g = torch.Generator(DEVICE).manual_seed(40_000_000 + step)
    like = {"generator": g, "device": DEVICE}
    rows = torch.randint(len(material.ids), (size,), **like)
    mean, std = (array[2 * rows + 1].float() for array in (material.mean, material.std))
    u = torch.rand(size, **like)
    shown = u >= DROPPED["picture"] + DROPPED["both"]
    said = (u < DROPPED["picture"]) | (u >= sum(DROPPED.values()))
    strata = (torch.randperm(size, **like) + torch.rand(size, **like)) / size
    return {
        "x0": mean + std * torch.randn(mean.shape, **like),
        "noise": torch.randn(mean.shape, **like),
        "picture": material.mean[2 * rows].float() / scaling * shown[:, None, None, None],
        "weight": material.weight[rows],
        "t": draw_timesteps(strata),
        "ids": torch.where(said[:, None], material.ids[rows], material.empty),
    }


def train_instruct(
    work: Path, base: Path, to: Path, steps: int, pairs: Pairs, batch: int = BATCH, minutes: float | None = None
) -> None:
    """Noise prediction with min-SNR weights (gamma 5), the text encoder trained along, warm-started from `base`."""
    prepare(base, to, ("vae", "scheduler"))
    unet, text_encoder, tokenizer, scheduler = build_instruct(base, to, pairs.pictures.images.shape[1] // CELL)
    scaling = json.loads((base / "vae" / "config.json").read_text())["scaling_factor"]
    material = load_material(base, pairs, work, tokenizer)
    unet.to(DEVICE, memory_format=torch.channels_last)
    modules = {"unet": unet, "text_encoder": text_encoder.to(DEVICE)}
    run = Run("instruct", work, modules, rate_for(6e-4, batch, BATCH), steps, average=0.999, minutes=minutes)
    losses = partial(_losses, modules, scheduler.alphas_cumprod.to(DEVICE))
    while run.done < 1:
        if run.learn(losses, **draw_batch(run.step, material, scaling, batch)):
            for name in modules:
                export(run.averaged(name), to / name)


def _losses(modules, alphas: torch.Tensor, x0, noise, picture, weight, t, ids) -> dict[str, torch.Tensor]:
    a = alphas[t].view(-1, 1, 1, 1)
    noisy = torch.cat([a.sqrt() * x0 + (1 - a).sqrt() * noise, picture], 1)
    with half_precision():
        text = modules["text_encoder"](ids).last_hidden_state
        predicted = modules["unet"](noisy.contiguous(memory_format=torch.channels_last), t, text).sample
    error = (predicted.float() - noise).square().mean(1)
    snr = (a / (1 - a))[:, 0]
    return {"loss": (snr.clamp(max=5) / snr * weight * error).mean(), "noise": error.mean()}
