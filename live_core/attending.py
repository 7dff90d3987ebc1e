"""Attention of frames to one another: each to the frames that its row names, always fused."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange

from .indices import index_of


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: list[list[int]], at_once: int | None = None
) -> torch.Tensor:
    """Attention (s F, heads, n, c) of each of F frames to the frames in its row, for whole streams. `at_once`: keys and
    values are gathered for so many frames at a time, None for all.
    """
    total = len(rows)
    if rows == [[i] for i in range(total)]:
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = (rearrange(x, "(s f) h n c -> s f h n c", f=total) for x in (q, k, v))
    parts = [part for alike in _alike(rows) for part in _cut(alike, at_once or total)]
    if len(parts) == 1:
        return _to(rows)(q, k, v, rows).flatten(0, 1)
    out = torch.empty_like(q)
    for part in parts:
        here = [rows[i] for i in part]
        out[:, index_of(part, like=out)] = _to(here)(_frames(q, part), k, v, here)
    return out.flatten(0, 1)


def _cut(items: list[int], most: int) -> list[list[int]]:
    return [items[i : i + most] for i in range(0, len(items), most)]


def _to(rows: list[list[int]]) -> Callable[..., torch.Tensor]:
    """The function for frames with these rows."""
    return _to_one_row if all(row == rows[0] for row in rows) else _to_rows


def _alike(rows: list[list[int]]) -> list[list[int]]:
    """The frames whose rows are as long as one another: the latent prompt may read fewer frames than the clip does."""
    return [[i for i, row in enumerate(rows) if len(row) == length] for length in sorted({len(row) for row in rows})]


def _to_one_row(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: list[list[int]]) -> torch.Tensor:
    """One set of keys and values for all of these frames (s, i, heads, n, c): one long sequence of queries."""
    k, v = (rearrange(_frames(x, rows[0]), "s k h n c -> s h (k n) c") for x in (k, v))
    out = F.scaled_dot_product_attention(rearrange(q, "s i h n c -> s h (i n) c"), k, v)
    return rearrange(out, "s h (i n) c -> s i h n c", i=len(rows))


def _to_rows(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: list[list[int]]) -> torch.Tensor:
    """Each of these frames (s, i, heads, n, c) to its own row, all rows of one length."""
    wanted, length = [j for row in rows for j in row], len(rows[0])
    k, v = (rearrange(_frames(x, wanted), "s (i k) h n c -> (s i) h (k n) c", k=length) for x in (k, v))
    return F.scaled_dot_product_attention(q.flatten(0, 1), k, v).unflatten(0, (-1, len(rows)))


def _frames(x: torch.Tensor, wanted: list[int]) -> torch.Tensor:
    """Frames `wanted`, which may repeat, of x (s, f, h, n, c). Not by x[:, wanted]: on several CPU threads that adds up
    the gradients of a repeated frame in whatever order they come, and one seed would give another tuning each time."""
    return x.index_select(1, index_of(wanted, like=x))


def probabilities(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """The map of attention from queries (..., n, c) to keys (..., m, c): (..., n, m), float32."""
    return (q.float() @ k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
