"""The parts of a model in folders, as diffusers and transformers lay them out. Configurations are read by rules and
tensors are all accounted for: nothing in a folder chooses code, and nothing is downloaded."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from . import LiveError
from .bases import PHOTO, TEXTS, base_of
from .configs import Kind, number, one_of, read_json, take, told, whole
from .diffusion import Schedule, scaled_linear
from .files import map_safetensors, reading
from .folder_rules import AUTOENCODER, CLIP, DIFFUSERS_NOTES, TEXT, TRANSFORMERS_NOTES, UNET, VISION, WIDTH
from .photo_encoder import IN_FOLDER, PhotoEncoder, renamed
from .video_unet import VideoUNet
from .vocabulary import load_tokenizer
from .weights import TAKES, check_tensors, fill

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTextModel, PreTrainedTokenizerFast

Network = TypeVar("Network", bound=nn.Module)
Tensors = dict[str, torch.Tensor]
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
PHOTO_PARTS = ("unet", "vae", "image_encoder", "scheduler")  # of a model that reads a photo in the place of texts
PAINT_BY_EXAMPLE = "PaintByExamplePipeline"
LEAST_LEFT = 1e-6  # of a picture's variance at the last timestep; Stable Diffusion's has 0.0047
AGAIN = "a file in it is missing or cut short, so fetch it again"


def reads_photo(folder: Path) -> bool:
    """Whether a model's folder is Paint-by-Example's, by its model_index.json, or, without that file, by its parts."""
    file = folder / "model_index.json"
    if file.is_file():
        return read_json(file, f"model folder: {folder.name!r:.100}", AGAIN).get("_class_name") == PAINT_BY_EXAMPLE
    return (folder / "image_encoder").is_dir() and not (folder / "text_encoder").exists()


def read_unet(folder: Path, dtype: torch.dtype) -> tuple[VideoUNet, Tensors]:
    """The U-Net of a model's folder, inflated, and its tensors as the file has them, under diffusers' names or, if
    temporal, ours.
    """
    unet, tensors, temporal = read_picture_unet(folder, dtype)
    with reading(_what(folder), "its config.json is not that of Stable Diffusion, so fetch it again"):
        video_unet = VideoUNet(unet)
    if temporal:
        check_tensors(
            {key: tensor for key, tensor in unet.state_dict().items() if "_temp." in key}, temporal, _unlike(folder)
        )
        unet.load_state_dict(temporal, strict=False)
    return video_unet.requires_grad_(False), {**tensors, **temporal}


def read_picture_unet(folder: Path, dtype: torch.dtype) -> tuple[UNet2DConditionModel, Tensors, Tensors]:
    """The 2-D U-Net of a model's folder, its tensors, and the temporal ones that a Tune-A-Video checkpoint has beside
    them.

    It calls them attn_temp and norm_temp, FateZero attn_temporal and norm_temporal.
    """
    from diffusers import UNet2DConditionModel

    name = folder.parent.name
    config = _config(folder)
    for option, what in (
        ("addition_embed_type", "a Stable Diffusion XL model"),
        ("class_embed_type", "an unCLIP model"),
    ):
        if config.get(option):
            raise LiveError(f"model: {name!r:.100} is {what}; {TAKES}")
    if WIDTH.fits(config.get("in_channels")):
        base_of(config["in_channels"], name, PHOTO if reads_photo(folder.parent) else TEXTS)
    is_video = any("3D" in json.dumps(config.get(key)) for key in ("_class_name", "down_block_types"))
    tensors = {
        key.replace("_temporal.", "_temp."): tensor
        for key, tensor in _tensors(folder, "diffusion_pytorch_model").items()
    }
    extra = sorted(key for key in tensors if "conv_temp" in key or "lora" in key)
    if is_video and extra:
        raise LiveError(
            f"model folder: the U-Net of {name!r:.100} has temporal convolutions ({extra[0]!r:.100}), which LIVE does"
            " not have; choose a Tune-A-Video checkpoint with temporal attention alone"
        )
    temporal = {key: tensors.pop(key) for key in list(tensors) if is_video and "_temp." in key}
    with torch.device("meta"):  # its random start would take longer than all the rest
        unet = _of_diffusers(UNet2DConditionModel, _of_pictures(config) if is_video else config, UNET, folder)
    fill(unet, tensors, _unlike(folder), dtype)
    return unet.eval().requires_grad_(False), tensors, temporal


def _of_pictures(config: dict) -> dict:
    """A video U-Net's configuration as that of the 2-D one it was inflated from."""

    def older(value: Any) -> Any:
        if isinstance(value, list):
            return [older(part) for part in value]
        return value.replace("Pseudo3D", "2D").replace("3D", "2D") if isinstance(value, str) else value

    return {key: older(value) for key, value in config.items()}


