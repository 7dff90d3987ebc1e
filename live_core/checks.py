"""Numbers, pictures and latents are checked where they come in, and words that name what was wrong."""
from __future__ import annotations

import math
import sys
from numbers import Integral, Real

import torch

from . import LiveError

GREATEST = sys.float_info.max                     # a whole number may be greater, and no float can hold it


def check_number(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> None:
    """LiveError unless `value` of the input `name` is a finite number from `low` to `high`.

    >>> check_number("blur", float("nan"), 0)
    Traceback (most recent call last):
    live_core.LiveError: blur: nan; give a finite number of 0 or more
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not max(low, -GREATEST) <= value <= min(high, GREATEST):
        raise LiveError(f"{name}: {value!r:.60}; give a finite number{_range(low, high)}")


def check_whole(name: str, value: int, low: float = -math.inf, high: float = math.inf) -> None:
    """LiveError unless `value` of the input `name` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise LiveError(f"{name}: {value!r:.60}; give a whole number{_range(low, high)}")


def _range(low: float, high: float) -> str:
    if high < math.inf:
        return f" from {low:g} to {high:g}" if low > -math.inf else f" of {high:g} or less"
    return f" of {low:g} or more" if low > -math.inf else ""


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())                 # one pass, and no mask of the tensor's size


def check_frames(name: str, frames: torch.Tensor, remedy: str = "look at what made it, or give other frames") -> None:
    """LiveError, with the number of the first such frame, when pictures, masks or latents (f, ...) of the input `name` have values that
    are no finite numbers: they would spread over the whole clip."""
    bad = next((i for i, frame in enumerate(frames) if not is_finite(frame)), None)
    if bad is not None:
        raise LiveError(f"{name}: frame {bad + 1} of {len(frames)} has values that are not finite (NaN or infinite); {remedy}")


def check_step(stage: str, step: int, steps: int, latents: torch.Tensor, remedy: str) -> torch.Tensor:
    """`latents` as they are after step `step` of `steps`, the first being 1. LiveError, with the step, when they are not finite."""
    if not is_finite(latents):
        raise LiveError(f"{stage}: step {step} of {steps} gave latents that are not finite (NaN or infinite), so it was stopped; {remedy}")
    return latents
