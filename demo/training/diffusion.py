"""The U-Net and the text encoder, trained together to predict noise in latents of the sprite world."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file

from ..data import Pictures
from ..tokenizer import CONTEXT, save_tokenizer
from .autoencoder import cached_latents, prepare
from .captions import Captions, tabulate
from .looks import TOKENS, LookEncoder, encode_with, spread
from .run import DEVICE, Run, export, half_precision, rate_for, write_safetensors

BATCH = 8
THING_WEIGHT = 4  # how much more a latent pixel on a thing, or next to one, counts
LOCATED = 0.1  # cumulative alpha from which a noisy picture shows where its things are
NOISE_ALONE = 0.05  # cumulative alpha below which nobody knows yet where a thing will be
SHAPING = (0.45, 0.97)  # part of the timesteps in which shapes are decided: drawn 3 times as often
LOCALISATION_WEIGHT = 0.03
FLOOR = 4e-6  # of a mask: a hidden thing is looked for everywhere alike
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

    def localisation_loss(
        self, words: torch.Tensor, which: torch.Tensor, masks: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy between words' normalised maps and their things' normalised masks, less the masks' own entropy.

        `words`, `which` (b, k): positions in the captions, 0 for none, and which thing each names; `masks` (b, 2, side,
        side) 0..1; `counts` (b,) bool: where the noise lets one tell. Words of so small a training do not localise by
        themselves, and local blend and word swap stand on localised words.
        """
        named = ((words > 0) & counts[:, None]).float()
        losses = []
        for side, maps in self.maps.items():
            true = F.adaptive_avg_pool2d(masks, side).flatten(2) + FLOOR
            true = (true / true.sum(-1, keepdim=True)).gather(1, which[..., None].expand(-1, -1, true.shape[-1]))
            ours = torch.stack(maps).float().mean(0)
            ours = ours.gather(2, words[:, None].expand(-1, ours.shape[1], -1)).transpose(1, 2)
            ours = ours / ours.sum(-1, keepdim=True)
            each = (torch.xlogy(true, true) - true * (ours + 1e-6).log()).sum(-1)
            losses.append((named * each).sum() / named.sum().clamp(min=1))
        return torch.stack(losses).mean()

    def clear(self) -> None:
        for maps in self.maps.values():
            maps.clear()


@dataclass
class Material:
    """All that batches are drawn from, on the device: `mean`, `std` (n, 4, h, w); `masks` (n, 2, h, w) uint8; `looks`
    (n, LOOK, LOOK, 4) uint8."""

    mean: torch.Tensor
    std: torch.Tensor
    masks: torch.Tensor
    looks: torch.Tensor
    captions: Captions


def load_material(base: Path, pictures: Pictures, work: Path, tokenizer) -> Material:
    arrays = (*cached_latents(base, pictures, work), pictures.masks, pictures.looks)
    return Material(*map(on_device, arrays), tabulate(pictures, tokenizer, DEVICE))


def on_device(array: np.ndarray) -> torch.Tensor:
    """A memory-mapped array whole on a GPU; as it is on a CPU."""
    return torch.from_numpy(np.array(array)).to(DEVICE) if DEVICE == "cuda" else torch.from_numpy(array)


def draw_batch(step: int, material: Material, size: int = BATCH) -> dict[str, torch.Tensor]:
    """`x0`, `noise` (b, 4, h, w), `t` (b,), `masks` (b, 2, h, w) 0..1, `looks` (b, 4, LOOK, LOOK) and `look_noise`
    (b, TOKENS, d), and what `Captions.draw` has."""
    g = torch.Generator(DEVICE).manual_seed(20_000_000 + step)
    like = {"generator": g, "device": DEVICE}
    rows = torch.randint(len(material.mean), (size,), **like)
    mean, std = material.mean[rows].float(), material.std[rows].float()
    strata = (torch.randperm(size, **like) + torch.rand(size, **like)) / size
    return {
        "x0": mean + std * torch.randn(mean.shape, **like),
        "noise": torch.randn(mean.shape, **like),
        "t": draw_timesteps(strata),
        "masks": material.masks[rows].float() / 255,
        "looks": (material.looks[rows].float() / 127.5 - 1).permute(0, 3, 1, 2),
        "look_noise": torch.randn(size, TOKENS, 128, **like),
        **material.captions.draw(rows, torch.rand(size, 3, **like)),
    }


