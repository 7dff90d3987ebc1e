"""What a forward shows of its attention: maps of one level of the network, summed over forwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass
class WordTap:
    """Attention maps of one level of the network, mean over heads and layers: at every size the same layers.

    `rows`: the streams it taps, r of them, in this order; None for all. After n forwards `maps` is (r, F, tokens, L),
    the sum of n cross-attention maps; a mask needs only ratios. Injected attention is summed as it acts, after the
    injection, as prompt-to-prompt's attention store does, or before it, as FateZero's does. `acted` (r, F, tokens, L)
    is the last forward's, always as it acted. `self_maps` (r, F, tokens, tokens) is the sum of the self-attention maps
    of forwards with `self_attention` on, as they acted, but with each frame's own places alone for keys, whatever the
    frame plan: how the places of one picture group.
    """

    level: int
    before_injection: bool = False
    rows: tuple[int, ...] | None = None
    self_attention: bool = False
    maps: torch.Tensor | None = None
    acted: torch.Tensor | None = None
    self_maps: torch.Tensor | None = None
    _before: list[torch.Tensor] = field(default_factory=list)
    _acted: list[torch.Tensor] = field(default_factory=list)
    _selves: list[torch.Tensor] = field(default_factory=list)

    def record(self, before: torch.Tensor, acted: torch.Tensor) -> None:
        """One layer's cross-attention (r, F, tokens, L), before and after injection."""
        self._before.append(before)
        self._acted.append(acted)

    def record_self(self, probabilities: torch.Tensor) -> None:
        """One layer's self-attention (r, F, tokens, tokens)."""
        self._selves.append(probabilities)

    def of_one(self) -> WordTap:
        """A tap of the one stream of a forward, otherwise as this one is."""
        return WordTap(self.level, self.before_injection, (0,), self.self_attention)

    def join(self, taps: Sequence[WordTap]) -> None:
        """The forward is those of these taps, each of one of this one's rows, in their order, together."""
        self.record(*(torch.cat([getattr(tap, name) for tap in taps]) for name in ("maps", "acted")))
        if self.self_attention:
            self.record_self(torch.cat([tap.self_maps for tap in taps if tap.self_maps is not None]))
        self.end_of_forward()

    def forget_forward(self) -> None:
        for layers in (self._before, self._acted, self._selves):
            layers.clear()

    def end_of_forward(self) -> None:
        """Add the forward's maps, all of them or, when memory runs out, none."""
        acted, maps, self_maps = self.acted, self.maps, self.self_maps
        if self._acted:
            acted = torch.stack(self._acted).mean(0)
            mean = torch.stack(self._before).mean(0) if self.before_injection else acted
            maps = mean if maps is None else maps + mean
        if self._selves:
            mean = torch.stack(self._selves).mean(0)
            self_maps = mean if self_maps is None else self_maps + mean
        self.acted, self.maps, self.self_maps = acted, maps, self_maps
        self.forget_forward()
