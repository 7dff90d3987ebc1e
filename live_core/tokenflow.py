"""TokenFlow: key frames are edited together, and every frame takes their tokens where the clip looks the same (Geyer et
al., "TokenFlow: Consistent Diffusion Features for Consistent Video Editing", ICLR 2024, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from .around import Around, Output, keep_in
from .attention import AttentionPlan, Record, SelfInjection, key_of
from .methods import Method
from .sources import Source
from .steering import Part, Piece, Step
from .step_store import StepStore
from .streams import Stream, predict
from .video_unet import VideoUNet

# Where the source's queries and keys, and its features, go into the edit: decoder layers 4 to 11, and layer 4, of
# Plug-and-Play (Tumanyan et al. 2023, section 4), by which TokenFlow edits its key frames.
ATTENTION = ("up_blocks.1.attentions.1", "up_blocks.1.attentions.2", "up_blocks.2", "up_blocks.3")
FEATURES = "up_blocks.1.resnets.1"
SIMILARITIES_AT_ONCE = 2**24  # 64 MB in float32: 4096 tokens, 512x512, to as many


class TokenFlow(Part):
    """At each step two passes. First the key frames alone, one drawn from each segment: the source's each by itself,
    the edit's with the keys and values of all of them, and with what Plug-and-Play injects. Then all frames, key frames
    too: self-attention gives each token what it gave in the first pass to the token that is nearest to it in the
    source, in the key frame of its own segment and in that of the segment before.

    `length`: frames of a segment; `x`: the latents (f, c, h, w) that it starts from.
    """

    def __init__(
        self,
        method: Method,
        length: int,
        unet: VideoUNet,
        source: Source,
        x: torch.Tensor,
    ):
        self.method, self.length, self.unet, self.source, self.x = method, length, unet, source, x
        self.generator = torch.Generator().manual_seed(method.key_frame_seed)

    def before(self, step: Step) -> Piece:
        keys, weights = key_frames(len(self.x), self.length, self.generator), key_weights(len(self.x), self.length)
        streams = step.streams[len(self.source.streams) :]
        tokens, outputs = self._edit_together(step, streams, keys)

        def flow(name: str, hidden: torch.Tensor, _output: Output) -> torch.Tensor:
            ours = hidden.unflatten(0, (-1, len(weights)))[0]  # of the source: (f, n, d)
            theirs = tokens.read(key_of(step.index, name, "self")).to(hidden)  # (k, n, d)
            told = outputs[name].unflatten(0, (-1, len(keys)))  # (s, k, n, d)
            frames = [
                torch.stack([w * told[:, key, nearest(frame, theirs[key])] for key, w in per_key.items()]).sum(0)
                for frame, per_key in zip(ours, weights, strict=True)
            ]
            return torch.stack(frames, 1).flatten(0, 1)

        def features(_name: str, _inputs: torch.Tensor, output: Output) -> torch.Tensor:
            rows = output().unflatten(0, (-1, len(self.x)))
            return torch.cat([rows[: -len(streams)], rows[0].expand(len(streams), *rows[0].shape)]).flatten(0, 1)

        return Piece(around={"self": flow, **self._while_injected(step, features)})

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        self.x = x
        return x

    def _edit_together(
        self, step: Step, edits: Sequence[Stream], keys: list[int]
    ) -> tuple[StepStore, dict[str, torch.Tensor]]:
        """The first pass, `edits` being the edit's streams: the source's tokens of the key frames, in a store, and
        what self-attention gave to all rows' key frames, by layer, (s k, n, d).
        """
        method, tokens = self.method, StepStore()
        of_source: dict[str, torch.Tensor] = {}
        of_edit: dict[str, torch.Tensor] = {}

        def features(_name: str, _inputs: torch.Tensor, _output: Output) -> torch.Tensor:
            of_keys = of_source[FEATURES][: len(keys)]
            return of_keys.expand(len(edits), *of_keys.shape).flatten(0, 1)

        def run(streams: Sequence[Stream], plan: AttentionPlan) -> None:
            latents = {"source": _at(self.source.latents, keys), "edit": _at(self.x, keys)}
            predict(self.unet, streams, latents, step.t, step.index, replace(plan, step=step.index))

        keep = keep_in(of_source)
        run(
            self.source.streams,
            AttentionPlan(
                method.frame_plan,
                record=Record(tokens, cross=False, temporal=False),
                around={"self": keep, FEATURES: keep},
            ),
        )
        injected = [
            SelfInjection(row, None, level=self.unet.level_within(method.self_max_tokens), blocks=ATTENTION)
            for row in range(len(edits))
        ]
        run(
            edits,
            AttentionPlan(
                replace(method.frame_plan, slots=("all",)),
                selves=tuple(injected) if step.index in method.self_steps(step.total) else (),
                store=tokens,
                around={"self": keep_in(of_edit), **self._while_injected(step, features)},
            ),
        )
        return tokens, {name: torch.cat([of_source[name], of_edit[name]]) for name in of_edit}

    def _while_injected(self, step: Step, features: Around) -> dict[str, Around]:
        return {FEATURES: features} if step.index in self.method.feature_steps(step.total) else {}


def self_attention_of(
    method: Method,
    unet: VideoUNet,
    source: Source,
    x: torch.Tensor,
    own: Part,
) -> Part:
    """The part that sees to self-attention: `own`, or TokenFlow where the method has segments."""
    length = method.segment_length
    return own if length is None else TokenFlow(method, length, unet, source, x)


def _at(clip: torch.Tensor, frames: Sequence[int]) -> torch.Tensor:
    """``clip[frames]``, for which a card would wait to be sent the numbers: at each step others are drawn."""
    return torch.stack([clip[i] for i in frames])


def key_frames(frames: int, length: int, generator: torch.Generator) -> list[int]:
    """One frame of each segment of `length` frames, each as likely as the others; the last segment may be shorter."""
    starts = range(0, frames, length)
    return [start + int(torch.randint(min(length, frames - start), (), generator=generator)) for start in starts]


def key_weights(frames: int, length: int) -> list[dict[int, float]]:
    """For each frame, how much it takes from the key frames, by the index of their segments: its own segment's and the
    one's before, ``sigmoid(d' / (d + d'))`` and the rest, d and d' being its distances to the middles of the two
    segments, as the published code has it. Frames of the first segment take all from its key frame.

    >>> [{key: round(w, 2) for key, w in per_key.items()} for per_key in key_weights(4, 2)]
    [{0: 1.0}, {0: 1.0}, {1: 0.62, 0: 0.38}, {1: 0.73, 0: 0.27}]
    """
    found: list[dict[int, float]] = []
    for segment, start in enumerate(range(0, frames, length)):
        own, before = start + min(length, frames - start) // 2, start - length + length // 2
        for i in range(start, min(start + length, frames)):
            d_own, d_before = abs(i - own), abs(i - before)
            w = float(torch.sigmoid(torch.tensor(d_before / (d_own + d_before), dtype=torch.float64)))
            found.append({segment: w, segment - 1: 1 - w} if segment else {0: 1.0})
    return found


def nearest(tokens: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(n,): for each of `tokens` (n, d) the index of the one of `others` (m, d) of greatest cosine similarity. A few at
    a time: all similarities of two frames of 1024x1024 pixels would be a gigabyte."""
    directions = F.normalize(others, dim=-1).T
    parts = tokens.split(max(1, SIMILARITIES_AT_ONCE // len(others)))
    return torch.cat([(part @ directions).argmax(-1) for part in parts])
