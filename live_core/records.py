"""What an edit keeps of its own attention while it runs, for `inspect.py` to show: no second run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from .prompts import Prompt

LOCAL_BLEND, FUSION = "local blend", "self-attention fusion"
SELF_STEPS = 5  # self-attention maps are the dear part, and change little from step to step


def evenly(items: Sequence, most: int) -> list:
    """Up to `most` of them, evenly chosen, the first and the last among them."""
    return [items[i] for i in torch.linspace(0, len(items) - 1, min(most, len(items))).round().int()]


def self_steps(first: int, steps: int) -> list[int]:
    """The steps, of those from `first` on, whose self-attention is recorded."""
    return evenly(range(first, steps), SELF_STEPS)


@dataclass(frozen=True)
class Side:
    """One prompt's attention, as it acted. `words` (N', f, n, t), half precision: cross-attention of each of the N'
    steps that ran, mean of heads and layers; t: tokens up to the end of the last word. `self_attention` (f, n, n), half
    precision: each frame's to itself, mean of heads, layers and five steps, evenly chosen (see `WordTap`), None where
    the run did not compute it."""

    prompt: Prompt
    words: torch.Tensor
    self_attention: torch.Tensor | None
    steps: tuple[int, ...]  # those that ran


@dataclass(frozen=True)
class Records:
    """What one edit by `method` (its name) of `steps` steps, the first `first` of them skipped, did with attention at
    the map resolution `map_size`, n = height * width.

    `source` is None where the source did not run, nor came from a store. `masks`: kind (`LOCAL_BLEND`: where latents
    may change; `FUSION`: where queries kept the edit's own self-attention) -> step -> (f, h, w) bool at latent size,
    for the steps that used one.

    Bytes: ``2 N' f n (t + t') + 2 f n**2`` a side with self-attention ``+ M f h w``, for source and edit prompts of t
    and t' tokens and M masks. 8 frames of 512 x 512, 50 steps, two prompts of 8 words, local blend at every step: 3.7 +
    2.1 + 1.6 = 7.4 MB.
    """

    method: str
    steps: int
    first: int
    map_size: tuple[int, int]
    source: Side | None
    edit: Side
    masks: Mapping[str, Mapping[int, torch.Tensor]]
    size: tuple[int, int] | None = None  # (height, width) of the clip's pictures

    @property
    def frames(self) -> int:
        return self.edit.words.shape[1]

    @property
    def nbytes(self) -> int:
        sides = [
            x for side in (self.source, self.edit) if side for x in (side.words, side.self_attention) if x is not None
        ]
        return sum(x.nbytes for x in [*sides, *(mask for kind in self.masks.values() for mask in kind.values())])


class SideRecorder:
    """Collects a `Side` step by step from maps (F, n, L), whose frames start at `shift`; those of a text that was
    repeated have its copies one after another."""

    def __init__(self, prompt: Prompt, shift: int):
        self.prompt, self.shift = prompt, shift
        self._words: list[torch.Tensor] = []
        self._steps: list[int] = []

    def step(self, index: int, maps: torch.Tensor) -> None:
        copies = maps.shape[-1] // len(self.prompt.ids)
        words = (maps[self.shift :, :, : self.prompt.end] * copies).half()
        self._steps.append(index)
        self._words.append(words.to("cpu", non_blocking=True))  # there before the loop's check of the step is through

    @property
    def ran(self) -> bool:
        """Whether any step was seen."""
        return bool(self._words)

    def side(self, self_maps: torch.Tensor | None) -> Side:
        """`self_maps` (F, n, n): the sum over `SELF_STEPS` steps, or all if fewer."""
        mean = None if self_maps is None else (self_maps[self.shift :] / min(len(self._words), SELF_STEPS)).half().cpu()
        return Side(self.prompt, torch.stack(self._words), mean, tuple(self._steps))
