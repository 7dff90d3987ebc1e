"""A worker of windows in a process of its own: how a model gets there, and how it works there."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .memory import one_run
from .notes import gathered
from .pretrained import LiveModel
from .video_unet import VideoUNet
from .weights import fill

COMPLAINT = "engine: a worker was sent another model"
Tensors = dict[str, tuple[str, tuple[int, ...], np.ndarray]]  # name -> number format, shape, bytes


@dataclass(frozen=True)
class Sent:
    """A model as it is sent to workers: the classes of its networks and what they are built from, their tensors as
    bytes, which travel without a copy, and what else there is of it, `rest`."""

    kinds: dict[str, tuple[type[nn.Module], Any]]
    tensors: dict[str, Tensors]
    rest: LiveModel


def send(model: LiveModel) -> Sent:
    """`model` for workers. The files of its embeddings go by their paths: prompts that name one need them there."""
    networks = {"unet": model.unet.unet, "vae": model.vae, "text_encoder": model.text_encoder}
    files = dict(model.embeddings())
    return Sent(
        {name: (type(network), _config(network)) for name, network in networks.items()},
        {name: _as_bytes(network.state_dict()) for name, network in networks.items()},
        replace(model, **dict.fromkeys(networks), embeddings=Files(files)),  # type: ignore[arg-type]
    )


def receive(sent: Sent, device: str) -> LiveModel:
    """The model that was sent, on `device`."""
    networks: dict[str, Any] = {}
    for name, (kind, config) in sent.kinds.items():
        tensors = _of_bytes(sent.tensors[name])
        dtype = next(iter(tensors.values())).dtype
        temporal = {key: tensor for key, tensor in tensors.items() if "_temp." in key}
        network = kind.from_config(config) if isinstance(config, dict) else kind(config)  # type: ignore[attr-defined]
        fill(network, {key: tensors[key] for key in tensors.keys() - temporal.keys()}, COMPLAINT, dtype)
        if name == "unet":
            network = VideoUNet(network)
            network.unet.load_state_dict(temporal, strict=False)
        networks[name] = network.eval().requires_grad_(False).to(device)
    return replace(sent.rest, **networks)


class Files:
    """`LiveModel.embeddings` of a list that stays."""

    def __init__(self, files: Mapping[str, Path]):
        self.files = files

    def __call__(self) -> Mapping[str, Path]:
        return self.files


class Worker:
    """One process' work on windows: with so many threads as whoever sent the model has, since on a CPU sums depend on
    how many add them."""

    def __init__(self, sent: Sent, device: str, threads: int):
        torch.set_num_threads(threads)
        self.model = receive(sent, device)
        # All windows are of one run: what one has run out of memory with is not tried by the next.
        self.context, self.run_of_all = contextvars.copy_context(), one_run()
        self.context.run(self.run_of_all.__enter__)

    def run(self, work: Callable[..., torch.Tensor], task: object) -> tuple[torch.Tensor, list[str]]:
        """What `work` gives for `task`, in main memory, and what it noted."""
        return self.context.run(self._run, work, task)

    def _run(self, work: Callable[..., torch.Tensor], task: object) -> tuple[torch.Tensor, list[str]]:
        with torch.no_grad(), gathered() as notes:
            return work(self.model, task, lambda step, total, latents: None).cpu(), notes


def _config(network: nn.Module) -> Any:
    """What a network of diffusers, or of transformers, is built from."""
    config = network.config
    return dict(config) if isinstance(config, Mapping) else config


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
