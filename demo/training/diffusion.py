"""The U-Net and the text encoder, trained together to predict noise in latents of the sprite world."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file

from ..data import Pictures
from ..tokenizer import CONTEXT, save_tokenizer
from .autoencoder import cached_latents
from .looks import TOKENS, Caption, LookEncoder, encode_with, look_of, place, read_caption
from .run import DEVICE, Run, copy_missing_parts, export, rng_for, to_tensor, write_safetensors

BATCH = 8
THING_WEIGHT = 4  # how much more a latent pixel on a thing, or next to one, counts
LOCATED = 0.1  # cumulative alpha from which a noisy picture shows where its things are
NOISE_ALONE = 0.05  # cumulative alpha below which nobody knows yet where a thing will be
SHAPING = (0.45, 0.97)  # part of the timesteps in which shapes are decided: drawn 3 times as often
LOCALISATION_WEIGHT = 0.03
FLOOR = 4e-6  # of a mask: a hidden thing is looked for everywhere alike
DROPPED = 0.1  # of the captions, for guidance
LOOK_SHARE = {True: 0.9, False: 0.25}  # of the pictures with a thing that has no words, of those without one
EXPORT_EVERY = 500
LOOKS = "looks/model"


def build_diffusion(tokenizer_folder: Path, side: int, channels: int = 4):
    """(U-Net, text encoder, tokenizer, scheduler), untrained, for latents of `side` and an input of `channels`.

    ``attention_head_dim`` counts heads, as in SD 1.x.
    """
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from live_core.vocabulary import load_tokenizer

    if not tokenizer_folder.exists():  # the merges' order differs from build to build, and weights stand on it
        save_tokenizer(tokenizer_folder)
    tokenizer = load_tokenizer(tokenizer_folder, CONTEXT)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=128,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=side,
        in_channels=channels,
        block_out_channels=(48, 96, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=(3, 4, 4),
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return unet, text_encoder, tokenizer, scheduler


class WordMaps:
    """Cross-attention that keeps its probabilities at the two finest resolutions for a loss on them.

    `side` is that of the finest; which of the two local blend reads depends on the size of the picture.
    """

    def __init__(self, side: int):
        self.maps: dict[int, list[torch.Tensor]] = {side: [], side // 2: []}

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        q, k, v = (
            rearrange(x, "b n (h d) -> b h n d", h=attn.heads)
            for x in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        probabilities = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        side = math.isqrt(q.shape[2])
        if side in self.maps:
            self.maps[side].append(probabilities.mean(1))
        return attn.to_out[0](rearrange(probabilities @ v, "b h n d -> b n (h d)"))

    def localisation_loss(self, rows: torch.Tensor, tokens: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Cross-entropy between words' normalised maps and their things' normalised masks, less the masks' own entropy.

        `rows`, `tokens` (k,): where in the batch and in the caption; `masks` (k, side, side) 0..1. Words of so small a
        training do not localise by themselves, and local blend and word swap stand on localised words.
        """
        losses = []
        for side, maps in self.maps.items():
            true = F.adaptive_avg_pool2d(masks, side).flatten(1) + FLOOR
            true = true / true.sum(-1, keepdim=True)
            ours = torch.stack(maps).mean(0)[rows, :, tokens]
            ours = ours / ours.sum(-1, keepdim=True)
            losses.append((torch.xlogy(true, true) - true * (ours + 1e-6).log()).sum(-1).mean())
        return torch.stack(losses).mean()

    def clear(self) -> None:
        for maps in self.maps.values():
            maps.clear()


@dataclass
class Batch:
    """`x0`, `noise` (b, 4, h, w), `t` (b,), `masks` (b, 2, h, w) 0..1; `looks` (m, 4, LOOK, LOOK) and `look_noise`
    (m, TOKENS, d) of the captions that tell one."""

    x0: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    captions: list[Caption]
    masks: torch.Tensor
    looks: torch.Tensor
    look_noise: torch.Tensor


def draw_batch(step: int, pictures: Pictures, latents: tuple[np.ndarray, np.ndarray], size: int = BATCH) -> Batch:
    rng, generator = rng_for(step, 2)
    rows = np.sort(rng.choice(len(pictures), size, replace=False))
    mean, std = (torch.from_numpy(array[rows].astype(np.float32)) for array in latents)
    x0 = mean + std * torch.randn(mean.shape, generator=generator)
    captions = [_tell(pictures.captions[row], pictures.names[row], rng) for row in rows]
    told = [row for row, caption in zip(rows, captions, strict=True) if caption.told]
    strata = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
    return Batch(
        x0,
        torch.randn(x0.shape, generator=generator),
        draw_timesteps(strata),
        captions,
        torch.from_numpy(pictures.masks[rows]).float() / 255,
        to_tensor(pictures.looks[told]),
        torch.randn(len(told), TOKENS, 128, generator=generator).to(DEVICE),
    )


