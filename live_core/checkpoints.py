"""Single-file checkpoints: one state dict in the original Stable Diffusion layout, as ComfyUI keeps them in
models/checkpoints.

What the file is follows from the names and shapes of its tensors; the configurations stand here, so nothing is looked
up. The renaming to diffusers' layout is diffusers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from . import LiveError
from .bases import PAINT_BY_EXAMPLE, PHOTO, TEXTS, Base, base_of
from .diffusion import Schedule, scaled_linear
from .files import reading
from .folders import of_transformers
from .photo_encoder import IN_FILE, PUBLISHED, PhotoEncoder, renamed
from .pretrained import LiveModel, base_fingerprint
from .text import TextEncoder
from .video_unet import VideoUNet
from .vocabulary import load_tokenizer
from .weights import TAKES, fill, vae_dtype

UNET = "model.diffusion_model."
CONTEXT_KEY = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
NO_PHOTO = "learnable_vector"  # Paint-by-Example's alone
AVERAGES = "model_ema."
MAIN, EMA = WEIGHTS = ("main", "ema")
LAST_NORM_KEY = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"


@dataclass(frozen=True)
class Architecture:
    """`unet`, `text`: what differs from diffusers' and transformers' own defaults. `padding`: the token that fills a
    prompt up.

    `last_layer`: the text encoder's last layer that is read, counted from the end as ComfyUI's CLIP Set Last Layer
    does.
    """

    name: str
    unet: dict
    text: dict
    padding: str
    last_layer: int


# By the width of the text that the U-Net reads. SD 2.x reads OpenCLIP's last layer but one, so its 24th is left out.
ARCHITECTURES = {
    768: Architecture(
        "Stable Diffusion 1.x",
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_act": "quick_gelu",
        },
        "<|endoftext|>",
        -1,
    ),
    1024: Architecture(
        "Stable Diffusion 2.x",
        {
            "sample_size": 64,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
        "!",
        -2,
    ),
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
# Tensors that only another model has, and what it is.
OTHERS = {
    "double_blocks.": "a Flux model",
    "joint_blocks.": "a Stable Diffusion 3 model",
    "noise_augmentor.": "an unCLIP model",
    ".time_stack.": "a Stable Video Diffusion model",
    f"{UNET}label_emb.": "a Stable Diffusion XL model",
    "conditioner.embedders.1.": "a Stable Diffusion XL model",
    "control_model.": "a ControlNet",
    "lora_unet_": "a LoRA",
}


def architecture_of(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[Architecture, Base]:
    """Which architecture tensors of these names and shapes make up, and on which base. Raises LiveError, saying what
    they are instead."""
    for part, what in OTHERS.items():
        if any(part in key for key in shapes):
            raise LiveError(f"model: {name!r} is {what}; {TAKES}")
    if CONTEXT_KEY not in shapes:
        raise LiveError(f"model: {name!r} holds no U-Net of Stable Diffusion; {TAKES}")
    kernel, context = shapes.get(f"{UNET}input_blocks.0.0.weight", ()), shapes[CONTEXT_KEY]
    if len(kernel) != 4 or len(context) != 2:
        raise LiveError(
            f"model: {name!r} has no whole U-Net of Stable Diffusion (its first layers are of shape {kernel} and"
            f" {context}); {TAKES}"
        )
    base, width = base_of(kernel[1], name, PHOTO if NO_PHOTO in shapes else TEXTS), context[1]
    widths = [PUBLISHED["projection_dim"]] if base.reads == PHOTO else list(ARCHITECTURES)
    if width not in widths:
        raise LiveError(
            f"model: {name!r} reads {base.reads} of width {width}, not {' or '.join(map(str, widths))}; {TAKES}"
        )
    return ARCHITECTURES[width], base


def load_checkpoint(
    path: Path | str, tokenizer_folder: Path | str, dtype: torch.dtype = torch.float32, weights: str = MAIN
) -> LiveModel:
    """A model from one .safetensors file. `tokenizer_folder` holds CLIP's vocab.json and merges.txt. `weights` of the
    U-Net: the main ones, which samplers read, or their exponential moving average, where the file has it. The others
    are not read into memory.
    """
    from safetensors import safe_open

    path = Path(path)
    if path.suffix != ".safetensors":
        raise LiveError(
            f"model: {path.name!r} is not a .safetensors file, and other formats can run code when read; save it anew"
            " with ComfyUI's Save Checkpoint"
        )
    with reading(f"model: {path.name!r:.100}", "it is cut short or no safetensors file, so fetch it again"):
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            shapes = {_older_name(key): tuple(file.get_slice(key).get_shape()) for key in names}
            architecture, base = architecture_of(shapes, path.name)
            reader = "photo encoder" if base.reads == PHOTO else "text encoder"
            for part, what in (("first_stage_model.", "autoencoder"), ("cond_stage_model.", reader)):
                if not any(key.startswith(part) for key in shapes):
                    raise LiveError(
                        f"model: {path.name!r} has no {what} in it; load its parts in ComfyUI and use the node that"
                        " takes MODEL, CLIP and VAE"
                    )
            read = {_older_name(key): key for key in names if not key.startswith(AVERAGES)}
            if weights == EMA:
                read |= {key: _average_of(key) for key in read if key.startswith(UNET)}
                missing = sorted(set(read.values()) - names)
                if missing:
                    raise LiveError(
                        f"weights: {EMA!r}, but {path.name!r:.100} has no such weights ({missing[0]!r:.100} is"
                        f" missing); choose {MAIN!r}"
                    )
            state = {key: file.get_tensor(name) for key, name in read.items()}
    schedule = Schedule(scaled_linear(), "v_prediction" if predicts_v(state, architecture) else "epsilon")
    return load_state_dict(state, schedule, tokenizer_folder, path.stem, dtype)


def _average_of(key: str) -> str:
    """What the moving average of the U-Net's tensor `key` is called."""
    return AVERAGES + key.removeprefix("model.").replace(".", "")


