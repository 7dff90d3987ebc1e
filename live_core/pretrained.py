"""What a model is: its networks, its fingerprint, and how networks are given a file's tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from . import LiveError, autoencoder
from .bases import PHOTO, TEXT_TO_IMAGE, TEXTS, Base, base_of, check_base
from .checks import check_frames
from .concept import Concept, initial_vectors
from .diffusion import Schedule
from .folders import (
    PARTS,
    PHOTO_PARTS,
    read_autoencoder,
    read_photo_encoder,
    read_schedule,
    read_text_encoder,
    read_unet,
    reads_photo,
)
from .memory import Call, on_cpu, plainly, with_less
from .photo_encoder import PhotoEncoder
from .pictures import as_clip_sees, check_clip, check_photo
from .prompts import Prompt, check_clip_prompt, read_prompt
from .syntax import EMBEDDING
from .text import Embeddings, TextEncoder, encode_apart, token_table
from .tunings import Tuning
from .video_unet import VideoUNet
from .vocabulary import load_tokenizer
from .weights import vae_dtype

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

OVERFLOW = "load the model with precision float32; if it has that, its weights are damaged"


@dataclass(frozen=True, repr=False)
class LiveModel:
    """A Stable Diffusion 1.x or 2.x model seen as a video model. The networks are shared and never left changed.
    `conditioner`: what makes of a text, or of a photo, what the U-Net's cross-attention reads.

    `fingerprint`: 16 hex digits, `base_fingerprint`, by which tunings and inversions know their base. `embeddings`
    lists the files that `embedding:name` may name in a prompt (`text.Embeddings`). `base`: what its U-Net reads.
    """

    unet: VideoUNet
    vae: AutoencoderKL
    conditioner: TextEncoder | PhotoEncoder
    schedule: Schedule
    name: str
    fingerprint: str
    tuning: Tuning | None = None
    embeddings: Callable[[], Mapping[str, Path]] = dict
    base: Base = TEXT_TO_IMAGE

    def __repr__(self) -> str:
        """Short: ComfyUI sends with every error what the node was given, as it is printed."""
        return f"LiveModel({self.name!r}, {self.fingerprint})"

    @property
    def networks(self) -> nn.ModuleList:
        """All of them, to be moved together."""
        conditioner = self.conditioner.network if isinstance(self.conditioner, TextEncoder) else self.conditioner
        return nn.ModuleList([self.unet, self.vae, conditioner])

    @property
    def _texts(self) -> TextEncoder:
        """LiveError where the model reads a photo in their place."""
        if isinstance(self.conditioner, TextEncoder):
            return self.conditioner
        raise LiveError(
            f"model: {self.name!r:.100} is {self.base.name}, which reads a photo in the place of a text; give it to"
            f" {self.base.edits}, or load one that reads texts"
        )

    @property
    def text_encoder(self) -> CLIPTextModel:
        return self._texts.network

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return self._texts.tokenizer

    def with_tuning(self, tuning: Tuning | None) -> LiveModel:
        if tuning is not None and tuning.base != self.fingerprint:
            raise LiveError(
                f"tuning: it was trained on {tuning.base_name!r} (fingerprint {tuning.base}), and this model is"
                f" {self.name!r} (fingerprint {self.fingerprint}); load the base model it was trained on"
            )
        if tuning is not None:
            tuning.check_fit(
                self.name,
                self.unet.trainable(tuning.learns),
                self.latent_channels,
                token_table(self.text_encoder).embedding_dim,
            )
        return replace(self, tuning=tuning)

    def check_concepts(self, concepts: Iterable[Concept]) -> None:
        """LiveError for what was bound with another model, or would only fit by accident: its photo's latents and its
        vector are this model's own.
        """
        for concept in concepts:
            channels, width = self.latent_channels, token_table(self.text_encoder).embedding_dim
            shapes = concept.views.shape[1], concept.vectors.shape[1]
            if concept.base not in ("", self.fingerprint) or shapes != (channels, width):
                raise LiveError(
                    f"concept: the photo of {concept.placeholder!r} was bound with another model (fingerprint"
                    f" {concept.base or 'unknown'}, {shapes[0]} channels, a vector of {shapes[1]}) than {self.name!r}"
                    f" (fingerprint {self.fingerprint}, {channels} channels, a vector of {width}); give Bind Photo and"
                    " Tune Video the same model"
                )

    def check_base(self, wanted: Base, node: str) -> None:
        """LiveError unless this is the base that the node of that name takes (`bases.check_base`)."""
        check_base(self.base, wanted, self.name, node)

    @property
    def latent_channels(self) -> int:
        return self.vae.config.latent_channels

    @property
    def tuning_fingerprint(self) -> str:
        """16 hex digits that tell tunings of the clip apart; "" without one. What was learned of a photo is left out:
        it changes no inversion.
        """
        if self.tuning is None:
            return ""
        latent_prompt = {} if self.tuning.latent_prompt is None else {"latent_prompt": self.tuning.latent_prompt}
        return fingerprint_of({**self.tuning.tensors, **latent_prompt})

    @property
    def state_fingerprint(self) -> str:
        """16 hex digits that tell apart models which give other pictures: by their base, what was learned over it,
        their autoencoder, schedule and number format."""
        tensors = {
            "schedule": self.schedule.alphas_cumprod,
            **(self.tuning.tensors if self.tuning else {}),
            **{f"vae.{name}": tensor for name, tensor in self.vae.state_dict().items()},
        }
        kinds = self.fingerprint, self.unet.dtype, self.vae.dtype, self.schedule.prediction, fingerprint_of(tensors)
        return hashlib.sha256(" ".join(map(str, kinds)).encode()).hexdigest()[:16]

    def encode_text(self, text: str, concepts: tuple[Concept, ...] = ()) -> torch.Tensor:
        """(k L, d) float32, for a prompt of k chunks that may use the concepts' placeholders, several of them each read
        beside the others' initial words (`text.encode_apart`)."""
        prompt, vectors = self.read(text, concepts), [c.vectors for c in concepts]
        plain = [initial_vectors(concept, self.tokenizer, self.text_encoder) for concept in concepts]

        def encoded(call: Call) -> torch.Tensor:
            return encode_apart(prompt, self.text_encoder, vectors, plain, call).to(self.unet.device, torch.float32)

        return with_less("the text encoder", [("", lambda: encoded(plainly)), ("on the CPU", lambda: encoded(on_cpu))])

    @torch.no_grad()
    def encode_photo(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, d) float32 for a photo (1, H, W, 3), 0..1, and for none, of a model that reads photos. LiveError for more
        than one, or with values that are not finite."""
        check_photo(photo)
        assert isinstance(self.conditioner, PhotoEncoder)  # `check_base` saw to it
        encoder = self.conditioner
        seen = as_clip_sees(photo, encoder.size).to(encoder.no_photo)

        ways = [("", lambda: encoder(seen)), ("on the CPU", lambda: on_cpu(encoder, seen))]
        token = with_less("the photo encoder", ways)
        check_frames("photo: its token", token, OVERFLOW)
        photo_token, no_photo = (each[0].to(self.unet.device, torch.float32) for each in (token, encoder.no_photo))
        return photo_token, no_photo

    def read(self, text: str, concepts: tuple[Concept, ...] = ()) -> Prompt:
        """A prompt that may use the concepts' placeholders."""
        files = self.embeddings() if EMBEDDING in text else {}  # tuning reads a prompt at every step
        known = Embeddings(files, token_table(self.text_encoder).weight.shape[1])
        return read_prompt(text, self.tokenizer, {c.placeholder: len(c.vectors) for c in concepts}, known)

    def check_clip_prompt(self, text: str, concepts: tuple[Concept, ...] = ()) -> None:
        """LiveError or notes for a prompt that shall say what the clip shows (`prompts.check_clip_prompt`)."""
        check_clip_prompt(self.read(text), self.tokenizer, tuple(c.placeholder for c in concepts))

    def check_clip(self, frames: torch.Tensor) -> None:
        """LiveError unless pictures (f, H, W, 3) can be encoded; a note where their size is far from the model's."""
        side = self.unet.unet.config.sample_size
        check_clip(frames, self.pixels_per_latent, side * self.pixels_per_latent if isinstance(side, int) else None)

    @torch.no_grad()
    def encode_frames(self, frames: torch.Tensor, name: str = "images") -> torch.Tensor:
        """Pictures (f, H, W, 3), 0..1, to scaled latents (f, c, h, w), float32, the posterior's mean. H and W:
        multiples of 8.

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
        return self.decode_plain(self.plain(latents))

    def plain(self, latents: torch.Tensor) -> torch.Tensor:
        """Scaled latents as the autoencoder has them, which is what ComfyUI passes between nodes."""
        return latents / self.vae.config.scaling_factor

    @torch.no_grad()
    def decode_plain(self, latents: torch.Tensor) -> torch.Tensor:
        """`decode_frames` of latents that are not scaled. LiveError for another shape than this model's, and for values
        that are not finite."""
        if latents.ndim != 4 or latents.shape[1] != self.latent_channels or 0 in latents.shape:
            raise LiveError(
                f"latents: shape {tuple(latents.shape)}; {self.name!r:.100} decodes (frames, {self.latent_channels},"
                " height, width)"
            )
        check_frames("latents", latents)
        pictures = autoencoder.decode(self.vae, latents)
        check_frames("images: the autoencoder's pictures", pictures, OVERFLOW)
        return pictures.clamp_(0, 1)

    def map_size(self, latents: torch.Tensor) -> tuple[int, int]:
        """(height, width) of the word maps for latents (..., h, w)."""
        return self.unet.map_size(*latents.shape[-2:])

    @property
    def pixels_per_latent(self) -> int:
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def load_folder(folder: Path | str, dtype: torch.dtype = torch.float32) -> LiveModel:
    """A model in diffusers layout (unet, vae, text_encoder, tokenizer, scheduler; Paint-by-Example's has an
    image_encoder in the place of the text's).

    Weights are ordinary tensors even under inference mode, so that they can be trained. LiveError, naming the part, for
    files that are missing or damaged, for a configuration that says what LIVE does not take from a file, and for
    tensors that are not those it describes.
    """
    folder = Path(folder)
    photo = reads_photo(folder)
    missing = [part for part in (PHOTO_PARTS if photo else PARTS) if not (folder / part).is_dir()]
    if missing:
        layout = "Paint-by-Example" if photo else "Stable Diffusion 1.x or 2.x"
        raise LiveError(
            f"model folder {folder.name!r:.100} has no {', '.join(missing)}; expected the diffusers layout of {layout}"
        )
    with torch.inference_mode(False), torch.no_grad():
        unet, unet_tensors = read_unet(folder / "unet", dtype)
        vae = read_autoencoder(folder / "vae", vae_dtype(dtype))
        conditioner, read = (_photo_encoder if photo else _text_encoder)(folder, unet, dtype)
        return LiveModel(
            unet,
            vae,
            conditioner,
            read_schedule(folder / "scheduler" / "scheduler_config.json"),
            folder.name,
            base_fingerprint(unet_tensors, read),
            base=base_of(unet.unet.config.in_channels, folder.name, PHOTO if photo else TEXTS),
        )


def _text_encoder(folder: Path, unet: VideoUNet, dtype: torch.dtype) -> tuple[TextEncoder, dict[str, torch.Tensor]]:
    network, tensors = read_text_encoder(folder / "text_encoder", dtype)
    tokenizer = load_tokenizer(folder / "tokenizer", network.config.max_position_embeddings)
    if len(tokenizer) > network.config.vocab_size:
        raise _mixed(
            folder,
            f"a tokenizer of {len(tokenizer)} tokens, and a text encoder of {network.config.vocab_size}",
        )
    return TextEncoder(network, tokenizer), tensors


def _photo_encoder(folder: Path, unet: VideoUNet, dtype: torch.dtype) -> tuple[PhotoEncoder, dict[str, torch.Tensor]]:
    encoder, tensors = read_photo_encoder(folder / "image_encoder", dtype)
    width, wanted = encoder.proj_out.out_features, unet.unet.config.cross_attention_dim
    if width != wanted:
        raise _mixed(folder, f"a photo encoder that gives {width} values, and a U-Net that reads {wanted}")
    return encoder, tensors


def _mixed(folder: Path, parts: str) -> LiveError:
    return LiveError(
        f"model folder: {folder.name!r:.100} has parts of different models: {parts}; put the parts of one model"
        " together"
    )


def base_fingerprint(unet: Mapping[str, torch.Tensor], text_encoder: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell base models apart by what a tuning rests on: the U-Net's tensors, its temporal ones among
    them, and those of the text encoder as far as it is read. All in diffusers' names and as the file has them."""
    tensors = {f"unet.{name}": tensor for name, tensor in unet.items()}
    for name, tensor in text_encoder.items():
        tensors["text." + name.removeprefix("text_model.")] = tensor  # transformers dropped this level in version 5
    return fingerprint_of(tensors)


def fingerprint_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits that tell tensors apart by their names, their shapes and up to 64 values spread evenly over each.
    In half precision, so that a file saved at float16 is the same base as the one at float32."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().reshape(-1)
        count = min(len(values), 64)
        spread = torch.arange(count) * (len(values) - 1) // max(count - 1, 1)  # the first value to the last
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(values[spread.to(values.device)].half().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