def _tell(caption: str, names: list[str], rng: np.random.Generator) -> Caption:
    """The caption as training says it this time: dropped, in words, or with its look told by one to four words."""
    if rng.random() < DROPPED:
        return Caption("", ())
    by_look = names and rng.random() < LOOK_SHARE["thing" in names]
    return read_caption(caption, names, look_of(names) if by_look else None, int(rng.integers(1, TOKENS + 1)))


def draw_timesteps(u: torch.Tensor) -> torch.Tensor:
    """Timesteps 0..999 for `u` (n,) in 0..1: half of them evenly over all noise levels, half over `SHAPING` alone."""
    low, high = SHAPING
    inside = 0.5 + 0.5 / (high - low)  # density within; 0.5 outside
    edges = torch.tensor([0.0, 0.5 * low, 0.5 * low + inside * (high - low)])
    starts, densities = torch.tensor([0.0, low, high]), torch.tensor([0.5, inside, 0.5])
    part = torch.bucketize(u, edges[1:], right=True)
    return ((starts[part] + (u - edges[part]) / densities[part]) * 1000).long().clamp(max=999)


def train_diffusion(work: Path, base: Path, to: Path, steps: int, pictures: Pictures) -> None:
    """Noise prediction with min-SNR weights (gamma 5), the text encoder trained along, and the localisation loss.

    Starts from the weights in `base`, and from its looks where it has them.
    """
    latents = cached_latents(base, pictures, work)
    torch.manual_seed(0)
    unet, text_encoder, tokenizer, scheduler = build_diffusion(base / "tokenizer", pictures.masks.shape[-1])
    looks = LookEncoder()
    for module, file in ((unet, "unet/diffusion_pytorch_model"), (text_encoder, "text_encoder/model"), (looks, LOOKS)):
        if (base / f"{file}.safetensors").exists():
            module.load_state_dict(load_file(base / f"{file}.safetensors"))
    unet.to(DEVICE, memory_format=torch.channels_last)
    recorder = WordMaps(pictures.masks.shape[-1])
    unet.set_attn_processor({n: recorder if "attn2" in n else p for n, p in unet.attn_processors.items()})
    modules = {"unet": unet, "text_encoder": text_encoder.to(DEVICE), "looks": looks.to(DEVICE)}
    run = Run("diffusion", work, modules, lr=7e-4, steps=steps, average=0.999)
    copy_missing_parts(base, to)
    while run.step < steps:
        batch = draw_batch(run.step, pictures, latents)
        abar = scheduler.alphas_cumprod[batch.t]
        error = (_predict(modules, tokenizer, batch, abar) - batch.noise.to(DEVICE)).square().mean(1)
        loss = (_weight(batch.masks, abar).to(DEVICE) * error).mean()
        localisation = _localisation(recorder, batch, abar)
        run.update(
            loss + LOCALISATION_WEIGHT * localisation, noise=error.detach().mean(), localisation=localisation.detach()
        )
        recorder.clear()
        if run.step % EXPORT_EVERY == 0 or run.step == steps:
            export_diffusion(run, to)


def _predict(modules, tokenizer, batch: Batch, abar: torch.Tensor) -> torch.Tensor:
    texts = [caption.text for caption in batch.captions]
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt").input_ids
    offsets = place(modules["looks"](batch.looks, batch.look_noise), batch.captions)
    a = abar.view(-1, 1, 1, 1)
    noisy = (a.sqrt() * batch.x0 + (1 - a).sqrt() * batch.noise).to(DEVICE, memory_format=torch.channels_last)
    text = encode_with(modules["text_encoder"], ids.to(DEVICE), offsets)
    return modules["unet"](noisy, batch.t.to(DEVICE), text).sample


def _weight(masks: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:
    """(b, h, w): min-SNR times the weight of things.

    Things fill a tenth of a picture and hold all that is hard in it. While nobody can know where they are, weighting
    them would teach the model to expect things everywhere.
    """
    snr = abar / (1 - abar)
    around = F.max_pool2d(masks.amax(1, keepdim=True), 3, 1, 1)[:, 0]
    return (snr.clamp(max=5) / snr)[:, None, None] * (1 + THING_WEIGHT * around * (abar > LOCATED)[:, None, None])


def _localisation(recorder: WordMaps, batch: Batch, abar: torch.Tensor) -> torch.Tensor:
    at = [
        (row, token, which)
        for row, caption in enumerate(batch.captions)
        if abar[row] > NOISE_ALONE
        for token, which in caption.words
    ]
    if not at:
        return torch.zeros((), device=DEVICE)
    row, token, which = torch.tensor(at).T
    return recorder.localisation_loss(row, token, batch.masks[row, which].to(DEVICE))


def export_diffusion(run: Run, to: Path) -> None:
    """Write the averaged weights in half precision; the encoder of looks, too, for a later training to start from."""
    for name in ("unet", "text_encoder"):
        export(run.averaged(name), to / name)
    (to / LOOKS).parent.mkdir(exist_ok=True)
    looks = {n: p.half() for n, p in run.averaged("looks").state_dict().items()}
    write_safetensors(to / f"{LOOKS}.safetensors", looks)