def draw_timesteps(u: torch.Tensor) -> torch.Tensor:
    """Timesteps 0..999 for `u` (n,) in 0..1: half of them evenly over all noise levels, half over `SHAPING` alone."""
    low, high = SHAPING
    inside = 0.5 + 0.5 / (high - low)  # density within; 0.5 outside
    edges = torch.tensor([0.0, 0.5 * low, 0.5 * low + inside * (high - low)], device=u.device)
    starts, densities = torch.tensor([[0.0, low, high], [0.5, inside, 0.5]], device=u.device)
    part = torch.bucketize(u, edges[1:], right=True)
    return ((starts[part] + (u - edges[part]) / densities[part]) * 1000).long().clamp(max=999)


def train_diffusion(
    work: Path, base: Path, to: Path, steps: int, pictures: Pictures, batch: int = BATCH, minutes: float | None = None
) -> None:
    """Noise prediction with min-SNR weights (gamma 5), the text encoder trained along, and the localisation loss.

    Starts from the weights in `base`, and from its looks where it has them.
    """
    prepare(base, to)
    torch.manual_seed(0)
    unet, text_encoder, tokenizer, scheduler = build_diffusion(base / "tokenizer", pictures.masks.shape[-1])
    looks = LookEncoder()
    for module, file in ((unet, "unet/diffusion_pytorch_model"), (text_encoder, "text_encoder/model"), (looks, LOOKS)):
        if (base / f"{file}.safetensors").exists():
            load_weights(module, load_file(base / f"{file}.safetensors"))
    unet.to(DEVICE, memory_format=torch.channels_last)
    recorder = WordMaps(pictures.masks.shape[-1])
    unet.set_attn_processor({n: recorder if "attn2" in n else p for n, p in unet.attn_processors.items()})
    modules = {"unet": unet, "text_encoder": text_encoder.to(DEVICE), "looks": looks.to(DEVICE)}
    material = load_material(base, pictures, work, tokenizer)
    run = Run("diffusion", work, modules, rate_for(7e-4, batch, BATCH), steps, average=0.999, minutes=minutes)
    losses = partial(_losses, modules, recorder, scheduler.alphas_cumprod.to(DEVICE))
    while run.done < 1:
        if run.learn(losses, **draw_batch(run.step, material, batch)):
            export_diffusion(run, to)


def load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Weights by their names; those of a text encoder with or without the prefix that transformers changed."""
    named = {name.removeprefix("text_model."): tensor.float() for name, tensor in weights.items()}
    module.load_state_dict({name: named[name.removeprefix("text_model.")] for name in module.state_dict()})


def _losses(
    modules, recorder: WordMaps, alphas: torch.Tensor, x0, noise, t, masks, looks, look_noise, ids, words, which, told
) -> dict[str, torch.Tensor]:
    abar = alphas[t]
    a = abar.view(-1, 1, 1, 1)
    noisy = (a.sqrt() * x0 + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with half_precision():
        offsets = spread(modules["looks"](looks, look_noise), told)
        text = encode_with(modules["text_encoder"], ids, offsets)
        predicted = modules["unet"](noisy, t, text).sample
    error = (predicted.float() - noise).square().mean(1)
    localisation = recorder.localisation_loss(words, which, masks, abar > NOISE_ALONE)
    recorder.clear()
    loss = (_weight(masks, abar) * error).mean() + LOCALISATION_WEIGHT * localisation
    return {"loss": loss, "noise": error.mean(), "localisation": localisation}


def _weight(masks: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:
    """(b, h, w): min-SNR times the weight of things.

    Things fill a tenth of a picture and hold all that is hard in it. While nobody can know where they are, weighting
    them would teach the model to expect things everywhere.
    """
    snr = abar / (1 - abar)
    around = F.max_pool2d(masks.amax(1, keepdim=True), 3, 1, 1)[:, 0]
    return (snr.clamp(max=5) / snr)[:, None, None] * (1 + THING_WEIGHT * around * (abar > LOCATED)[:, None, None])


def export_diffusion(run: Run, to: Path) -> None:
    """Write the averaged weights in half precision; the encoder of looks, too, for a later training to start from."""
    for name in ("unet", "text_encoder"):
        export(run.averaged(name), to / name)
    (to / LOOKS).parent.mkdir(exist_ok=True)
    looks = {n: p.half() for n, p in run.averaged("looks").state_dict().items()}
    write_safetensors(to / f"{LOOKS}.safetensors", looks)
