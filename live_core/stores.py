"""Where the source's attention is kept: in memory or in a folder of safetensors files.

`recompute` needs no store: the source runs beside the edit as one more stream, or before it, and what of it a step
reads stays on the device (`step_store`). Both stores keep the tensors as they came and give them back equal, so the
three ways give the same edit. They are for what outlives a step: gigabytes, too many for a device, which are copied
from it and back. It does not wait for main memory's copies; for a disk's it has to.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from . import LiveError
from .files import reading, unwritable
from .methods import Method

STORES = ("recompute", "ram", "disk")


def check_attention(attention: str, method: Method) -> None:
    """LiveError unless `attention` is one of `STORES`, and one that an inversion for `method` can keep."""
    if attention not in STORES:
        raise LiveError(f"attention: {attention!r}; choose {', '.join(STORES)}")
    if attention != "recompute" and method.source == "path":
        raise LiveError(
            f"attention: {attention!r}, but the source of {method.name!r} runs beside its edit whatever is kept; choose"
            ' "recompute"'
        )


def _missing(key: str) -> LiveError:
    step = int(key.split("/")[0])
    return LiveError(
        f"inversion: the attention of step {step + 1} was not kept; invert the clip again with more kept steps, or with"
        ' attention "recompute"'
    )


def _unkept(folder: Path, error: Exception) -> LiveError:
    return unwritable("attention: 'disk', and the clip's attention", folder, error, 'choose attention "recompute"')


class RamStore:
    """In main memory, of a CUDA card's pinned, where it copies to and from while it computes. What was written is there
    once the device has been asked for anything that it computed later, as the check of every step's result does."""

    def __init__(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}

    def write(self, key: str, value: torch.Tensor) -> None:
        self._tensors[key] = value.detach().to("cpu", non_blocking=True, copy=True)

    def read(self, key: str) -> torch.Tensor:
        if key not in self._tensors:
            raise _missing(key)
        return self._tensors[key]

    def nbytes(self) -> int:
        return sum(t.nbytes for t in self._tensors.values())


class DiskStore:
    """One file a tensor, in a new folder in `folder` that goes away with the store."""

    def __init__(self, folder: Path):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._owned = TemporaryDirectory(prefix="live-attention-", dir=folder, ignore_cleanup_errors=True)
        except OSError as error:
            raise _unkept(Path(folder), error) from error
        self.folder = Path(self._owned.name)
        self._bytes: dict[str, int] = {}

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"

    def write(self, key: str, value: torch.Tensor) -> None:
        try:
            save_file({"value": value.detach().cpu().contiguous()}, self._path(key))
        except (OSError, SafetensorError) as error:
            raise _unkept(self.folder.parent, error) from error
        self._bytes[key] = value.nbytes

    def read(self, key: str) -> torch.Tensor:
        if key not in self._bytes:
            raise _missing(key)
        with reading("inversion: the attention that was kept on the disk", "invert the clip again"):
            return load_file(self._path(key))["value"]

    def nbytes(self) -> int:
        return sum(self._bytes.values())
