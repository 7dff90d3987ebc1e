"""The judge: a small network that names shape, colour and scene of a picture, so that generated ones can be counted.

It sees rendered pictures only, in training and in its own test; it never sees the model's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from ..data import HELD_OUT
from ..world import COLOURS, SCENES, SHAPES, SIZE, make_picture
from .run import to_tensor, write_safetensors

LABELS = {"shape": list(SHAPES), "colour": list(COLOURS), "scene": list(SCENES)}


class Judge(nn.Module):
    """(n, 3, s, s) in -1..1, of any size s, reduced to the world's own, to logits of shape, colour and scene."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            _block(3, 16, 2),
            _block(16, 32, 2),
            _block(32, 64, 2),
            _block(64, 64, 1),
            _block(64, 96, 2),
            _block(96, 96, 1),
            _block(96, 128, 2),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in LABELS.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if x.shape[-1] != SIZE:
            x = F.interpolate(x, (SIZE, SIZE), mode="area")
        hidden = self.body(x)
        hidden = torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], 1)  # a thing counts wherever it is
        return {name: head(hidden) for name, head in self.heads.items()}


def _block(a: int, b: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def labelled(seeds: range) -> tuple[torch.Tensor, dict[str, torch.Tensor], list[str]]:
    """Pictures of one thing in -1..1, what they show, and a caption that says it."""
    clips = [make_picture(seed, "one")[0] for seed in seeds]
    shown = {
        "shape": [c.things[0].shape for c in clips],
        "colour": [c.things[0].colour for c in clips],
        "scene": [c.scene for c in clips],
    }
    labels = {k: torch.tensor([LABELS[k].index(v) for v in values]) for k, values in shown.items()}
    captions = [f"a {c.things[0].name} {SCENES[c.scene].place}" for c in clips]
    return to_tensor(np.stack([c.frames()[0] for c in clips])), labels, captions


def train_judge(work: Path, count: int = 10_000, epochs: int = 6) -> tuple[Judge, dict[str, float]]:
    """The judge and its accuracy on 500 held-out renderings."""
    path = work / "judge.safetensors"
    torch.manual_seed(0)
    judge = Judge()
    if path.exists():
        judge.load_state_dict(load_file(path))
    else:
        _train(judge, count, epochs)
        write_safetensors(path, judge.state_dict())
    judge.eval()
    images, labels, _ = labelled(range(HELD_OUT, HELD_OUT + 500))
    return judge, accuracy(judge, images, labels)


def _train(judge: Judge, count: int, epochs: int) -> None:
    """Blur and noise stand for an imperfect picture's look."""
    images, labels, _ = labelled(range(count))
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs * (count // 50))
    for _ in range(epochs):
        for rows in torch.randperm(count).split(50):
            x = images[rows]
            if torch.rand(()) < 0.5:
                x = x.flip(-1)
            if torch.rand(()) < 0.3:
                x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
            x = x + 0.1 * torch.rand(()) * torch.randn_like(x)
            loss = sum(F.cross_entropy(logits, labels[name][rows]) for name, logits in judge(x).items())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(judge: Judge, images: torch.Tensor, labels: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float((logits.argmax(-1) == labels[name]).double().mean()) for name, logits in judge(images).items()}
