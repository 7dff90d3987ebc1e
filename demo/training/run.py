"""A resumable training run: what every stage shares."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARM_UP = 100  # steps over which the learning rate rises
FALL = 0.25  # the last part of all steps, over which it falls to zero
SAVE_EVERY = 300  # seconds


class Run:
    """Weights that learn, their optimiser's moments and their running average, all in one safetensors file.

    `best` is the stage's own: the best figure so far of what it exports.
    """

    def __init__(
        self, stage: str, work: Path, modules: dict[str, torch.nn.Module], lr: float, steps: int, average: float
    ):
        self.modules, self.steps, self.lr, self.decay = modules, steps, lr, average
        self.path, self.log_path = work / f"{stage}.safetensors", work / f"{stage}.log"
        self.parameters = {
            f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters() if p.requires_grad
        }
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.step, self.best, self.saved, self.started = 0, float("inf"), time.time(), time.time()
        self.stopping = False
        if self.path.exists():
            self._load()
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _load(self) -> None:
        state = load_file(self.path)
        self.step, self.best = int(state["step"]), float(state["best"])
        with torch.no_grad():
            for n, p in self.parameters.items():
                p.copy_(state[f"weight/{n}"])
                self.average[n].copy_(state[f"average/{n}"])
                self.optimizer.state[p] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": state[f"first/{n}"].to(p.device),
                    "exp_avg_sq": state[f"second/{n}"].to(p.device),
                }

    def save(self) -> None:
        state = {"step": torch.tensor(self.step), "best": torch.tensor(self.best)}
        for n, p in self.parameters.items():
            moments = self.optimizer.state[p]
            state |= {
                f"weight/{n}": p.detach(),
                f"average/{n}": self.average[n],
                f"first/{n}": moments["exp_avg"],
                f"second/{n}": moments["exp_avg_sq"],
            }
        write_safetensors(self.path, state)
        self.saved = time.time()

    def rate(self) -> float:
        rising = min(1.0, (self.step + 1) / WARM_UP)
        return self.lr * rising * min(1.0, (self.steps - self.step) / (FALL * self.steps))

    def update(self, loss: torch.Tensor, **logged: float) -> None:
        """One optimiser step for `loss`; keeps the average; logs every 50 steps; saves every five minutes.

        Ends the program, saved, when it has been asked to stop (SIGTERM).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.decay, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            now = [p.detach() for p in self.parameters.values()]
            torch._foreach_lerp_(list(self.average.values()), now, 1 - decay)
        if self.step % 50 == 0:
            self.log(loss=loss.detach(), **logged)
        if self.stopping or time.time() - self.saved > SAVE_EVERY or self.step == self.steps:
            self.save()
        if self.stopping:
            raise SystemExit(f"stopped after step {self.step}, saved")

    def log(self, **figures: float) -> None:
        row = {
            "step": self.step,
            "s": round(time.time() - self.started),
            "lr": round(self.rate(), 6),
            **{name: round(float(value), 5) for name, value in figures.items()},
        }
        with self.log_path.open("a") as log:
            print(json.dumps(row), file=log)

    def averaged(self, name: str) -> torch.nn.Module:
        """A copy of one module with the averaged weights, on the CPU."""
        module = copy.deepcopy(self.modules[name]).to("cpu", memory_format=torch.contiguous_format)
        with torch.no_grad():
            for n, p in module.named_parameters():
                if f"{name}.{n}" in self.average:
                    p.copy_(self.average[f"{name}.{n}"])
        return module


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    draft = path.with_suffix(".draft")
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, draft)
    os.replace(draft, path)


def export(module, folder: Path) -> None:
    """Write a diffusers or transformers object in half precision; `folder` is replaced as a whole."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    (module.half() if isinstance(module, torch.nn.Module) else module).save_pretrained(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")


def copy_missing_parts(source: Path, target: Path, parts: tuple[str, ...] = PARTS) -> None:
    """The model folder `target` gets from `source` what it lacks of `parts`, so that it can be loaded from the first
    export on."""
    target.mkdir(parents=True, exist_ok=True)
    for part in parts:
        if not (target / part).exists():
            shutil.copytree(source / part, target / part)


def rng_for(step: int, stage: int) -> tuple[np.random.Generator, torch.Generator]:
    """The randomness of one step depends on the step alone, so a resumed run repeats an uninterrupted one."""
    return np.random.default_rng((stage, step)), torch.Generator().manual_seed(stage * 10_000_000 + step)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, h, w, c) uint8 to (n, c, h, w) in -1..1."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(DEVICE).float().div(127.5).sub(1)
    return x.contiguous(memory_format=torch.channels_last)
