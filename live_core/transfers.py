"""Tensors on their way from main memory to a device, which goes on meanwhile."""

from __future__ import annotations

import torch


def sent(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`tensor` where `like` is, and of its number format, unless it holds whole numbers. From what is not pinned a CUDA
    card copies while it waits.

    >>> like = torch.zeros(1, dtype=torch.float64)
    >>> sent(torch.ones(2), like), sent(torch.tensor([3]), like)
    (tensor([1., 1.], dtype=torch.float64), tensor([3]))
    """
    dtype = like.dtype if tensor.is_floating_point() else tensor.dtype
    if like.is_cuda and not tensor.is_cuda and not tensor.is_pinned():
        tensor = tensor.to(dtype).pin_memory()
    return tensor.to(like.device, dtype, non_blocking=True)
