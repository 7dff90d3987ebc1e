"""One attention processor for every method, driven by a plan that lasts one U-Net forward.

The plan (`AttentionPlan`) says which frames give keys and values (`FramePlan`), which streams read another stream's
attention (`WordInjection`, `SelfInjection`) and what is recorded (`WordTap`, `QueryKeyStore`). Nothing here ever builds a
self-attention map: an injected map times values is again fused attention on the source's queries and keys.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from . import LiveError

LATENT_PROMPT = "latent_prompt"
SLOTS = ("self", "first", "previous", "middle", LATENT_PROMPT)


@dataclass(frozen=True)
class FramePlan:
    """Which frames give keys and values to frame i, as a tuple of slots from `SLOTS`.

    Tune-A-Video is ``("first", "previous")``; LIVE is ``("latent_prompt", "first", "previous")``; ``("self",)`` is the
    2-D model. The frame before the first is the first, as in Tune-A-Video.
    """
    slots: tuple[str, ...] = ("self",)

    def __post_init__(self):
        unknown = [slot for slot in self.slots if slot not in SLOTS]
        if unknown or not self.slots:
            raise LiveError(f"frame plan {self.slots!r}: each slot must be one of {', '.join(SLOTS)}")

    def sources(self, frames: int, latent_prompt: bool) -> list[list[int]]:
        """For each of the F frames the U-Net sees, the frames whose keys and values it reads.

        With a latent prompt it is frame 0 and the clip follows. The latent prompt itself reads itself and the clip's first
        frame (DESIGN 4). A plan that names the latent prompt where there is none simply reads the others.
        """
        shift = int(latent_prompt)
        where = {"self": lambda i: i, "first": lambda i: 0, "previous": lambda i: max(i - 1, 0), "middle": lambda i: (frames - 1) // 2}
        slots = [slot for slot in self.slots if slot != LATENT_PROMPT or latent_prompt]
        if not slots:
            raise LiveError(f"frame plan {self.slots!r} needs a latent prompt, and this stream has none")
        rows = [[0 if slot == LATENT_PROMPT else shift + where[slot](i) for slot in slots] for i in range(frames)]
        return [[0, 1]] + rows if latent_prompt else rows


@dataclass(frozen=True)
class WordInjection:
    """Cross-attention of stream `target` becomes ``A_source @ mapping + A_target * keep`` (prompt-to-prompt, as one formula).

    `mapping` (L, L): source token to target token; `keep` (L,): how much of its own attention a target token keeps.
    """
    target: int
    source: int | None                  # a row of the batch, or None for the store
    mapping: torch.Tensor
    keep: torch.Tensor


@dataclass(frozen=True)
class SelfInjection:
    """Self-attention of stream `target` uses the queries and keys of the source, with its own values.

    `spatial` and `temporal` say which attention it touches, `max_tokens` up to what resolution the spatial one.
    """
    target: int
    source: int | None
    spatial: bool = True
    temporal: bool = False
    max_tokens: int = 1024


@dataclass
class WordTap:
    """A running sum of cross-attention probabilities at one resolution, mean over heads and layers.

    After n forwards `maps` is (s, F, tokens, L), the sum of n of them; a mask needs only ratios. Injected attention is
    recorded as it acts, after the injection, as prompt-to-prompt's attention store does.
    """
    tokens: int
    maps: torch.Tensor | None = None
    _layers: list[torch.Tensor] = field(default_factory=list)

    def record(self, probabilities: torch.Tensor) -> None:
        self._layers.append(probabilities.float())

    def forget_forward(self) -> None:
        self._layers.clear()

    def end_of_forward(self) -> None:
        if self._layers:
            mean = torch.stack(self._layers).mean(0)
            self.maps = mean if self.maps is None else self.maps + mean
            self._layers.clear()


class QueryKeyStore(Protocol):
    """Where a source's queries and keys are kept between a recording pass and an edit; see `stores.py`."""

    def write(self, key: str, value: torch.Tensor) -> None: ...
    def read(self, key: str) -> torch.Tensor: ...


@dataclass
class AttentionPlan:
    """What attention does in one forward of the video U-Net. The default is the plain 2-D model."""
    frame_plan: FramePlan = FramePlan()
    temporal: bool = True                                  # False bypasses temporal attention
    words: tuple[WordInjection, ...] = ()
    selves: tuple[SelfInjection, ...] = ()
    tap: WordTap | None = None
    store: QueryKeyStore | None = None                     # source attention comes from here when an injection's source is None
    record: tuple[QueryKeyStore, int] | None = None        # write the queries and keys of this stream
    step: int = 0                                          # names what is stored
    rows_at_once: int | None = None                        # self-attention gathers keys and values of so many frames at a time; these
    streams: int = 1                                       # four are set by VideoUNet for the forward under way
    frames: int = 1
    latent_prompt: bool = False


