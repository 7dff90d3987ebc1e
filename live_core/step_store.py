"""Where what a forward computed waits for another of the same step."""

from __future__ import annotations

import torch


class StepStore:
    """One step's, where it was computed, as long as the store lives."""

    def __init__(self) -> None:
        self._tensors: dict[str, torch.Tensor] = {}

    def write(self, key: str, value: torch.Tensor) -> None:
        self._tensors[key] = value.detach()

    def read(self, key: str) -> torch.Tensor:
        return self._tensors[key]
