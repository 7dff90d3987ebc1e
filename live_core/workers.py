"""A worker of windows in a process of its own: how a model gets there, and how it works there."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .bases import BASES
from .economy import shared_room
from .memory import one_run
from .notes import gathered
from .pretrained import LiveModel
from .shares import Share
from .video_unet import VideoUNet
from .weights import fill

COMPLAINT = "engine: a worker was sent another model"
Tensors = dict[str, tuple[str, tuple[int, ...], np.ndarray]]  # name -> number format, shape, bytes


@dataclass(frozen=True)
class Sent:
    """A model as it is sent to workers: what its U-Net is built from, that one's tensors as bytes, which travel without
    a copy, and the rest as it is. What inflates a U-Net cannot be sent, and is made anew."""

    config: dict[str, Any]
    tensors: Tensors
    rest: LiveModel


def send(model: LiveModel) -> Sent:
    """`model` for workers. The files of its embeddings go by their paths: prompts that name one need them there."""
    network = model.unet.unet
    rest = replace(
        model,
        unet=None,  # type: ignore[arg-type]
        vae=_in_main_memory(model.vae),
        conditioner=_in_main_memory(model.conditioner),
        embeddings=Files(dict(model.embeddings())),
    )
    config = {name: value for name, value in network.config.items() if not name.startswith("_")}
    return Sent(config, _as_bytes(network.state_dict()), rest)


def receive(sent: Sent, device: str) -> LiveModel:
    """The model that was sent, on `device`."""
    from diffusers import UNet2DConditionModel

    tensors = _of_bytes(sent.tensors)
    temporal = {key: tensor for key, tensor in tensors.items() if "_temp." in key}
    dtype = tensors["conv_in.weight"].dtype
    with torch.device("meta"):  # its random start would take longer than all the rest
        network = UNet2DConditionModel(**sent.config)
    fill(network, {key: tensors[key] for key in tensors.keys() - temporal.keys()}, COMPLAINT, dtype)
    unet = VideoUNet(network.eval())
    unet.unet.load_state_dict(temporal, strict=False)
    base = next(base for base in BASES if base == sent.rest.base)  # bases are told apart by what they are
    model = replace(sent.rest, unet=unet.requires_grad_(False), base=base)
    model.networks.to(device)
    return model


def bytes_of(model: LiveModel) -> int:
    """What its networks take where they lie."""
    return sum(tensor.nbytes for tensor in model.networks.state_dict().values())


class Files:
    """`LiveModel.embeddings` of a list that stays."""

    def __init__(self, files: Mapping[str, Path]):
        self.files = files

    def __call__(self) -> Mapping[str, Path]:
        return self.files


class Worker:
    """One process' work on windows: with so many threads as whoever sent the model has, since on a CPU sums depend on
    how many add them. It has the model from its first window on, so that the memory it has for one can be asked before.
    """

    def __init__(self, fetch: Callable[[], Sent], device: str, threads: int):
        torch.set_num_threads(threads)
        self.fetch, self.device = fetch, device
        self.model: LiveModel | None = None
        # All windows are of one run: what one has run out of memory with is not tried by the next.
        self.context, self.run_of_all = contextvars.copy_context(), one_run()
        self.context.run(self.run_of_all.__enter__)

    def run(
        self, work: Callable[..., torch.Tensor], task: object, share: Share, asked: str
    ) -> tuple[torch.Tensor, list[str]]:
        """What `work` gives for `task`, in main memory, and what it noted. Memory is saved as `economy.shared_room` has
        it."""
        if self.model is None:
            self.model = receive(self.fetch(), self.device)
        return self.context.run(self._run, work, task, share, asked)

    def _run(
        self, work: Callable[..., torch.Tensor], task: object, share: Share, asked: str
    ) -> tuple[torch.Tensor, list[str]]:
        with torch.no_grad(), gathered() as notes, shared_room(share, asked):
            return work(self.model, task, lambda step, total, latents: None).cpu(), notes


def _in_main_memory(part: Any) -> Any:
    """A copy of a network, or of what has one, where a worker without this machine's devices can read it."""
    copied = deepcopy(part)
    getattr(copied, "network", copied).to("cpu")
    return copied


def _as_bytes(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {
        name: (
            str(tensor.dtype).removeprefix("torch."),
            tuple(tensor.shape),
            tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy(),
        )
        for name, tensor in tensors.items()
    }


def _of_bytes(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(values.copy()).view(getattr(torch, dtype)).view(shape)
        for name, (dtype, shape, values) in tensors.items()
    }
