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
from .held_back import HeldBack
from .notes import note

KEPT = 3  # files in the folder, the newest; for Stable Diffusion 1.x each is 0.9 GB
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Unfinished:
    """What a stopped tuning needs to go on: learned tensors, their optimisers' moments, the losses, which count the
    steps, and how far it had learned, where it is to stop by that.
    """

    def __init__(
        self,
        tensors: dict[str, torch.Tensor],
        optimizers: Sequence[torch.optim.Optimizer],
        losses: tuple[list[float], list[float]],
        held_back: HeldBack | None = None,
    ):
        self.tensors, self.optimizers, self.losses, self.held_back = tensors, optimizers, losses, held_back
        self.lists = {f"losses/{i}": each for i, each in enumerate(losses)}
        if held_back is not None:
            self.lists |= {f"looks/{i}": each for i, each in enumerate(held_back.looks)}

    def save(self, file: Path) -> None:
        """Write `file`; a disk that cannot take it is warned of, and the tuning goes on."""
        moments = {p: m for optimizer in self.optimizers for p, m in optimizer.state.items()}
        out = {name: torch.tensor(each, dtype=torch.float64) for name, each in self.lists.items()}
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
        for name, each in self.lists.items():
            each[:] = stored[name].tolist()
        logging.info("LIVE: going on with an unfinished tuning from step %d", len(self.losses[0]) + len(self.losses[1]))

    def _check(self, stored: dict[str, torch.Tensor], turns: Sequence[int]) -> None:
        """ValueError unless `stored` is all of what `save` writes, and nothing else."""
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            name: ((stored[name].numel() if name in stored else 0,), torch.float64) for name in self.lists
        }
        for name, tensor in self.tensors.items():
            learned = any(f"{key}/{name}" in stored for key in MOMENTS)
            for key in ("value", *(MOMENTS if learned else ())):
                kinds[f"{key}/{name}"] = ((), torch.float32) if key == "step" else (tuple(tensor.shape), tensor.dtype)
        for name in kinds.keys() ^ stored.keys():
            raise ValueError(f"{name!r:.100} is {'missing' if name in kinds else 'nothing that a tuning leaves'}")
        for name, kind in kinds.items():
            if (tuple(stored[name].shape), stored[name].dtype) != kind or not is_finite(stored[name]):
                raise ValueError(f"{name!r:.100} has another shape or type, or values that are not finite")
        lengths = [stored[f"losses/{i}"].numel() for i in (0, 1)]
        if self.held_back is not None:
            looks = [stored[f"looks/{i}"].tolist() for i in (0, 1)]
            if not all(self.held_back.could_have(i, lengths[i], len(looks[i])) for i in (0, 1)):
                raise ValueError(f"it counts {len(looks[0])} and {len(looks[1])} looks at held-back noise")
            turns = self.held_back.could_take(turns, lengths, looks)
        if [list(turns[: sum(lengths)]).count(i) for i in (0, 1)] != lengths:
            raise ValueError(f"it counts {lengths[0]} steps of the clip and {lengths[1]} of photos")


def _keep_the_newest(folder: Path) -> None:
    try:
        ours = [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{32}\.safetensors(\.draft)?", path.name)]
        for old in sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            old.unlink()
    except OSError as error:  # costs only its space
        logging.info("LIVE: an older unfinished tuning stays in %s: %s", folder, error)