def _older_name(key: str) -> str:
    """Newer Stable Diffusion 2.x files, SD-Turbo's among them, call the text encoder as Stable Diffusion XL calls its
    first.
    """
    newer = "conditioner.embedders.0."
    return "cond_stage_model." + key.removeprefix(newer) if key.startswith(newer) else key


def load_state_dict(
    state: dict[str, torch.Tensor],
    schedule: Schedule,
    tokenizer_folder: Path | str,
    name: str,
    dtype: torch.dtype = torch.float32,
    last_layer: int | None = None,
) -> LiveModel:
    """A model on the CPU from the tensors of a single-file checkpoint, which are copied.

    `last_layer` of the text encoder to read, -1 being the last ("CLIP skip"); None means the architecture's own.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    architecture, base = architecture_of({key: tuple(tensor.shape) for key, tensor in state.items()}, name)
    with torch.inference_mode(False), torch.no_grad():
        last_layer = architecture.last_layer if last_layer is None else last_layer
        encoder: Any
        encoder, read = (
            _photo_encoder(state, name, dtype)
            if base.reads == PHOTO
            else _text_encoder(state, architecture, name, dtype, last_layer)
        )
        with torch.device("meta"):  # its random start would take longer than all the rest
            unet = UNet2DConditionModel(in_channels=base.channels, **architecture.unet)
            vae = AutoencoderKL(**VAE)
        for network, convert, what in (
            (vae, convert_ldm_vae_checkpoint, "autoencoder"),
            (unet, convert_ldm_unet_checkpoint, "U-Net"),
        ):
            complaint = f"model: the {what} of {name!r} is not that of {architecture.name}"
            tensors = _renamed(partial(convert, dict(state), dict(network.config)), complaint)
            fill(network, tensors, complaint, vae_dtype(dtype) if network is vae else dtype)
        for module in (unet, vae):
            module.eval().requires_grad_(False)
        if not isinstance(encoder, PhotoEncoder):
            encoder = TextEncoder(encoder, load_tokenizer(tokenizer_folder, 77, architecture.padding))
        return LiveModel(
            VideoUNet(unet).requires_grad_(False),
            vae,
            encoder,
            schedule,
            name,
            base_fingerprint(tensors, read),
            base=base,
        )


def _renamed(convert: Callable[[], dict[str, torch.Tensor]], complaint: str) -> dict[str, torch.Tensor]:
    """`convert()`, diffusers' renaming, which takes it for granted that all tensors are there and of their kind."""
    try:
        return convert()
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise LiveError(
            f"{complaint} (diffusers cannot rename its tensors: {type(error).__name__} {error}); {TAKES}"
        ) from error


def predicts_v(state: dict[str, torch.Tensor], architecture: Architecture) -> bool:
    """Whether the U-Net predicts v. ComfyUI marks the files that it saves; otherwise its own test tells SD 2.x models
    apart.
    """
    if "v_pred" in state:
        return True
    return (
        architecture is ARCHITECTURES[1024]
        and LAST_NORM_KEY in state
        and float(state[LAST_NORM_KEY].float().std(unbiased=False)) > 0.09
    )


def _text_encoder(
    state: dict[str, torch.Tensor], architecture: Architecture, name: str, dtype: torch.dtype, last_layer: int
) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The text encoder as far as it is read, and its tensors as the file has them."""
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    deepest = architecture.text["num_hidden_layers"]
    layers = deepest + last_layer - architecture.last_layer
    if not 1 <= layers <= deepest:
        raise LiveError(
            f"clip: it stops at layer {last_layer}; {architecture.name} takes {architecture.last_layer - deepest + 1}"
            f" to {architecture.last_layer}"
        )
    config = {**architecture.text, "num_hidden_layers": layers}

    def configure() -> CLIPTextConfig:
        return CLIPTextConfig(
            vocab_size=49408,
            max_position_embeddings=77,
            bos_token_id=49406,
            eos_token_id=49407,
            attn_implementation="sdpa",
            **config,
        )

    is_open_clip = architecture is ARCHITECTURES[1024]
    complaint = f"model: the text encoder of {name!r} is not that of {architecture.name}"
    converted = _renamed(
        lambda: (
            convert_open_clip_checkpoint(SimpleNamespace(config=configure()), state)
            if is_open_clip
            else convert_ldm_clip_checkpoint(state)
        ),
        complaint,
    )
    # Left out: layers after the last that is read, and projections that the U-Net does not see.
    return of_transformers(CLIPTextModel, configure, converted, complaint, dtype, others=True)


def _photo_encoder(
    state: dict[str, torch.Tensor], name: str, dtype: torch.dtype
) -> tuple[PhotoEncoder, dict[str, torch.Tensor]]:
    """Paint-by-Example's photo encoder, and its tensors under our names."""
    from transformers import CLIPVisionConfig

    beginnings = ("cond_stage_model.", "proj_out.", NO_PHOTO)
    tensors = renamed({key: tensor for key, tensor in state.items() if key.startswith(beginnings)}, IN_FILE)
    return of_transformers(
        PhotoEncoder,
        lambda: CLIPVisionConfig(**PUBLISHED, attn_implementation="sdpa"),
        tensors,
        f"model: the photo encoder of {name!r} is not that of {PAINT_BY_EXAMPLE.name}",
        dtype,
    )
