"""Train the demo model: a Stable-Diffusion-shaped model of the sprite world, small enough for two CPU cores.

    python -m demo.train autoencoder --work ~/demo-training     # some 40 minutes on one core
    python -m demo.train diffusion   --work ~/demo-training     # one to three hours; writes demo/model as it goes

Every stage is seeded, logs its losses to `<work>/<stage>.log`, saves its whole state every few minutes and goes on from
there when started again. The learning rate is flat and falls to zero over the last fifth of `--steps`, so a run can be
given more steps later by raising that number. Uses a GPU when torch sees one.
"""
from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file, save_file

from .data import MAP, load_or_draw
from .tokenizer import CONTEXT, save_tokenizer

MODEL = Path(__file__).parent / "model"
CROP_STEPS = 2600
THING_WEIGHT = 4                             # how much more a latent pixel on a thing, or next to one, counts
LOCATED = 0.1                                # the cumulative alpha from which a noisy picture shows where its things are
SHAPING = (0.4, 0.95)                        # the part of the timesteps in which the things and their shapes are decided: drawn three times as often
LOCALISATION_WEIGHT = 0.03
LOOK_SHARE = 0.4                             # of the pictures with one thing; all that call theirs just "thing" are told by look twice as often
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


# ---------------------------------------------------------------------------------------------------- shared machinery
class Run:
    """A resumable training run: parameters, optimiser moments and an average of the weights in one safetensors file."""

    def __init__(self, stage: str, work: Path, modules: dict[str, torch.nn.Module], lr: float, steps: int, ema: float):
        self.modules, self.steps, self.lr, self.decay = modules, steps, lr, ema
        self.path, self.log_path = work / f"{stage}.safetensors", work / f"{stage}.log"
        self.parameters = {f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters()}
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.step, self.saved, self.started = 0, time.time(), time.time()
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        state = load_file(self.path)
        self.step = int(state["step"])
        with torch.no_grad():
            for n, p in self.parameters.items():
                p.copy_(state[f"weight/{n}"])
                self.average[n].copy_(state[f"average/{n}"])
                self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), "exp_avg": state[f"first/{n}"].to(p.device),
                                           "exp_avg_sq": state[f"second/{n}"].to(p.device)}

    def save(self) -> None:
        state = {"step": torch.tensor(self.step)}
        for n, p in self.parameters.items():
            moments = self.optimizer.state[p]
            state |= {f"weight/{n}": p.detach(), f"average/{n}": self.average[n], f"first/{n}": moments["exp_avg"], f"second/{n}": moments["exp_avg_sq"]}
        write_safetensors(self.path, state)
        self.saved = time.time()

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        return self.lr * warm * min(1.0, (self.steps - self.step) / (0.2 * self.steps))

    def update(self, loss: torch.Tensor, **logged: float) -> None:
        """One optimiser step for `loss`; keeps the average; logs every 50 steps; saves every five minutes."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - decay)
        if self.step % 50 == 0:
            with self.log_path.open("a") as log:
                print(json.dumps({"step": self.step, "s": round(time.time() - self.started), "lr": round(self.rate(), 6), "loss": round(float(loss.detach()), 5),
                                  **{k: round(float(v), 5) for k, v in logged.items()}}), file=log)
        if time.time() - self.saved > 300 or self.step == self.steps:
            self.save()

    def use_average(self) -> None:
        with torch.no_grad():
            for n, p in self.parameters.items():
                p.copy_(self.average[n])


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    draft = path.with_suffix(".draft")
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, draft)
    os.replace(draft, path)


def rng_for(step: int, stage: int) -> tuple[np.random.Generator, torch.Generator]:
    """The randomness of one step depends on the step alone, so a resumed run repeats an uninterrupted one."""
    return np.random.default_rng((stage, step)), torch.Generator().manual_seed(stage * 10_000_000 + step)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(DEVICE).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


# --------------------------------------------------------------------------------------------------------- autoencoder
def build_autoencoder():
    from diffusers import AutoencoderKL
    return AutoencoderKL(block_out_channels=(16, 32, 64, 128), layers_per_block=1, norm_num_groups=8, latent_channels=4, sample_size=128,
                         down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, mid_block_add_attention=False)


def train_autoencoder(work: Path, steps: int, count: int) -> None:
    """Four 64-pixel crops a step, then whole pictures one at a time: L1 and squared error, L1 on edges, and a light KL.

    Many small steps beat few large ones here: a picture holds 16,384 pixels, so even one is a large batch. The squared error
    keeps the colour of small things, which L1 alone gives up for the background's.
    """
    pictures = load_or_draw(work, count)
    torch.manual_seed(0)
    vae = build_autoencoder().to(DEVICE, memory_format=torch.channels_last)
    run = Run("autoencoder", work, {"vae": vae}, lr=1.5e-3, steps=steps, ema=0.998)
    while run.step < steps:
        rng, generator = rng_for(run.step, 1)
        whole = run.step >= CROP_STEPS
        rows = np.sort(rng.choice(count, 1 if whole else 4, replace=False))
        images = pictures.images[rows]
        if not whole:
            corners = rng.integers(0, 65, (len(rows), 2))
            images = np.stack([image[y:y + 64, x:x + 64] for image, (y, x) in zip(images, corners)])
        x = to_tensor(images)
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=generator).to(DEVICE)
        y = vae.decode(z).sample
        pixel = F.l1_loss(y, x)
        edges = F.l1_loss(y.diff(dim=2), x.diff(dim=2)) + F.l1_loss(y.diff(dim=3), x.diff(dim=3))
        kl = posterior.kl().mean() / z[0].numel()
        run.update(pixel + 4 * F.mse_loss(y, x) + 0.5 * edges + 1e-5 * kl, pixel=pixel.detach(), kl=kl.detach(), psnr=-10 * torch.log10(F.mse_loss(y, x).detach() / 4))
    run.use_average()
    export_autoencoder(vae, pictures)


@torch.no_grad()
def export_autoencoder(vae, pictures) -> None:
    latents = torch.cat([vae.encode(to_tensor(pictures.images[i:i + 16])).latent_dist.mean for i in range(0, 256, 16)])
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    vae.half().save_pretrained(MODEL / "vae")


# ----------------------------------------------------------------------------------------------------------- diffusion
def build_diffusion():
    """(U-Net, text encoder, tokenizer, scheduler), untrained. ``attention_head_dim`` is the number of heads, as in SD 1.x."""
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    if not (MODEL / "tokenizer").exists():                  # the merges' order differs from build to build, and weights stand on it
        save_tokenizer(MODEL / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, projection_dim=128,
        max_position_embeddings=CONTEXT, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id))
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(48, 96, 128), layers_per_block=1, cross_attention_dim=128, attention_head_dim=(3, 4, 4), norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return unet, text_encoder, tokenizer, scheduler


class WordMaps:
    """Cross-attention that keeps its probabilities at the finest resolution, so that a loss can reach them."""

    def __init__(self):
        self.maps: list[torch.Tensor] = []

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        q, k, v = (rearrange(x, "b n (h d) -> b h n d", h=attn.heads) for x in
                   (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)))
        probabilities = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        if q.shape[2] == MAP * MAP:
            self.maps.append(probabilities.mean(1))
        return attn.to_out[0](rearrange(probabilities @ v, "b h n d -> b n (h d)"))

    def localisation_loss(self, word_of: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Cross-entropy between a word's normalised map and its thing's normalised mask, less the mask's own entropy.

        `word_of` (k, 2): row in the batch and token position; `masks` (k, MAP*MAP), each summing to one.
        Words of so small a training do not localise by themselves, and local blend and word swap stand on localised words.
        """
        maps = torch.stack(self.maps).mean(0)[word_of[:, 0], :, word_of[:, 1]]
        maps = maps / maps.sum(-1, keepdim=True)
        return (torch.xlogy(masks, masks) - masks * (maps + 1e-6).log()).sum(-1).mean()


