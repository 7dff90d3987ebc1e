"""Pictures to look at: latents by a linear map to RGB, fitted to one decoded frame of the same model, and curves over frames."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / 100, height / 100 * len(curves)), dpi=100, layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(curves), squeeze=False)[:, 0], curves.items()):
        axes.plot(range(len(values)), values.float().cpu().numpy(), marker="o")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.set_xlabel("frame")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[None, ..., :3].astype(np.float32) / 255)