class VideoAttention:
    """Diffusers attention processor of one layer. `kind`: "self", "cross" or "temporal"; `plan_of` gives the plan in force."""

    def __init__(self, name: str, kind: str, plan_of):
        self.name, self.kind, self.plan_of = name, kind, plan_of

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        plan: AttentionPlan = self.plan_of()
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (rearrange(x, "b n (h c) -> b h n c", h=attn.heads) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        out = {"self": self._self, "cross": self._cross, "temporal": self._temporal}[self.kind](plan, q, k, v)
        return attn.to_out[1](attn.to_out[0](rearrange(out, "b h n c -> b n (h c)")))

    def _self(self, plan, q, k, v):
        q, k = self._inject_queries_and_keys(plan, [i for i in plan.selves if i.spatial and q.shape[2] <= i.max_tokens], q, k)
        rows = plan.frame_plan.sources(plan.frames, plan.latent_prompt)
        total = len(rows)
        if rows == [[i] for i in range(total)]:
            return F.scaled_dot_product_attention(q, k, v)
        q, k, v = (rearrange(x, "(s f) h n c -> s f h n c", f=total) for x in (q, k, v))
        out = torch.empty_like(q)
        for length in {len(row) for row in rows}:          # the latent prompt may read fewer frames than the clip does
            here = [i for i, row in enumerate(rows) if len(row) == length]
            for part in torch.tensor(here).split(plan.rows_at_once or len(here)):
                index = torch.tensor([rows[i] for i in part], device=q.device)
                gathered = (rearrange(x[:, index], "s i k h n c -> (s i) h (k n) c") for x in (k, v))
                result = F.scaled_dot_product_attention(rearrange(q[:, part], "s i h n c -> (s i) h n c"), *gathered)
                if len(part) == total:
                    return result
                out[:, part] = rearrange(result, "(s i) h n c -> s i h n c", i=len(part))
        return rearrange(out, "s f h n c -> (s f) h n c")

    def _temporal(self, plan, q, k, v):
        q, k = self._inject_queries_and_keys(plan, [i for i in plan.selves if i.temporal], q, k)
        return F.scaled_dot_product_attention(q, k, v)

    def _cross(self, plan, q, k, v):
        stream = _stream_view(plan, q.shape[0])
        self._record(plan, stream, q, k)
        out = F.scaled_dot_product_attention(q, k, v)
        for injection in plan.words:
            q_source, k_source = self._source(plan, injection.source, stream, q, k)
            v_edit = stream(v)[injection.target]
            mapping, keep = injection.mapping.to(v), injection.keep.to(v)
            stream(out)[injection.target] = (F.scaled_dot_product_attention(q_source, k_source, mapping @ v_edit)
                                             + F.scaled_dot_product_attention(stream(q)[injection.target], stream(k)[injection.target], keep[:, None] * v_edit))
        if plan.tap is not None and q.shape[2] == plan.tap.tokens:
            maps = stream(_probabilities(q, k)).clone()
            for injection in plan.words:
                source = _probabilities(*self._source(plan, injection.source, stream, q, k))
                maps[injection.target] = source @ injection.mapping.to(source) + maps[injection.target] * injection.keep.to(source)
            plan.tap.record(maps.mean(2))
        return out

    def _inject_queries_and_keys(self, plan, injections, q, k):
        stream = _stream_view(plan, q.shape[0])
        self._record(plan, stream, q, k)
        if injections:
            q, k = q.clone(), k.clone()
        for injection in injections:
            q_source, k_source = self._source(plan, injection.source, stream, q, k)
            stream(q)[injection.target], stream(k)[injection.target] = q_source, k_source
        return q, k

    def _record(self, plan, stream, q, k):
        if plan.record:
            store, row = plan.record
            store.write(self._key(plan, "q"), stream(q)[row])
            store.write(self._key(plan, "k"), stream(k)[row])

    def _source(self, plan, source, stream, q, k):
        if source is not None:
            return stream(q)[source], stream(k)[source]
        return tuple(plan.store.read(self._key(plan, part)).to(q) for part in "qk")

    def _key(self, plan, part: str) -> str:
        return f"{plan.step:04d}/{self.name}/{self.kind}/{part}"


def _stream_view(plan: AttentionPlan, batch: int):
    """x -> the same storage seen as (streams, rows of one stream, ...)."""
    return lambda x: x.view(plan.streams, batch // plan.streams, *x.shape[1:])


def _probabilities(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q.float() @ k.float().transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)


def repeat_for_frames(text: torch.Tensor, frames: int) -> torch.Tensor:
    """(s, L, d) -> (s F, L, d)."""
    return repeat(text, "s l d -> (s f) l d", f=frames)
