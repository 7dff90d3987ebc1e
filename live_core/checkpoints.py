"""Single-file checkpoints: one state dict in the original Stable Diffusion layout, as ComfyUI keeps them in models/checkpoints.

What the file is follows from the names and shapes of its tensors; the configurations stand here, so nothing is looked up.
The renaming to diffusers' layout is diffusers' own.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from . import LiveError
from .diffusion import Schedule, scaled_linear
from .pretrained import LiveModel, fingerprint_of
from .video_unet import VideoUNet

UNET = "model.diffusion_model."
CONTEXT_KEY = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
LAST_NORM_KEY = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
TAKES = "LIVE takes Stable Diffusion 1.x and 2.x text-to-image models"


@dataclass(frozen=True)
class Architecture:
    """`unet`, `text`: what differs from diffusers' and transformers' own defaults. `padding`: the token that fills a prompt up."""
    name: str
    unet: dict
    text: dict
    padding: str


# By the width of the text that the U-Net reads. SD 2.x reads OpenCLIP's last layer but one, so its 24th is left out.
ARCHITECTURES = {
    768: Architecture("Stable Diffusion 1.x", {"cross_attention_dim": 768, "attention_head_dim": 8},
                      {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"}, "<|endoftext|>"),
    1024: Architecture("Stable Diffusion 2.x", {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
                       {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16, "hidden_act": "gelu"}, "!"),
}
VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
       "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
# Tensors that only another model has, and what it is.
OTHERS = {"double_blocks.": "a Flux model", "joint_blocks.": "a Stable Diffusion 3 model", f"{UNET}label_emb.": "a Stable Diffusion XL model",
          "conditioner.embedders.1.": "a Stable Diffusion XL model", "control_model.": "a ControlNet", "lora_unet_": "a LoRA"}


def architecture_of(shapes: Mapping[str, tuple[int, ...]], name: str) -> Architecture:
    """Which architecture tensors of these names and shapes make up. Raises LiveError, saying what they are instead."""
    for part, what in OTHERS.items():
        if any(part in key for key in shapes):
            raise LiveError(f"model: {name!r} is {what}; {TAKES}")
    if CONTEXT_KEY not in shapes:
        raise LiveError(f"model: {name!r} holds no U-Net of Stable Diffusion; {TAKES}")
    channels = shapes[f"{UNET}input_blocks.0.0.weight"][1]
    if channels != 4:
        what = {9: "an inpainting model", 8: "an InstructPix2Pix model", 5: "a depth model"}.get(channels, "a special model")
        raise LiveError(f"model: {name!r} is {what} (its U-Net reads {channels} channels, not 4); {TAKES}")
    width = shapes[CONTEXT_KEY][1]
    if width not in ARCHITECTURES:
        raise LiveError(f"model: {name!r} reads text of width {width}, not 768 or 1024; {TAKES}")
    for part, what in (("first_stage_model.", "autoencoder"), ("cond_stage_model.", "text encoder")):
        if not any(key.startswith(part) for key in shapes):
            raise LiveError(f"model: {name!r} has no {what} in it; load its parts in ComfyUI and use the node that takes MODEL, CLIP and VAE")
    return ARCHITECTURES[width]


def load_checkpoint(path: Path | str, tokenizer_folder: Path | str, dtype: torch.dtype = torch.float32) -> LiveModel:
    """A model from one .safetensors file. `tokenizer_folder` holds CLIP's vocab.json and merges.txt."""
    from safetensors import safe_open

    path = Path(path)
    if path.suffix != ".safetensors":
        raise LiveError(f"model: {path.name!r} is not a .safetensors file, and other formats can run code when read; save it anew with ComfyUI's Save Checkpoint")
    with safe_open(path, "pt") as file:
        architecture_of({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}, path.name)
        state = {key: file.get_tensor(key) for key in file.keys()}
    return load_state_dict(state, tokenizer_folder, path.stem, dtype)


def load_state_dict(state: dict[str, torch.Tensor], tokenizer_folder: Path | str, name: str, dtype: torch.dtype = torch.float32) -> LiveModel:
    """A model from the tensors of a single-file checkpoint, which are copied. Prediction: `predicts_v`."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from transformers import CLIPTokenizer

    architecture = architecture_of({key: tuple(tensor.shape) for key, tensor in state.items()}, name)
    schedule = Schedule(scaled_linear(), "v_prediction" if predicts_v(state, architecture) else "epsilon")
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):                                         # its random start would take longer than all the rest
            unet = UNet2DConditionModel(**architecture.unet)
            vae = AutoencoderKL(**VAE)
        for network, convert in ((unet, convert_ldm_unet_checkpoint), (vae, convert_ldm_vae_checkpoint)):
            converted = convert(dict(state), dict(network.config))
            network.load_state_dict({key: tensor.to(dtype, copy=True) for key, tensor in converted.items()}, assign=True)
        text_encoder = _text_encoder(state, architecture)
        for module in (unet, vae, text_encoder):
            module.to(dtype).eval().requires_grad_(False)
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
        tokenizer.model_max_length, tokenizer.pad_token = 77, architecture.padding
        fingerprint = fingerprint_of(unet)
        return LiveModel(VideoUNet(unet).requires_grad_(False), vae, text_encoder, tokenizer, schedule, name, fingerprint)


def predicts_v(state: dict[str, torch.Tensor], architecture: Architecture) -> bool:
    """Whether the U-Net predicts v. ComfyUI marks the files that it saves; otherwise its own test tells SD 2.x models apart."""
    if "v_pred" in state:
        return True
    return architecture is ARCHITECTURES[1024] and float(state[LAST_NORM_KEY].float().std(unbiased=False)) > 0.09


def _text_encoder(state: dict[str, torch.Tensor], architecture: Architecture):
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, bos_token_id=49406, eos_token_id=49407, **architecture.text))
    is_open_clip = architecture is ARCHITECTURES[1024]
    converted = convert_open_clip_checkpoint(model, state) if is_open_clip else convert_ldm_clip_checkpoint(state)
    own = model.state_dict()
    wrapped = any(key.startswith("text_model.") for key in own)            # transformers dropped this level in version 5
    converted = {key if wrapped else key.removeprefix("text_model."): tensor for key, tensor in converted.items()}
    missing = sorted(set(own) - set(converted))
    if missing:
        raise LiveError(f"model: its text encoder lacks {missing[0]!r} (and {len(missing) - 1} more tensors); {TAKES}")
    model.load_state_dict({key: converted[key].float() for key in own})
    return model
