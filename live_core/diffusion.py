"""The noise schedule and the deterministic DDIM steps, forward and backward (Song et al. 2020).

``a_t`` is the paper's cumulative product of alphas at timestep t; step s of N runs from timestep t_s down to t_s -
1000/N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from . import LiveError

# (step, total, latents (f, c, h, w) to look at), called after every step of a loop; it may raise to stop the loop.
Callback = Callable[[int, int, torch.Tensor], None]


def scaled_linear(start: float = 0.00085, end: float = 0.012, length: int = 1000) -> torch.Tensor:
    """(length,) a_t of Stable Diffusion's schedule: betas whose square roots are evenly spaced."""
    betas = torch.linspace(start**0.5, end**0.5, length) ** 2
    return (1 - betas).cumprod(0)


@dataclass(frozen=True)
class Schedule:
    """`alphas_cumprod` (T,) float32 on the CPU; `prediction` "epsilon" or "v_prediction"; `offset` is SD's steps_offset
    (1).
    """

    alphas_cumprod: torch.Tensor
    prediction: str = "epsilon"
    offset: int = 1

    @property
    def length(self) -> int:
        return len(self.alphas_cumprod)

    def timesteps(self, steps: int) -> list[int]:
        """`steps` timesteps, the noisiest first, in "leading" spacing: 981, 961 ... 1 for 50 steps of 1000."""
        if not 1 <= steps <= self.length:
            raise LiveError(f"steps: {steps} is outside 1 to {self.length}, the timesteps this model was trained with")
        stride = self.length // steps
        return [min(i * stride + self.offset, self.length - 1) for i in range(steps)][::-1]

    def alpha(self, t: int) -> float:
        """a_t; below timestep 0 it is a_0 (SD's set_alpha_to_one=False)."""
        return float(self.alphas_cumprod[max(t, 0)])

    def add_noise(self, x0: torch.Tensor, noise: torch.Tensor, t: int) -> torch.Tensor:
        a = self.alpha(t)
        return a**0.5 * x0 + (1 - a) ** 0.5 * noise

    def target(self, x0: torch.Tensor, noise: torch.Tensor, t: int) -> torch.Tensor:
        """What the network is to predict at timestep t."""
        a = self.alpha(t)
        return noise if self.prediction == "epsilon" else a**0.5 * noise - (1 - a) ** 0.5 * x0

    def noise(self, x: torch.Tensor, prediction: torch.Tensor, t: int) -> torch.Tensor:
        """The noise that the network, by its output at (x, t), sees in x."""
        a = self.alpha(t)
        return prediction if self.prediction == "epsilon" else a**0.5 * prediction + (1 - a) ** 0.5 * x

    def clean(self, x: torch.Tensor, noise: torch.Tensor, t: int) -> torch.Tensor:
        """x0, what is left of x at timestep t when `noise` is taken out."""
        a = self.alpha(t)
        return (x - (1 - a) ** 0.5 * noise) / a**0.5

    def move(self, x: torch.Tensor, prediction: torch.Tensor, t_model: int, t_from: int, t_to: int) -> torch.Tensor:
        """The DDIM step from t_from to t_to, in either direction, with the network's output at timestep `t_model`."""
        noise, a_to = self.noise(x, prediction, t_model), self.alpha(t_to)
        return a_to**0.5 * self.clean(x, noise, t_from) + (1 - a_to) ** 0.5 * noise

    def denoise(self, x: torch.Tensor, prediction: torch.Tensor, t: int, steps: int) -> torch.Tensor:
        """x at timestep t to x at the next cleaner one."""
        return self.move(x, prediction, t, t, t - self.length // steps)

    def towards(self, x: torch.Tensor, clean: torch.Tensor, t: int, steps: int) -> torch.Tensor:
        """The same where `clean` is what the network, by its output, sees left of x without noise."""
        a, a_to = self.alpha(t), self.alpha(t - self.length // steps)
        noise = (x - a**0.5 * clean) / (1 - a) ** 0.5
        return a_to**0.5 * clean + (1 - a_to) ** 0.5 * noise

    def invert(self, x: torch.Tensor, prediction: torch.Tensor, t: int, steps: int) -> torch.Tensor:
        """x at the next cleaner timestep to x at t; `prediction` is the network's at (x, t), as Tune-A-Video's
        `next_step` has it.
        """
        return self.move(x, prediction, t, t - self.length // steps, t)
