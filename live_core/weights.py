"""A file's tensors put into a network: all of them its own, none left out, none that is not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from . import LiveError
from .checks import is_finite

TAKES = (
    "LIVE takes Stable Diffusion 1.x and 2.x: text-to-image, InstructPix2Pix, inpainting and Paint-by-Example models"
)


def fill(network: nn.Module, tensors: Mapping[str, torch.Tensor], complaint: str, dtype: torch.dtype) -> None:
    """Give `network`, which may be on the meta device, copies on the CPU of exactly these tensors; LiveError beginning
    with `complaint` when they are not its own (`check_tensors`)."""
    check_tensors(network.state_dict(), tensors, complaint)
    copies = {key: tensor.to("cpu", dtype, copy=True) for key, tensor in tensors.items()}
    for key, tensor in copies.items():
        if not is_finite(tensor):
            where = "" if is_finite(tensors[key]) else "itself "
            raise LiveError(
                f"{complaint} ({key!r:.100} {where}has values that are not finite); "
                + ("fetch the file again" if where else "choose precision float32")
            )
    network.load_state_dict(copies, assign=True)


def check_tensors(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], complaint: str) -> None:
    """LiveError beginning with `complaint` unless `tensors` have the names and shapes of `own`, none missing and none
    too many, and are fractions."""
    wrong = sorted(own.keys() ^ tensors.keys()) or [
        key for key in own if own[key].shape != tensors[key].shape or not tensors[key].is_floating_point()
    ]
    if wrong:
        key = wrong[0]
        what = (
            "missing"
            if key not in tensors
            else "too many"
            if key not in own
            else f"of shape {tuple(tensors[key].shape)} and {tensors[key].dtype}"
        )
        raise LiveError(f"{complaint} ({key!r:.100} is {what}, {len(wrong)} such tensors); {TAKES}")


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """The autoencoder's number format beside networks of `dtype`: that of some Stable Diffusion 1.x models overflows in
    float16.
    """
    return torch.float32 if dtype == torch.float16 else dtype
