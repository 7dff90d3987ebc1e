"""One attention processor for every method, driven by a plan that lasts one U-Net forward.

The plan (`AttentionPlan`) says which frames give keys and values (`FramePlan`), which streams read another stream's
attention (`WordInjection`, `SelfInjection`) and what is recorded (`WordTap`, `AttentionStore`). Nothing here ever
builds a self-attention map: an injected map times values is again fused attention on the source's queries and keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
from einops import rearrange

from .around import Around, as_it_is
from .attending import attend, probabilities
from .frames import ALONE, FramePlan
from .taps import WordTap
from .transfers import sent

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention

# Temporal attention has a sequence for each place of the picture, too short for the GPU's kernels: their backward pass
# pads each to 128, a gigabyte for 512 x 512 in one call, and some refuse 65,536 of them, which 1024 x 1024 reaches.
SEQUENCES_AT_ONCE = 2048

View = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class WordInjection:
    """Cross-attention of stream `target` becomes ``A_source @ mapping + A_target * keep`` (prompt-to-prompt, as one
    formula).

    `mapping` (L, L): source token to target token; `keep` (L,): how much of its own attention a target token keeps.
    `level`: the finest level of the network that it acts on, 0 for all; coarser ones are in.
    """

    target: int
    source: int | None  # a row of the batch, or None for the store
    mapping: torch.Tensor
    keep: torch.Tensor
    level: int = 0


@dataclass(frozen=True)
class SelfInjection:
    """Self-attention of stream `target` uses the queries and keys of the source, with its own values.

    `spatial` and `temporal` say which attention it touches, `level` the finest level of the network whose spatial one
    it does, 0 for all, and `blocks` the beginnings of the names of the blocks whose spatial one it does. `masks`,
    spatial only: level -> (F, tokens), 1 for queries that keep the target's own attention (FateZero's fusion, equation
    7).
    """

    target: int
    source: int | None
    spatial: bool = True
    temporal: bool = False
    level: int = 0
    masks: Mapping[int, torch.Tensor] | None = None
    blocks: tuple[str, ...] = ("",)


class AttentionStore(Protocol):
    """Where what a source's queries and keys are made of is kept from a recording pass to an edit; see `stores.py`."""

    def write(self, key: str, value: torch.Tensor) -> None: ...
    def read(self, key: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class Record:
    """Write what the queries and keys of stream `row` are made of to `store`: of cross-attention if `cross`, of spatial
    self-attention if `spatial`, each from that level of the network on to coarser ones (0: everywhere), and of temporal
    attention if `temporal`.

    That is the layer's input, half as large as queries and keys, and the text's keys, once for all steps and frames.
    """

    store: AttentionStore
    row: int = 0
    cross: bool = True
    spatial: bool = True
    temporal: bool = True
    cross_level: int = 0
    self_level: int = 0

    def takes(self, kind: str, level: int) -> bool:
        return {
            "cross": self.cross and level >= self.cross_level,
            "self": self.spatial and level >= self.self_level,
            "temporal": self.temporal,
        }[kind]


@dataclass
class AttentionPlan:
    """What attention does in one forward of the video U-Net. The default is the plain 2-D model."""

    frame_plan: FramePlan = ALONE
    words: tuple[WordInjection, ...] = ()
    selves: tuple[SelfInjection, ...] = ()
    tap: WordTap | None = None
    store: AttentionStore | None = None  # source attention comes from here when an injection's source is None
    record: Record | None = None
    step: int = 0  # names what is stored
    # By the kind of an attention layer, or by the name of a ResNet block, around whose second convolution it is put.
    around: Mapping[str, Around] = field(default_factory=dict)
    # Set by VideoUNet for the forward under way.
    frame_texts: bool = False  # every frame has a text of its own
    rows_at_once: int | None = None  # self-attention gathers keys and values of so many frames at a time
    streams: int = 1
    frames: int = 1
    latent_prompt: bool = False

    @property
    def injected(self) -> int:
        """Of how many kinds of layers some stream of the batch reads another's attention: cross, spatial, temporal."""
        spatial, temporal = (any(getattr(each, kind) for each in self.selves) for kind in ("spatial", "temporal"))
        return bool(self.words) + spatial + temporal

    def text_rows(self) -> list[list[int]]:
        """For each frame, the frames whose texts it reads: where all have one text, its own is theirs."""
        plan = self.frame_plan if self.frame_texts else ALONE
        return plan.text_sources(self.frames, self.latent_prompt)


PLAIN = AttentionPlan()


class VideoAttention:
    """Diffusers attention processor of one layer. `kind`: "self", "cross" or "temporal"; `plan_of` gives the plan in
    force; `width` is the layer's part of the model's widest, 0..1; `level` that of the network, 0 the finest. `attn` is
    diffusers' layer, whose projections make queries and keys of what a store has kept; without a store nothing asks for
    it."""

    def __init__(self, name: str, kind: str, plan_of: Callable[[], AttentionPlan], width: float = 1.0, level: int = 0):
        self.name, self.kind, self.plan_of, self.width, self.level = name, kind, plan_of, width, level

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        plan = self.plan_of()
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        around = plan.around.get(self.kind, as_it_is)
        return around(self.name, hidden_states, lambda: self._output(plan, attn, hidden_states, context))

    def _output(
        self, plan: AttentionPlan, attn: Attention, hidden_states: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        q, k, v = (_heads(x, attn) for x in (attn.to_q(hidden_states), *self._keys_and_values(plan, attn, context)))
        self._record(plan, hidden_states, k)
        return attn.to_out[1](attn.to_out[0](rearrange(self.attend(plan, q, k, v, attn), "b h n c -> b n (h c)")))

    def _keys_and_values(
        self, plan: AttentionPlan, attn: Attention, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of a text that all frames of a stream have, once for all of them; but where weights learn, whose gradients
        add up in the frames' order."""
        if self.kind != "cross" or plan.frame_texts or torch.is_grad_enabled():
            return attn.to_k(context), attn.to_v(context)
        frames = len(context) // plan.streams
        keys, values = (project(context[::frames]) for project in (attn.to_k, attn.to_v))
        return keys.repeat_interleave(frames, 0), values.repeat_interleave(frames, 0)

    def attend(
        self, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn: Attention | None = None
    ) -> torch.Tensor:
        """What the layer makes of queries (b, heads, n, c), keys (b, heads, m, c) and values (b, heads, m, d) as `plan`
        has it: (b, heads, n, d). Rows are the F frames of each of its streams, one stream after the other; those of
        temporal attention are places, n = m = F. `attn` is needed where the plan's source is a store."""
        return {"self": self._self, "cross": self._cross, "temporal": self._temporal}[self.kind](plan, q, k, v, attn)

    def _self(
        self, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn: Attention | None
    ) -> torch.Tensor:
        injections = [i for i in plan.selves if i.spatial and self.level >= i.level and self.name.startswith(i.blocks)]
        q_injected, k_injected = self._inject_queries_and_keys(plan, injections, q, k, attn)
        out = self._to_frames(plan, q_injected, k_injected, v)
        stream = _stream_view(plan, q.shape[0])
        for injection in injections:
            if injection.masks is not None:
                own = self._to_frames(plan, *(stream(x)[injection.target] for x in (q, k, v)))
                fused, mask = stream(out)[injection.target], injection.masks[self.level][:, None, :, None].to(out)
                stream(out)[injection.target] = mask * own + (1 - mask) * fused
        if plan.tap is not None and plan.tap.self_attention and self.level == plan.tap.level:
            pairs = (q, k), (q_injected, k_injected)
            maps = [self._own_map(stream, row, *pairs, injections) for row in _tapped(plan)]
            plan.tap.record_self(torch.stack(maps))
        return out

    def _own_map(
        self,
        stream: View,
        row: int,
        own: tuple[torch.Tensor, torch.Tensor],
        injected: tuple[torch.Tensor, torch.Tensor],
        injections: Sequence[SelfInjection],
    ) -> torch.Tensor:
        """(F, n, n): stream `row`'s self-attention of each frame to itself as it acts, mean of heads. A frame at a
        time: maps of all heads are large.
        """

        def of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            frames = zip(stream(q)[row], stream(k)[row], strict=True)
            return torch.stack([probabilities(*frame).mean(0) for frame in frames])

        maps = of(*injected)
        for mask in (
            i.masks[self.level][..., None].to(maps) for i in injections if i.target == row and i.masks is not None
        ):
            maps = mask * of(*own) + (1 - mask) * maps
        return maps

    def _to_frames(self, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Self-attention over the frames of the plan, for whole streams."""
        rows = plan.frame_plan.sources(plan.frames, plan.latent_prompt, self.width, self.name)
        return attend(q, k, v, rows, plan.rows_at_once)

    def _temporal(
        self, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn: Attention | None
    ) -> torch.Tensor:
        q, k = self._inject_queries_and_keys(plan, [i for i in plan.selves if i.temporal], q, k, attn)
        split = zip(*(x.split(SEQUENCES_AT_ONCE) for x in (q, k, v)), strict=True)
        parts = [F.scaled_dot_product_attention(*part) for part in split]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _cross(
        self, plan: AttentionPlan, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn: Attention | None
    ) -> torch.Tensor:
        stream = _stream_view(plan, q.shape[0])
        out = attend(q, k, v, plan.text_rows(), plan.rows_at_once)
        words = [i for i in plan.words if self.level >= i.level]
        sources = [self._source(plan, injection.source, stream, q, k, attn) for injection in words]
        for injection, (q_source, k_source) in zip(words, sources, strict=True):
            v_edit = stream(v)[injection.target]
            mapping, keep = injection.mapping.to(v), injection.keep.to(v)
            stream(out)[injection.target] = F.scaled_dot_product_attention(
                q_source, k_source, mapping @ v_edit
            ) + F.scaled_dot_product_attention(
                stream(q)[injection.target], stream(k)[injection.target], keep[:, None] * v_edit
            )
        if plan.tap is not None and self.level == plan.tap.level:
            rows = _tapped(plan)
            before = torch.stack([probabilities(stream(q)[row], stream(k)[row]).mean(1) for row in rows])
            acted = before.clone()
            for injection, source in (
                (i, probabilities(*s).mean(1)) for i, s in zip(words, sources, strict=True) if i.target in rows
            ):
                target = rows.index(injection.target)
                acted[target] = source @ injection.mapping.to(source) + acted[target] * injection.keep.to(source)
            plan.tap.record(before, acted)
        return out

    def _inject_queries_and_keys(
        self,
        plan: AttentionPlan,
        injections: Sequence[SelfInjection],
        q: torch.Tensor,
        k: torch.Tensor,
        attn: Attention | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        stream = _stream_view(plan, q.shape[0])
        if injections:
            q, k = q.clone(), k.clone()
        for injection in injections:
            q_source, k_source = self._source(plan, injection.source, stream, q, k, attn)
            stream(q)[injection.target], stream(k)[injection.target] = q_source, k_source
        return q, k

    def _record(self, plan: AttentionPlan, hidden_states: torch.Tensor, k: torch.Tensor) -> None:
        if plan.record and plan.record.takes(self.kind, self.level):
            stream = _stream_view(plan, len(k))
            plan.record.store.write(key_of(plan.step, self.name, self.kind), stream(hidden_states)[plan.record.row])
            if self.kind == "cross":
                plan.record.store.write(self._text_key(), stream(k)[plan.record.row][:1])

    def _source(
        self,
        plan: AttentionPlan,
        source: int | None,
        stream: View,
        q: torch.Tensor,
        k: torch.Tensor,
        attn: Attention | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and keys of a row of the batch or, for None, of the store."""
        if source is not None:
            return stream(q)[source], stream(k)[source]
        assert plan.store is not None and attn is not None
        hidden_states = sent(plan.store.read(key_of(plan.step, self.name, self.kind)), q)
        q_source = _heads(attn.to_q(hidden_states), attn)
        if self.kind == "cross":
            return q_source, sent(plan.store.read(self._text_key()), q).expand(len(q_source), -1, -1, -1)
        return q_source, _heads(attn.to_k(hidden_states), attn)

    def _text_key(self) -> str:
        return f"text/{self.name}"


def key_of(step: int, layer: str, kind: str) -> str:
    """Where a store keeps a layer's input."""
    return f"{step:04d}/{layer}/{kind}"


def _heads(x: torch.Tensor, attn: Attention) -> torch.Tensor:
    return rearrange(x, "b n (h c) -> b h n c", h=attn.heads)


def _stream_view(plan: AttentionPlan, batch: int) -> View:
    """x -> the same storage seen as (streams, rows of one stream, ...)."""
    return lambda x: x.view(plan.streams, batch // plan.streams, *x.shape[1:])


def _tapped(plan: AttentionPlan) -> tuple[int, ...]:
    return tuple(range(plan.streams)) if plan.tap is None or plan.tap.rows is None else plan.tap.rows
