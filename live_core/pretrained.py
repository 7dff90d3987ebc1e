"""Models in. Everything is safetensors; nothing is downloaded."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from . import LiveError, autoencoder
from .checks import check_frames
from .concept import Concept, encode_text, token_table
from .diffusion import Schedule, scaled_linear
from .memory import Call, on_cpu, plainly, with_less
from .pictures import check_clip
from .tunings import Tuning
from .video_unet import VideoUNet

OVERFLOW = "load the model with precision float32; if it has that, its weights are damaged"
TAKES = "LIVE takes Stable Diffusion 1.x and 2.x text-to-image models"


@dataclass(frozen=True)
class LiveModel:
    """A Stable Diffusion 1.x or 2.x model seen as a video model. The networks are shared and never left changed.

    `fingerprint`: 16 hex digits, `base_fingerprint`, by which tunings and inversions know their base.
    """
    unet: VideoUNet
    vae: nn.Module
    text_encoder: nn.Module
    tokenizer: object
    schedule: Schedule
    name: str
    fingerprint: str
    tuning: Tuning | None = None

    def with_tuning(self, tuning: Tuning | None) -> LiveModel:
        if tuning is not None and tuning.base != self.fingerprint:
            raise LiveError(f"tuning: it was trained on {tuning.base_name!r} (fingerprint {tuning.base}), and this model is {self.name!r} (fingerprint "
                            f"{self.fingerprint}); load the base model it was trained on")
        if tuning is not None:
            tuning.check_fit(self.name, self.unet.trainable(), self.unet.unet.config.in_channels, token_table(self.text_encoder).embedding_dim)
        return replace(self, tuning=tuning)

    @property
    def tuning_fingerprint(self) -> str:
        """16 hex digits that tell tunings of the clip apart; "" without one. What was learned of a photo is left out: it changes no inversion."""
        if self.tuning is None:
            return ""
        latent_prompt = {} if self.tuning.latent_prompt is None else {"latent_prompt": self.tuning.latent_prompt}
        return fingerprint_of({**self.tuning.tensors, **latent_prompt})

    def encode_text(self, text: str, concepts: tuple[Concept, ...] = ()) -> torch.Tensor:
        """(L, d) float32"""
        def encoded(call: Call) -> torch.Tensor:
            return encode_text(text, self.tokenizer, self.text_encoder, concepts, call).to(self.unet.device, torch.float32)
        return with_less("the text encoder", [("", lambda: encoded(plainly)), ("on the CPU", lambda: encoded(on_cpu))])

    def check_clip(self, frames: torch.Tensor) -> None:
        """LiveError unless pictures (f, H, W, 3) can be encoded; a note where their size is far from the model's own."""
        side = self.unet.unet.config.sample_size
        check_clip(frames, self.pixels_per_latent, side * self.pixels_per_latent if isinstance(side, int) else None)

    @torch.no_grad()
    def encode_frames(self, frames: torch.Tensor, name: str = "images") -> torch.Tensor:
        """Pictures (f, H, W, 3), 0..1, to scaled latents (f, c, h, w), float32, the posterior's mean. H and W: multiples of 8.

        LiveError for pictures of another shape, or, with the input's `name`, with values that are not finite.
        """
        self.check_clip(frames)
        check_frames(name, frames)
        latents = autoencoder.encode(self.vae, frames)
        check_frames(f"{name}: the autoencoder's latents", latents, OVERFLOW)
        return latents * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode_frames(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents (f, c, h, w) to pictures (f, H, W, 3), 0..1, float32, in main memory; one frame at a time."""
        pictures = autoencoder.decode(self.vae, latents / self.vae.config.scaling_factor)
        check_frames("images: the autoencoder's pictures", pictures, OVERFLOW)
        return pictures.clamp_(0, 1)

    def map_size(self, latents: torch.Tensor) -> tuple[int, int]:
        """(height, width) of the word maps for latents (..., h, w)."""
        return self.unet.map_size(*latents.shape[-2:])

    @property
    def pixels_per_latent(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def load_folder(folder: Path | str, dtype: torch.dtype = torch.float32) -> LiveModel:
    """A model in diffusers layout (unet, vae, text_encoder, tokenizer, scheduler), local files only.

    Weights are ordinary tensors even under inference mode, so that they can be trained.
    """
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, CLIPTokenizer

    folder = Path(folder)
    missing = [part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if not (folder / part).is_dir()]
    if missing:
        raise LiveError(f"model folder {folder.name!r} has no {', '.join(missing)}; expected the diffusers layout of Stable Diffusion 1.x or 2.x")
    options = {part: {"local_files_only": True, "use_safetensors": True, "variant": _variant(folder / part)} for part in ("unet", "vae", "text_encoder")}
    with torch.inference_mode(False):
        with _reading(folder / "unet"):
            unet, temporal = _unet(folder / "unet", options["unet"])
        with _reading(folder / "vae"):
            vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", low_cpu_mem_usage=False, **options["vae"])
        with _reading(folder / "text_encoder"):
            text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", **options["text_encoder"])
        with _reading(folder / "tokenizer"):
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        with _reading(folder / "scheduler"):
            schedule = _schedule(json.loads((folder / "scheduler" / "scheduler_config.json").read_text()))
        fingerprint = base_fingerprint({**unet.state_dict(), **temporal}, text_encoder.state_dict())
        for module, kind in ((unet, dtype), (vae, vae_dtype(dtype)), (text_encoder, dtype)):
            module.to(kind).eval().requires_grad_(False)
        video_unet = VideoUNet(unet)
        if temporal:
            unet.load_state_dict(temporal, strict=False)
        return LiveModel(video_unet.requires_grad_(False), vae, text_encoder, tokenizer, schedule, folder.name, fingerprint)


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """The autoencoder's number format beside networks of `dtype`: that of some Stable Diffusion 1.x models overflows in float16."""
    return torch.float32 if dtype == torch.float16 else dtype


@contextmanager
def _reading(part: Path) -> Iterator[None]:
    """LiveError, naming the part of a model folder, when a file of it is missing or broken."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise LiveError(f"model folder: {part.name} of {part.parent.name!r} cannot be read ({error}); a file in it is missing or cut short, so fetch it again") from error


def _variant(folder: Path) -> str | None:
    """Which of a part's .safetensors files to read, as diffusers names variants: the plain one, else half precision's."""
    plain, half = (any(folder.glob(f"*model{end}")) for end in (".safetensors", ".fp16.safetensors"))
    if not plain and not half and any(folder.glob("*-of-*.safetensors")):
        raise LiveError(f"model folder: {folder.parent.name!r} has {folder.name} in several .safetensors files; LIVE reads one file a part, so save the model anew with "
                        "diffusers' save_pretrained(folder, max_shard_size=\"20GB\")")
    if not plain and not half:
        raise LiveError(f"model folder: {folder.parent.name!r} has no .safetensors file in {folder.name}; other formats can run code when read, so convert it to safetensors")
    return None if plain else "fp16"


def _unet(folder: Path, options: dict) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The 2-D U-Net of a folder, and the temporal tensors that a Tune-A-Video checkpoint has beside it, under our names.

    Tune-A-Video calls them attn_temp and norm_temp, FateZero attn_temporal and norm_temporal.
    """
    from diffusers import UNet2DConditionModel
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    for option, what in (("addition_embed_type", "a Stable Diffusion XL model"), ("class_embed_type", "an unCLIP model")):
        if config.get(option):
            raise LiveError(f"model: {folder.parent.name!r} is {what}; {TAKES}")
    check_channels(config.get("in_channels", 4), folder.parent.name)
    if "3D" not in json.dumps(config):
        return UNet2DConditionModel.from_pretrained(folder, low_cpu_mem_usage=False, **options), {}
    name = "diffusion_pytorch_model" + ("" if options["variant"] is None else f".{options['variant']}")
    state = {key.replace("_temporal.", "_temp."): tensor for key, tensor in load_file(folder / f"{name}.safetensors").items()}
    extra = sorted(key for key in state if "conv_temp" in key or "lora" in key)
    if extra:
        raise LiveError(f"model folder: the U-Net of {folder.parent.name!r} has temporal convolutions ({extra[0]!r}), which LIVE does not have; "
                        "choose a Tune-A-Video checkpoint with temporal attention alone")
    unet = UNet2DConditionModel.from_config({**json.loads(json.dumps(config).replace("3D", "2D")), "_class_name": "UNet2DConditionModel"})
    temporal = {key: tensor for key, tensor in state.items() if "_temp." in key}
    unet.load_state_dict({key: tensor for key, tensor in state.items() if key not in temporal})
    return unet, temporal


def check_channels(channels: int, name: str) -> None:
    """LiveError, saying what `name` is, when its U-Net reads more than the 4 channels of a latent."""
    if channels != 4:
        what = {9: "an inpainting model", 8: "an InstructPix2Pix model", 5: "a depth model", 7: "an upscaling model"}.get(channels, "a special model")
        raise LiveError(f"model: {name!r} is {what} (its U-Net reads {channels} channels, not 4); {TAKES}")


def _schedule(config: dict) -> Schedule:
    """The schedule of a scheduler_config.json. LiveError for one that LIVE would read as another."""
    config = {"prediction_type": "epsilon", "trained_betas": None, "rescale_betas_zero_snr": False, **config}
    taken = {"beta_schedule": ["scaled_linear"], "prediction_type": ["epsilon", "v_prediction"], "trained_betas": [None], "rescale_betas_zero_snr": [False]}
    for option, values in taken.items():
        if config.get(option) not in values:
            raise LiveError(f"scheduler: {option} {json.dumps(config.get(option)):.60}; LIVE takes models with {' or '.join(map(json.dumps, values))}")
    for option, usual in (("beta_start", 0.00085), ("beta_end", 0.012)):
        if not isinstance(config.get(option), (int, float)):
            raise LiveError(f"scheduler: {option} {json.dumps(config.get(option))}; it must be a number, {usual} in Stable Diffusion 1.x and 2.x")
    return Schedule(scaled_linear(config["beta_start"], config["beta_end"], config.get("num_train_timesteps", 1000)), config["prediction_type"], config.get("steps_offset", 1))


def base_fingerprint(unet: Mapping[str, torch.Tensor], text_encoder: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell base models apart by what a tuning rests on: the U-Net's tensors, its temporal ones among them, and those of
    the text encoder as far as it is read. All in diffusers' names and as the file has them."""
    tensors = {f"unet.{name}": tensor for name, tensor in unet.items()}
    tensors |= {"text." + name.removeprefix("text_model."): tensor for name, tensor in text_encoder.items()}          # transformers dropped this level in version 5
    return fingerprint_of(tensors)


def fingerprint_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell tensors apart by their names, their shapes and up to 64 values spread evenly over each. In half precision, so
    that a file saved at float16 is the same base as the one at float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().reshape(-1)
        count = min(len(values), 64)
        spread = torch.arange(count) * (len(values) - 1) // max(count - 1, 1)                # the first value to the last
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[spread.to(values.device)].half().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
