"""What a step puts around layers of the U-Net: to keep what they give, or to give something else."""

from __future__ import annotations

from collections.abc import Callable

import torch

Output = Callable[[], torch.Tensor]  # computes what the layer gives, (s F, ...)
# (the layer's name, its input (s F, ...), its output) -> what goes on in its place.
Around = Callable[[str, torch.Tensor, Output], torch.Tensor]


def as_it_is(_name: str, _inputs: torch.Tensor, output: Output) -> torch.Tensor:
    """Changes nothing."""
    return output()


def keep_in(found: dict[str, torch.Tensor]) -> Around:
    """Keeps what layers give in `found`, by their names, and changes nothing."""

    def keep(name: str, _inputs: torch.Tensor, output: Output) -> torch.Tensor:
        found[name] = output()
        return found[name]

    return keep