def read_autoencoder(folder: Path, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder of a model's folder. Attention may have the names that diffusers gave it before version 0.15."""
    from diffusers import AutoencoderKL

    older = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
    tensors = {}
    for key, tensor in _tensors(folder, "diffusion_pytorch_model").items():
        for old, new in older.items():
            key = key.replace(old, new) if ".attentions." in key else key
        tensors[key] = tensor
    with torch.device("meta"):
        vae = _of_diffusers(AutoencoderKL, _config(folder), AUTOENCODER, folder)
    fill(vae, tensors, _unlike(folder), dtype)
    return vae.eval().requires_grad_(False)


def read_text_encoder(folder: Path, dtype: torch.dtype) -> tuple[CLIPTextModel, Tensors]:
    """The text encoder of a model's folder, and its tensors as the file has them."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = take(_config(folder), TEXT, TRANSFORMERS_NOTES, _what(folder))
    tensors = {
        key: tensor
        for key, tensor in _tensors(folder, "model").items()
        if not key.endswith(".position_ids") and key != "text_projection.weight"
    }
    return of_transformers(
        CLIPTextModel, lambda: CLIPTextConfig(**config, attn_implementation="sdpa"), tensors, _unlike(folder), dtype
    )


def read_photo_encoder(folder: Path, dtype: torch.dtype) -> tuple[PhotoEncoder, Tensors]:
    """The photo encoder of a Paint-by-Example model's folder, and its tensors under our names."""
    from transformers import CLIPVisionConfig

    config = take(_config(folder), VISION, TRANSFORMERS_NOTES, _what(folder))
    return of_transformers(
        PhotoEncoder,
        lambda: CLIPVisionConfig(**config, attn_implementation="sdpa"),
        renamed(_tensors(folder, "model"), IN_FOLDER),
        _unlike(folder),
        dtype,
    )


def read_clip(folder: Path) -> tuple[CLIPModel, PreTrainedTokenizerFast]:
    """(model, tokenizer) of a whole CLIP in transformers layout: config.json, model.safetensors and the tokenizer's
    files.
    """
    from transformers import CLIPConfig, CLIPModel

    config = take(_config(folder), CLIP, TRANSFORMERS_NOTES, _what(folder))
    towers = {}
    for tower, rules in (("text_config", TEXT), ("vision_config", VISION)):
        # The second is an older name, which wins, as in transformers.
        both = {**config.get(tower, {}), **config.get(f"{tower}_dict", {})}
        towers[tower] = take(both, rules, TRANSFORMERS_NOTES, f"{_what(folder)}: {tower}")
    tensors = {key: tensor for key, tensor in _tensors(folder, "model").items() if not key.endswith(".position_ids")}
    width = {key: value for key, value in config.items() if key == "projection_dim"}
    model, _ = of_transformers(
        CLIPModel,
        lambda: CLIPConfig(**towers, **width, attn_implementation="sdpa"),
        tensors,
        _unlike(folder),
        torch.float32,
    )
    tokenizer = load_tokenizer(folder, model.config.text_config.max_position_embeddings, owner=folder.name)
    if len(tokenizer) > model.config.text_config.vocab_size:
        raise LiveError(
            f"clip folder: {folder.name!r:.100} has a tokenizer of {len(tokenizer)} tokens, and its model"
            f" {model.config.text_config.vocab_size}; put the files of one model together"
        )
    return model, tokenizer


def of_transformers(
    kind: Callable[..., Network],
    configure: Callable[[], object],
    tensors: Tensors,
    complaint: str,
    dtype: torch.dtype,
    others: bool = False,
) -> tuple[Network, Tensors]:
    """A network of transformers on the CPU, and the tensors that it was given; LiveError beginning with `complaint`
    when they are not its own.

    They may have one level of names more, or less, than this version's: it dropped `text_model` in version 5. `others`:
    there may be more of them, which are left out. Sizes are compared before memory is taken for them.
    """
    with torch.device("meta"):
        own = built(lambda: kind(configure()), complaint).state_dict()
    level = "text_model."
    if not any(key.startswith("vision_model.") for key in own):
        named = level if any(key.startswith(level) for key in own) else ""
        tensors = {named + key.removeprefix(level): tensor for key, tensor in tensors.items()}
    tensors = {key: tensor for key, tensor in tensors.items() if key in own or not others}
    check_tensors(own, tensors, complaint)
    network = kind(configure())  # not on the meta device, which would lose what no file keeps
    fill(network, tensors, complaint, dtype)
    return network.eval().requires_grad_(False), tensors


def read_schedule(file: Path) -> Schedule:
    """The schedule of a scheduler_config.json. LiveError for one that LIVE would read as another."""
    config = read_json(file, _what(file.parent), AGAIN)
    config = {
        "prediction_type": "epsilon",
        "trained_betas": None,
        "rescale_betas_zero_snr": False,
        "num_train_timesteps": 1000,
        "steps_offset": 1,
        **config,
    }
    taken = {
        "beta_schedule": one_of("scaled_linear"),
        "prediction_type": one_of("epsilon", "v_prediction"),
        "trained_betas": one_of(None),
        "rescale_betas_zero_snr": one_of(False),
    }
    for option, kind in taken.items():
        if not kind.fits(config.get(option)):
            raise LiveError(f"scheduler: {option} {told(config.get(option))}; LIVE takes models with {kind.words}")
    for option, usual in (("beta_start", 0.00085), ("beta_end", 0.012)):
        if not number(1e-9, 1 - 1e-9).fits(config.get(option)):
            raise LiveError(
                f"scheduler: {option} {told(config.get(option))}; it must be a number, {usual} in Stable Diffusion 1.x"
                " and 2.x"
            )
    for option, kind in (("num_train_timesteps", whole(1, 100_000)), ("steps_offset", whole(0, 100))):
        if not kind.fits(config[option]):
            raise LiveError(f"scheduler: {option} {told(config[option])}; LIVE takes {kind.words}")
    left = scaled_linear(config["beta_start"], config["beta_end"], config["num_train_timesteps"])
    if left[-1] < LEAST_LEFT:
        raise LiveError(
            f"scheduler: beta_start {told(config['beta_start'])}, beta_end {told(config['beta_end'])} and"
            f" num_train_timesteps {told(config['num_train_timesteps'])} leave nothing of a picture in its noise, so"
            " no step can be taken back; in Stable Diffusion 1.x and 2.x they are 0.00085, 0.012 and 1000"
        )
    return Schedule(left, config["prediction_type"], config["steps_offset"])


def _what(folder: Path) -> str:
    """What messages call a part of a model's folder, or a folder that has one part."""
    return (
        f"model folder: {folder.name} of {folder.parent.name!r:.100}"
        if folder.name in {*PARTS, *PHOTO_PARTS}
        else f"clip folder: {folder.name!r:.100}"
    )


def _unlike(folder: Path) -> str:
    return f"{_what(folder)} is not what its config.json says"


def _config(folder: Path) -> dict:
    return read_json(folder / "config.json", _what(folder), AGAIN)


def _of_diffusers(kind: Callable[..., Network], config: dict, rules: dict[str, Kind], folder: Path) -> Network:
    """A network of diffusers. What its class is without a word a configuration may say, too."""
    usual = {name: option.default for name, option in inspect.signature(kind).parameters.items()}
    taken = take(config, rules, DIFFUSERS_NOTES, _what(folder), usual)
    taken.pop("_class_name", None)
    return built(lambda: kind(**taken), _unlike(folder))


def built(build: Callable[[], Network], complaint: str) -> Network:
    """The network of a configuration that is right value by value. Together they may be none: then each library has
    errors of its own.
    """
    try:
        return build()
    except Exception as error:
        raise LiveError(f"{complaint}: it cannot be built ({error}); {TAKES}") from error


def _instead(folder: Path) -> str:
    """What to take in the place of a model's folder that has no safetensors."""
    if reads_photo(folder):
        return (
            "fetch its safetensors: the published Paint-by-Example has them in its pull request 3 (revision refs/pr/3),"
            " not on its main branch"
        )
    return "convert it to safetensors"


def _tensors(folder: Path, stem: str) -> Tensors:
    """Those of a part's .safetensors file, as diffusers names variants: the plain one, else half precision's."""
    names = [f"{stem}.safetensors", f"{stem}.fp16.safetensors"]
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None and any(folder.glob("*-of-*.safetensors")):
        raise LiveError(
            f"model folder: {folder.parent.name!r:.100} has {folder.name} in several .safetensors files; LIVE reads one"
            ' file a part, so save the model anew with diffusers\' save_pretrained(folder, max_shard_size="20GB")'
        )
    if file is None:
        raise LiveError(
            f"model folder: {folder.parent.name!r:.100} has no .safetensors file in {folder.name}; other formats can"
            f" run code when read, so {_instead(folder.parent)}"
        )
    with reading(_what(folder), AGAIN):
        return map_safetensors(file)  # `fill` copies them