class LookEncoder(torch.nn.Module):
    """(n, 3, 32, 32) crops of things in -1..1 to (n, 128) offsets from the word "thing" in the text encoder's input.

    The text space of Stable Diffusion holds far more looks than it has words for, and textual inversion lives on that. The
    vocabulary of this world spans ten shapes in nine plain colours. So in a part of the pictures the word "thing" is moved
    by what this encoder sees, with noise on it, and the space learns to hold looks that no word names. Only training uses it.
    """

    def __init__(self, width: int = 128):
        super().__init__()
        def block(a, b):
            return torch.nn.Sequential(torch.nn.Conv2d(a, b, 3, 2, 1), torch.nn.GroupNorm(8, b), torch.nn.SiLU())
        self.body = torch.nn.Sequential(block(3, 32), block(32, 64), block(64, 96), torch.nn.Flatten(), torch.nn.Linear(96 * 16, width),
                                        torch.nn.LayerNorm(width, elementwise_affine=False))

    def forward(self, crops: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return 0.1 * self.body(crops) + 0.03 * noise


def crop_things(images: np.ndarray, masks: np.ndarray) -> torch.Tensor:
    """(n, 3, 32, 32) in -1..1: the square around each coarse mask (n, MAP, MAP), grey where the mask is empty."""
    crops, pixels = [], images.shape[1] // MAP
    for image, mask in zip(images, masks):
        rows, columns = np.where(mask > 0)
        top, left = pixels * rows.min(), pixels * columns.min()
        side = pixels * max(np.ptp(rows), np.ptp(columns)) + pixels
        inside = np.where((mask > 0).repeat(pixels, 0).repeat(pixels, 1)[..., None], image, 128)[top:top + side, left:left + side]
        square = np.full((side, side, 3), 128, np.uint8)
        square[:inside.shape[0], :inside.shape[1]] = inside
        crops.append(F.interpolate(to_tensor(square[None]).contiguous(), (32, 32), mode="area")[0])
    return torch.stack(crops)


@torch.no_grad()
def cached_latents(vae, pictures, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every picture's latent, each (n, 4, 16, 16), scaled by the autoencoder's factor."""
    path = work / "latents.safetensors"
    if not path.exists():
        vae = vae.eval().float()
        rows = [vae.encode(to_tensor(pictures.images[i:i + 50])).latent_dist for i in range(0, len(pictures), 50)]
        factor = vae.config.scaling_factor
        write_safetensors(path, {"mean": factor * torch.cat([r.mean for r in rows]), "std": factor * torch.cat([r.std for r in rows])})
    stored = load_file(path)
    return stored["mean"], stored["std"]


def words_of_things(tokenizer, captions: list[str], names: list[list[str]]) -> list[list[tuple[int, int]]]:
    """For each caption, pairs (token position, which thing) of the words that name things: one token a word, start token first."""
    out = []
    for caption, things in zip(captions, names):
        words, found, start = caption.split(), [], 0
        for which, name in enumerate(things):
            parts = name.split()
            start = next(i for i in range(start, len(words)) if words[i:i + len(parts)] == parts)
            found += [(1 + start + j, which) for j in range(len(parts))]
            start += len(parts)
        out.append(found)
    return out


def draw_timesteps(u: torch.Tensor) -> torch.Tensor:
    """Timesteps 0..999 for `u` (n,) in 0..1: half of them evenly over all noise levels, half over `SHAPING` alone."""
    low, high = SHAPING
    inside = 0.5 + 0.5 / (high - low)                        # density within; 0.5 outside
    edges = torch.tensor([0.0, 0.5 * low, 0.5 * low + inside * (high - low)])
    starts, densities = torch.tensor([0.0, low, high]), torch.tensor([0.5, inside, 0.5])
    part = torch.bucketize(u, edges[1:], right=True)
    return ((starts[part] + (u - edges[part]) / densities[part]) * 1000).long().clamp(max=999)


def train_diffusion(work: Path, steps: int, count: int, batch: int = 16, warm: bool = False) -> None:
    """Noise prediction with min-SNR weights (gamma 5), the text encoder trained along, and the localisation loss.

    `warm` starts from the weights in demo/model instead of random ones, where no checkpoint is.
    """
    from diffusers import AutoencoderKL

    pictures = load_or_draw(work, count)
    means, stds = cached_latents(AutoencoderKL.from_pretrained(MODEL / "vae").to(DEVICE), pictures, work)
    torch.manual_seed(0)
    unet, text_encoder, tokenizer, scheduler = build_diffusion()
    if warm:
        unet.load_state_dict(load_file(MODEL / "unet" / "diffusion_pytorch_model.safetensors"))
        text_encoder.load_state_dict(load_file(MODEL / "text_encoder" / "model.safetensors"))
    unet.to(DEVICE, memory_format=torch.channels_last)
    text_encoder.to(DEVICE)
    recorder = WordMaps()
    unet.set_attn_processor({n: recorder if "attn2" in n else p for n, p in unet.attn_processors.items()})
    tokens = torch.tensor(tokenizer(pictures.captions, padding="max_length", truncation=True, max_length=CONTEXT).input_ids)
    nothing = torch.tensor(tokenizer("", padding="max_length", max_length=CONTEXT).input_ids)
    words = words_of_things(tokenizer, pictures.captions, pictures.names)
    by_look = [caption.replace(names[0], "thing", 1) if len(names) == 1 else caption for caption, names in zip(pictures.captions, pictures.names)]
    look_tokens = torch.tensor(tokenizer(by_look, padding="max_length", truncation=True, max_length=CONTEXT).input_ids)
    look_words = words_of_things(tokenizer, by_look, [["thing"] if len(names) == 1 else names for names in pictures.names])
    looks = LookEncoder().to(DEVICE)
    abar = scheduler.alphas_cumprod
    run = Run("diffusion", work, {"unet": unet, "text_encoder": text_encoder, "looks": looks}, lr=1e-3, steps=steps, ema=0.999)
    while run.step < steps:
        rng, generator = rng_for(run.step, 2)
        rows = rng.choice(count, batch, replace=False)
        x0 = means[rows] + stds[rows] * torch.randn(means[rows].shape, generator=generator)
        t = draw_timesteps((torch.arange(batch) + torch.rand(batch, generator=generator)) / batch)              # stratified
        noise = torch.randn(x0.shape, generator=generator)
        a = abar[t].view(-1, 1, 1, 1)
        dropped = torch.rand(batch, generator=generator) < 0.1
        chance = torch.tensor([0.0 if len(names) != 1 else 2 * LOOK_SHARE if names == ["thing"] else LOOK_SHARE for names in (pictures.names[r] for r in rows)])
        told_by_look = (torch.rand(batch, generator=generator) < chance) & ~dropped
        ids = torch.where(dropped[:, None], nothing, torch.where(told_by_look[:, None], look_tokens[rows], tokens[rows]))
        offsets = torch.zeros(batch, CONTEXT, 128, device=DEVICE)
        seen = [i for i in range(batch) if told_by_look[i]]
        if seen:
            noises = torch.randn(len(seen), 128, generator=generator).to(DEVICE)
            offsets[seen, [look_words[rows[i]][0][0] for i in seen]] = looks(crop_things(pictures.images[rows[seen]], pictures.masks[rows[seen], 0]), noises)
        predicted = unet((a.sqrt() * x0 + (1 - a).sqrt() * noise).to(DEVICE, memory_format=torch.channels_last), t.to(DEVICE),
                         encode_with(text_encoder, ids.to(DEVICE), offsets)).sample
        snr = abar[t] / (1 - abar[t])
        error = (predicted - noise.to(DEVICE)).square().mean(1)
        # Things fill a tenth of a picture and hold all that is hard in it. While nobody can know where they are, weighting them
        # would teach the model to expect things everywhere.
        around = F.max_pool2d(torch.from_numpy(pictures.masks[rows].max(1)[:, None]).float() / 255, 3, 1, 1)[:, 0]
        weight = (snr.clamp(max=5) / snr)[:, None, None] * (1 + THING_WEIGHT * around * (a > LOCATED).float()[..., 0])
        loss = (weight.to(DEVICE) * error).mean()
        # Where nearly all is noise nobody knows yet where the thing will be; the words of a dropped caption are not there.
        told = [(i, p, which) for i in range(batch) if not dropped[i] and abar[t[i]] > 0.05 for p, which in (look_words if told_by_look[i] else words)[rows[i]]]
        localisation = torch.zeros((), device=DEVICE)
        if told:
            masks = torch.from_numpy(np.stack([pictures.masks[rows[i], which] for i, _, which in told])).float().flatten(1) + 1e-3
            localisation = recorder.localisation_loss(torch.tensor([(i, p) for i, p, _ in told], device=DEVICE), (masks / masks.sum(-1, keepdim=True)).to(DEVICE))
        run.update(loss + LOCALISATION_WEIGHT * localisation, noise=error.detach().mean(), localisation=localisation.detach())
        recorder.maps.clear()
        if run.step % 1000 == 0 or run.step == steps:
            export_diffusion(run, unet, text_encoder, scheduler)


def encode_with(text_encoder, ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Last hidden state (n, L, d) with `offsets` (n, L, d) added to the token embeddings."""
    hook = text_encoder.get_input_embeddings().register_forward_hook(lambda _module, _inputs, embedded: embedded + offsets)
    try:
        return text_encoder(ids).last_hidden_state
    finally:
        hook.remove()


def export_diffusion(run: Run, unet, text_encoder, scheduler) -> None:
    """Write the averaged weights to demo/model in half precision, in the diffusers layout."""
    live = {n: p.detach().clone() for n, p in run.parameters.items()}
    run.use_average()
    for module, name in ((unet, "unet"), (text_encoder, "text_encoder")):
        copy.deepcopy(module).to("cpu", memory_format=torch.contiguous_format).half().save_pretrained(MODEL / name)
    scheduler.save_pretrained(MODEL / "scheduler")
    with torch.no_grad():
        for n, p in run.parameters.items():
            p.copy_(live[n])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=("autoencoder", "diffusion"))
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and checkpoints")
    parser.add_argument("--steps", type=int, required=True, help="optimiser steps in all, earlier runs counted in")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--warm", action="store_true", help="diffusion: go on from the weights in demo/model when the folder holds no checkpoint")
    args = parser.parse_args()
    if args.stage == "autoencoder":
        train_autoencoder(args.work, args.steps, args.pictures)
    else:
        train_diffusion(args.work, args.steps, args.pictures, warm=args.warm)
