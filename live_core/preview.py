"""Cheap pictures of latents: a linear map from latent channels to RGB, fitted to one decoded frame of the same model."""
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
