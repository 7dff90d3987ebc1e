"""A tuning that was stopped, in a file from which it goes on to the same bits."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from . import LiveError
from .checks import is_finite
from .files import read_safetensors, reading, write_safetensors
from .notes import note

KEPT = 3  # files in the folder, the newest; for Stable Diffusion 1.x each is 0.9 GB
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Unfinished:
    """What a stopped tuning needs to go on: learned tensors, their optimisers' moments, and the losses, which count the
    steps.
    """

    def __init__(
        self,
        tensors: dict[str, torch.Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        losses: tuple[list[float], list[float]],
    ):
        self.tensors, self.optimizers, self.losses = tensors, optimizers, losses

    def save(self, file: Path) -> None:
        """Write `file`; a disk that cannot take it is warned of, and the tuning goes on."""
        moments = {p: m for optimizer in self.optimizers for p, m in optimizer.state.items()}
        out = {f"losses/{i}": torch.tensor(losses, dtype=torch.float64) for i, losses in enumerate(self.losses)}
        for name, tensor in self.tensors.items():
            out[f"value/{name}"] = tensor.detach()
            out |= {f"{key}/{name}": moment for key, moment in moments.get(tensor, {}).items()}
        try:
            write_safetensors(out, file, name="unfinished tuning")
            _keep_the_newest(file.parent)
        except LiveError as error:
            note(f"{error}. The unfinished tuning cannot be kept so: if it is stopped it will start anew")

    def load(self, file: Path, turns: Sequence[int]) -> None:
        """Take up `file`, of a tuning whose steps are `turns`, 0 for a step of the clip and 1 for one of a photo. One
        that cannot be read, or that is not whole, is left out of account, with a warning."""
        try:
            with reading(f"unfinished tuning: {file.name!r}", "starting anew"):
                stored = read_safetensors(file)[0]
                self._check(stored, turns)
        except LiveError as error:
            note(str(error))
            return
        owner = {
            id(p): optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(stored[f"value/{name}"])
                if f"step/{name}" in stored:
                    moments = {key: stored[f"{key}/{name}"].to(tensor.device) for key in MOMENTS[:2]}
                    owner[id(tensor)].state[tensor] = {"step": stored[f"step/{name}"], **moments}
        for i, losses in enumerate(self.losses):
            losses[:] = stored[f"losses/{i}"].tolist()
        logging.info("LIVE: going on with an unfinished tuning from step %d", len(self.losses[0]) + len(self.losses[1]))

    def _check(self, stored: dict[str, torch.Tensor], turns: Sequence[int]) -> None:
        """ValueError unless `stored` is all of what `save` writes, and nothing else."""
        lengths = [stored[name].numel() if name in stored else 0 for name in ("losses/0", "losses/1")]
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        for i, length in enumerate(lengths):
            kinds[f"losses/{i}"] = (length,), torch.float64
        for name, tensor in self.tensors.items():
            learned = any(f"{key}/{name}" in stored for key in MOMENTS)
            for key in ("value", *(MOMENTS if learned else ())):
                kinds[f"{key}/{name}"] = ((), torch.float32) if key == "step" else (tuple(tensor.shape), tensor.dtype)
        for name in kinds.keys() ^ stored.keys():
            raise ValueError(f"{name!r:.100} is {'missing' if name in kinds else 'nothing that a tuning leaves'}")
        for name, kind in kinds.items():
            if (tuple(stored[name].shape), stored[name].dtype) != kind or not is_finite(stored[name]):
                raise ValueError(f"{name!r:.100} has another shape or type, or values that are not finite")
        if [list(turns[: sum(lengths)]).count(i) for i in (0, 1)] != lengths:
            raise ValueError(f"it counts {lengths[0]} steps of the clip and {lengths[1]} of photos")


def _keep_the_newest(folder: Path) -> None:
    try:
        ours = [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{32}\.safetensors(\.draft)?", path.name)]
        for old in sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            old.unlink()
    except OSError as error:  # costs only its space
        logging.info("LIVE: an older unfinished tuning stays in %s: %s", folder, error)
