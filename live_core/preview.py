"""Pictures to look at: latents by a linear map to RGB, fitted to one decoded frame of the same model, curves over frames, and rows of pictures."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange


def fit_colours(latents: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """(c + 1, 3): least squares from `latents` (f, c, h, w) and a constant to `pictures` (f, H, W, 3) at latent size."""
    small = F.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).to(latents), latents.shape[-2:])
    return torch.linalg.lstsq(_with_constant(latents).cpu(), small.permute(0, 2, 3, 1).reshape(-1, 3).cpu()).solution


def _with_constant(latents: torch.Tensor) -> torch.Tensor:
    flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).float()
    return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)


def contact_sheet(latents: torch.Tensor, colours: torch.Tensor, most: int = 8, side: int = 128) -> np.ndarray:
    """Up to `most` frames of `latents` (f, c, h, w), evenly chosen, side by side: (side, width, 3) uint8."""
    chosen = latents[torch.linspace(0, len(latents) - 1, min(most, len(latents))).round().long()]
    rgb = (_with_constant(chosen) @ colours.to(chosen.device)).clamp(0, 1).reshape(len(chosen), *chosen.shape[-2:], 3)
    height, width = chosen.shape[-2:]
    big = F.interpolate(rgb.permute(0, 3, 1, 2), (side, max(1, round(side * width / height))), mode="bilinear")
    return (torch.cat(list(big), -1).permute(1, 2, 0) * 255).byte().cpu().numpy()


def plot_lines(curves: dict[str, torch.Tensor], width: int = 640, height: int = 160) -> torch.Tensor:
    """One panel a curve, values over frames: a picture (1, H, W, 3), 0..1, `height` pixels a panel."""
    from matplotlib.figure import Figure

    figure = Figure((width / 100, height / 100 * len(curves)), dpi=100, layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(curves), squeeze=False)[:, 0], curves.items()):
        axes.plot(range(len(values)), values.float().cpu().numpy(), marker="o")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel("frame")
    return _drawn(figure)


def plot_rows(pictures: torch.Tensor, labels: Sequence[str], most: int = 8, side: int = 160) -> torch.Tensor:
    """One picture (1, H', W', 3), 0..1, of `pictures` (r, f, H, W, 3): a row each, its label on the left, and up to `most` evenly chosen
    frames, their numbers on top; each frame `side` pixels on its longer side."""
    from matplotlib.figure import Figure

    gap, left, top = 4, 16 + 7 * max(len(line) for label in labels for line in label.splitlines()), 24
    chosen = torch.linspace(0, pictures.shape[1] - 1, min(most, pictures.shape[1])).round().long()
    height, width = (max(1, round(side * n / max(pictures.shape[2:4]))) for n in pictures.shape[2:4])
    small = F.interpolate(pictures[:, chosen].flatten(0, 1).movedim(-1, 1).float().cpu(), (height, width), mode="bilinear", antialias=True)
    cells = rearrange(F.pad(small, (0, gap, 0, gap), value=1), "(r f) c h w -> (r h) (f w) c", f=len(chosen)).clamp(0, 1)
    size = (left + cells.shape[1], top + cells.shape[0])
    figure = Figure((size[0] / 100, size[1] / 100), dpi=100)
    axes = figure.add_axes((left / size[0], 0, cells.shape[1] / size[0], cells.shape[0] / size[1]))
    axes.imshow(cells.numpy(), interpolation="none", aspect="auto")
    axes.set_xticks([(i + 0.5) * (width + gap) for i in range(len(chosen))], [f"frame {i + 1}" for i in chosen])
    axes.set_yticks([(i + 0.5) * (height + gap) for i in range(len(labels))], labels)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, labelsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _drawn(figure)


def _drawn(figure) -> torch.Tensor:
    """(1, H, W, 3), 0..1"""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[None, ..., :3].astype(np.float32) / 255)
