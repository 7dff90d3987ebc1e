"""One of our attention layers outside any U-Net: the one place in the tests that knows how it is made."""

import torch

from live_core.attention import AttentionPlan, VideoAttention


def processor(kind: str, plan: AttentionPlan, width: float = 1.0, level: int = 0) -> VideoAttention:
    return VideoAttention("layer", kind, lambda: plan, width, level)


def layer(
    kind: str,
    plan: AttentionPlan,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    width: float = 1.0,
    level: int = 0,
) -> torch.Tensor:
    """What a layer of that kind makes of queries, keys and values (s F, heads, n, c)."""
    return processor(kind, plan, width, level).attend(plan, q, k, v)
