"""LIVE models of any size with random weights: what a run takes does not depend on what its weights know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from live_core.attention import AttentionPlan
from live_core.pretrained import LiveModel, load_folder
from live_core.text import TextEncoder
from live_core.video_unet import VideoUNet
from live_core.vocabulary import load_tokenizer

DEMO = Path(__file__).resolve().parents[1] / "demo" / "model"
PROMPT, EDITED = "a red ball moving on the meadow", "a blue ball moving on the meadow"


@dataclass(frozen=True)
class Size:
    """Of a U-Net as Stable Diffusion 1.5 has it: the widths of its four levels and of the texts it reads; `side`: of
    the latents it is measured at, eighths of the pixels; `frames`: so many of them."""

    channels: tuple[int, ...]
    text: int
    side: int
    frames: int

    @property
    def unet(self) -> dict:
        """Its configuration, diffusers' names."""
        return {
            "sample_size": self.side,
            "block_out_channels": self.channels,
            "cross_attention_dim": self.text,
            "attention_head_dim": 8,  # diffusers' name for how many heads there are
        }


SIZES = {
    "tiny": Size((32, 32, 64, 64), text=64, side=16, frames=3),  # for tests
    "small": Size((64, 128, 256, 256), text=256, side=32, frames=8),
    "half": Size((160, 320, 640, 640), text=768, side=32, frames=8),  # 232 million weights
    "sd15": Size((320, 640, 1280, 1280), text=768, side=64, frames=8),  # Stable Diffusion 1.5, 8 frames of 512 x 512
}


def unet_of(size: Size, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> VideoUNet:
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(0)
        unet = VideoUNet(UNet2DConditionModel(**size.unet).eval())
    return unet.to(device, dtype).requires_grad_(False)


def model_of(size: Size, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LiveModel:
    """The demo's tokenizer and schedule, and three networks of that `size`."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    demo, full = load_folder(DEMO), size == SIZES["sd15"]
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=demo.text_encoder.config.vocab_size,
                hidden_size=size.text,
                intermediate_size=4 * size.text,
                num_hidden_layers=12 if full else 2,
                num_attention_heads=size.text // 32,
                bos_token_id=demo.text_encoder.config.bos_token_id,
                eos_token_id=demo.text_encoder.config.eos_token_id,
                pad_token_id=demo.text_encoder.config.pad_token_id,
            )
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512) if full else (32, 32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    networks = [network.eval().requires_grad_(False).to(device) for network in (text, vae)]
    tokenizer = load_tokenizer(DEMO / "tokenizer", text.config.max_position_embeddings)
    return LiveModel(
        unet_of(size, dtype, device),
        networks[1],
        TextEncoder(networks[0].to(dtype), tokenizer),
        demo.schedule,
        "random",
        "0" * 16,
    )


@dataclass(frozen=True)
class Inputs:
    """What one forward of the video U-Net reads: `streams` rows of a clip, noise."""

    latents: torch.Tensor  # (s, f, 4, h, w)
    text: torch.Tensor  # (s, L, d)
    seats: torch.Tensor | None  # (s, 4, h, w)
    plan: AttentionPlan

    def predict(self, unet: VideoUNet) -> torch.Tensor:
        """The noise that `unet` sees in them."""
        return unet(self.latents, 500, self.text, self.seats, self.plan)


def inputs_of(size: Size, plan: AttentionPlan, like: VideoUNet, streams: int = 1, side: int | None = None) -> Inputs:
    """`side`: of the latents, None for the size's own."""
    generator, side = torch.Generator().manual_seed(0), side or size.side

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(like.device)

    seats = noise(streams, 4, side, side) if "latent_prompt" in plan.frame_plan.slots else None
    return Inputs(noise(streams, size.frames, 4, side, side), noise(streams, 77, size.text), seats, plan)
