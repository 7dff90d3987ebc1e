"""Numbers, pictures and latents are checked where they come in, and words that name what was wrong."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Sequence
from numbers import Integral, Real

import torch

from . import LiveError

MOST_LISTED = 20  # options that a message names
GREATEST = sys.float_info.max  # a whole number may be greater, and no float can hold it


def check_number(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> None:
    """LiveError unless `value` of the input `name` is a finite number from `low` to `high`.

    >>> check_number("blur", float("nan"), 0)
    Traceback (most recent call last):
    live_core.LiveError: blur: nan; give a finite number of 0 or more
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not max(low, -GREATEST) <= value <= min(high, GREATEST)
    ):
        raise LiveError(f"{name}: {quoted(value)}; give a finite number{_range(low, high)}")


def check_whole(name: str, value: int, low: float = -math.inf, high: float = math.inf) -> None:
    """LiveError unless `value` of the input `name` is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise LiveError(f"{name}: {quoted(value)}; give a whole number{_range(low, high)}")


def check_text(name: str, value: str) -> None:
    """LiveError unless `value` of the input `name` is text that can be written down: Python also holds halves of
    characters (lone surrogates).
    """
    if not isinstance(value, str):
        raise LiveError(f"{name}: {quoted(value)}; give text")
    bad = next((i for i, sign in enumerate(value) if "\ud800" <= sign <= "\udfff"), None)
    if bad is not None:
        raise LiveError(
            f"{name}: {quoted(value)} has half a character at place {bad + 1} (a lone surrogate), which no text has;"
            " write it anew"
        )


def check_choice(name: str, value: object, options: Sequence) -> None:
    """LiveError unless `value` of the input `name` is one of `options`."""
    if not any(value is option or (type(value) is type(option) and value == option) for option in options):
        listed = ", ".join(map(str, options[:MOST_LISTED])) + (
            f" or another of {len(options)}" if len(options) > MOST_LISTED else ""
        )
        raise LiveError(
            f"{name}: {quoted(value)}; choose {listed}"
            if options
            else f"{name}: {quoted(value)}, and there is nothing to choose from"
        )


def quoted(value: object, most: int = 80) -> str:
    """What a message calls `value`: itself if it is short, else its beginning or its kind. Always text that can be
    written down.
    """
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, int) and abs(value) > 10**most:  # Python writes no whole number of more than 4300 digits
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, (str, Real)):
        text = repr(value)
        return text if len(text) <= most else text[:most] + "..."
    if isinstance(value, (list, dict)):  # what a graph can write
        return reprlib.repr(value)
    return f"something of type {type(value).__name__}"


def _range(low: float, high: float) -> str:
    low_said, high_said = (str(x) if isinstance(x, int) else f"{x:g}" for x in (low, high))
    if high < math.inf:
        return f" from {low_said} to {high_said}" if low > -math.inf else f" of {high_said} or less"
    return f" of {low_said} or more" if low > -math.inf else ""


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())  # one pass, and no mask of the tensor's size


def check_frames(name: str, frames: torch.Tensor, remedy: str = "look at what made it, or give other frames") -> None:
    """LiveError, with the number of the first such frame, when pictures, masks or latents (f, ...) of the input `name`
    have values that are no finite numbers: they would spread over the whole clip."""
    bad = next((i for i, frame in enumerate(frames) if not is_finite(frame)), None)
    if bad is not None:
        raise LiveError(
            f"{name}: frame {bad + 1} of {len(frames)} has values that are not finite (NaN or infinite); {remedy}"
        )


def check_mask_fits(mask: torch.Tensor, frames: int, pixels: tuple[int, int]) -> None:
    """LiveError unless `mask` (f or 1, H, W) fits a clip of so many frames and `pixels` (H, W)."""
    if tuple(mask.shape[-2:]) != pixels or mask.shape[0] not in (1, frames):
        raise LiveError(
            f"mask: {mask.shape[0]} frames of {mask.shape[-1]}x{mask.shape[-2]}; the clip has {frames} frames of"
            f" {pixels[1]}x{pixels[0]}, so give a mask of that size with 1 or {frames} frames"
        )
    check_frames("mask", mask)


def check_step(stage: str, step: int, steps: int, latents: torch.Tensor, remedy: str) -> torch.Tensor:
    """`latents` as they are after step `step` of `steps`, the first being 1. LiveError, with the step, when they are
    not finite.
    """
    if not is_finite(latents):
        raise LiveError(
            f"{stage}: step {step} of {steps} gave latents that are not finite (NaN or infinite), so it was stopped;"
            f" {remedy}"
        )
    return latents
