"""A resumable training run: what every stage shares."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARM_UP = 100  # steps over which the learning rate rises
FALL = 0.5  # the last part of the run, over which it falls to zero
SAVE_EVERY = 300  # seconds


class Run:
    """Weights that learn, their optimiser's moments and their running average, all in one safetensors file.

    It ends after `steps`, or after `minutes` when those are given and over first. `best` is the stage's own: the best
    figure so far of what it exports. On a GPU, unless `captured` is False, the third step is captured as a CUDA graph
    and all later ones replay it: networks this small would wait for Python otherwise. What `learn` is given must then
    keep its shapes and ask nothing of the host.
    """

    def __init__(
        self,
        stage: str,
        work: Path,
        modules: dict[str, torch.nn.Module],
        lr: float,
        steps: int,
        average: float,
        minutes: float | None = None,
        captured: bool = True,
    ):
        self.modules, self.steps, self.minutes, self.lr, self.decay = modules, steps, minutes, lr, average
        self.path, self.log_path = work / f"{stage}.safetensors", work / f"{stage}.log"
        self.parameters = {
            f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters() if p.requires_grad
        }
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.capturing = captured and DEVICE == "cuda"
        rate = torch.tensor(lr, device=DEVICE) if self.capturing else lr
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), rate, betas=(0.9, 0.99), weight_decay=0.01, capturable=self.capturing
        )
        self.step, self.best, self.spent = 0, float("inf"), 0.0
        self.stopping = False
        if self.path.exists():
            self._load()
        self.saved, self.started = time.time(), time.time() - self.spent
        self.done = self._part_done()  # 0..1, as of the last step
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: dict[str, torch.Tensor] = {}
        self._figures: dict[str, torch.Tensor] = {}
        self._eager = 0
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _load(self) -> None:
        state = load_file(self.path)
        self.step, self.best = int(state["step"]), float(state["best"])
        self.spent = float(state.get("seconds", 0.0))
        on = DEVICE if self.capturing else "cpu"
        with torch.no_grad():
            for n, p in self.parameters.items():
                p.copy_(state[f"weight/{n}"])
                self.average[n].copy_(state[f"average/{n}"])
                self.optimizer.state[p] = {
                    "step": torch.tensor(float(self.step), device=on),
                    "exp_avg": state[f"first/{n}"].to(p.device),
                    "exp_avg_sq": state[f"second/{n}"].to(p.device),
                }

    def save(self) -> None:
        state = {
            "step": torch.tensor(self.step),
            "best": torch.tensor(self.best),
            "seconds": torch.tensor(time.time() - self.started),
        }
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

    def _part_done(self) -> float:
        by_time = (time.time() - self.started) / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(self.step / self.steps, by_time))

    def rate(self) -> float:
        rising = min(1.0, (self.step + 1) / WARM_UP)
        return self.lr * rising * min(1.0, (1 - self.done) / FALL)

    def learn(self, losses: Callable[..., dict[str, torch.Tensor]], **inputs: torch.Tensor) -> bool:
        """One optimiser step for the first of `losses(**inputs)`, the others only logged; True when it was saved.

        Keeps the average; logs every 50 steps; saves every five minutes and at the end. Ends the program, saved, when
        it has been asked to stop (SIGTERM).
        """
        for group in self.optimizer.param_groups:
            if self.capturing:
                group["lr"].fill_(self.rate())
            else:
                group["lr"] = self.rate()
        self._figures = self._replayed(losses, inputs) if self.capturing else self._stepped(losses, inputs)
        self.step += 1
        self.done = self._part_done()
        if self.step % 50 == 0:
            self.log(**self._figures)
        if saves := self.stopping or time.time() - self.saved > SAVE_EVERY or self.done == 1:
            self.save()
        if self.stopping:
            raise SystemExit(f"stopped after step {self.step}, saved")
        return saves

    def _stepped(self, losses, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        figures = losses(**inputs)
        next(iter(figures.values())).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        decay = self.decay if self.capturing else min(self.decay, (self.step + 2) / (self.step + 21))
        with torch.no_grad():
            now = [p.detach() for p in self.parameters.values()]
            torch._foreach_lerp_(list(self.average.values()), now, 1 - decay)
        return {name: figure.detach() for name, figure in figures.items()}

    def _replayed(self, losses, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._graph is not None:
            for name, value in inputs.items():
                self._inputs[name].copy_(value)
            self._graph.replay()
            return self._figures
        self._inputs = {name: value.clone() for name, value in inputs.items()}
        self._eager += 1
        if self._eager < 3:  # memory is taken and algorithms are chosen outside the stream that will be captured
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                figures = self._stepped(losses, self._inputs)
            torch.cuda.current_stream().wait_stream(side)
            return figures
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._figures = self._stepped(losses, self._inputs)
        graph.replay()  # capturing runs nothing
        self._graph = graph
        return self._figures

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


def rate_for(rate: float, batch: int, usual: int) -> float:
    """The square-root rule, up to twice the `rate` of the `usual` batch."""
    return rate * min(2.0, (batch / usual) ** 0.5)


def half_precision() -> torch.autocast:
    """bfloat16 on a GPU, where it is several times as fast; nothing on a CPU."""
    return torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """(n, h, w, c) uint8 to (n, c, h, w) in -1..1."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).to(DEVICE).float().div(127.5).sub(1)
    return x.contiguous(memory_format=torch.channels_last)
