"""What a U-Net reads beside noisy latents and text: the kinds of Stable Diffusion, told apart by how many channels it
takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from . import LiveError
from .weights import TAKES

LATENT_CHANNELS = 4
TEXTS, PHOTO = "texts", "a photo"  # what a U-Net's cross-attention reads
WIDTHS = {"picture": LATENT_CHANNELS, "mask": 1}  # channels of what may be joined to noisy latents


@dataclass(frozen=True)
class Base:
    """`name`: what messages call it. `joined`: what follows the noisy latents' channels, in its order. `edits`: the
    nodes that edit with it. `reads`: `TEXTS`, or a `PHOTO` in their place. `keeps`: whether its mask is 1 where the
    picture is kept, and not where it is to be made."""

    name: str
    joined: tuple[str, ...]
    edits: str
    reads: str = TEXTS
    keeps: bool = False

    @property
    def channels(self) -> int:
        """How many its U-Net's first layer reads."""
        return LATENT_CHANNELS + sum(WIDTHS[part] for part in self.joined)

    def join(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(f, c', h, w): the `parts`, by their names in `joined`, as `streams.Stream.picture` has them."""
        return torch.cat([parts[name] for name in self.joined], 1)


TEXT_TO_IMAGE = Base("a text-to-image model", (), "Edit Video")
# Brooks et al. 2023. The picture is the latents' mean as the autoencoder gives it, not scaled as what is denoised is;
# "no picture" is zeros.
INSTRUCT = Base("an InstructPix2Pix model", ("picture",), "Edit by Instruction")
# The mask is 1 where the picture is to be made; the picture is grey there, and its latents are scaled as those that are
# denoised.
INPAINTING = Base("an inpainting model", ("mask", "picture"), "Inpaint Clip")
# Yang et al. 2023: the same, but for the order and for the mask.
PAINT_BY_EXAMPLE = Base("a Paint-by-Example model", ("picture", "mask"), "Paint by Example", PHOTO, keeps=True)
BASES = (TEXT_TO_IMAGE, INSTRUCT, INPAINTING, PAINT_BY_EXAMPLE)


def base_of(channels: int, name: str, reads: str = TEXTS) -> Base:
    """The base whose U-Net reads so many channels, and texts or a photo. LiveError, saying what the model of that name
    is, for another."""
    for base in BASES:
        if base.channels == channels and base.reads == reads:
            return base
    what = {5: "a depth model", 7: "an upscaling model"}.get(channels, "a special model")
    raise LiveError(
        f"model: {name!r:.100} is {what} (its U-Net reads {reads} and {channels} channels, not"
        f" {', '.join(str(base.channels) for base in BASES if base.reads == reads)}); {TAKES}"
    )


def check_base(base: Base, wanted: Base, name: str, node: str) -> None:
    """LiveError unless `base`, of the model of that name, is the one that a node takes."""
    if base is not wanted:
        raise LiveError(
            f"model: {name!r:.100} is {base.name} (its U-Net reads {base.reads} and {base.channels} channels), and"
            f" {node} takes {wanted.name} ({wanted.reads} and {wanted.channels}); give it to {base.edits}, or load"
            " one of that kind"
        )
