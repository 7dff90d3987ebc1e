"""One step of AdamW, tensor by tensor: where memory runs out, each is as it was or as it shall be, and the step goes on
from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch.optim.adamw import AdamW, adamw

from .memory import with_less

T = TypeVar("T")


@torch.no_grad()
def descend(
    optimizer: AdamW,
    tensors: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    scale: float = 1.0,
    most: float | None = None,
) -> None:
    """Step `tensors`, all or some of the optimiser's, along `gradients`, one each and `scale` times too large, clipped
    to a norm of `most` together.

    What `clip_grad_norm_` and ``optimizer.step()`` do, to the bit, but never with a second copy of all gradients.
    Without room for a tensor's moments they are kept, and its steps computed, in main memory.
    """
    groups = {id(tensor): group for group in optimizer.param_groups for tensor in group["params"]}

    def on_either(tensor: torch.Tensor, compute: Callable[[torch.device], T]) -> T:
        return with_less(
            "the optimiser",
            [("", lambda: compute(tensor.device)), ("in main memory", lambda: compute(torch.device("cpu")))],
        )

    def whole(gradient: torch.Tensor, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        return gradient.to(device, tensor.dtype) / scale

    def norm(gradient: torch.Tensor, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        return torch.linalg.vector_norm(whole(gradient, tensor, device)).to(tensor.device)

    factor = None
    if most is not None:
        norms = [on_either(t, partial(norm, g, t)) for t, g in zip(tensors, gradients, strict=True)]
        factor = (most / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1)
    for tensor, gradient in zip(tensors, gradients, strict=True):

        def step(device: torch.device, tensor: torch.Tensor = tensor, gradient: torch.Tensor = gradient) -> None:
            own = whole(gradient, tensor, device)
            _step(
                tensor,
                own if factor is None else own.mul_(factor.to(device)),
                optimizer.state[tensor],
                groups[id(tensor)],
            )

        on_either(tensor, step)


def _step(tensor: torch.Tensor, gradient: torch.Tensor, state: dict, group: dict) -> None:
    """`tensor` and `state`, its moments, after a step on the gradient's device. Nothing is touched until all is
    computed.
    """
    old = (state["exp_avg"], state["exp_avg_sq"]) if state else (torch.zeros_like(gradient), torch.zeros_like(gradient))
    value, *moments = (x.to(gradient.device, copy=True) for x in (tensor, *old))
    count = state["step"].clone() if state else torch.tensor(0.0)
    beta1, beta2 = group["betas"]
    adamw(
        [value],
        [gradient],
        moments[:1],
        moments[1:],
        [],
        [count],
        foreach=False,
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
    tensor.copy_(value)
    state.update(step=count, exp_avg=moments[0], exp_avg_sq=moments[1])
