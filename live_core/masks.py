"""Masks that the model finds itself: thresholded cross-attention of words (prompt-to-prompt's local blend)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_frames
from .indices import index_of
from .methods import Method

NEARLY_ALL = 0.99  # part of the pixels above which a mask is as good as full


@dataclass(frozen=True)
class MaskRule:
    """How a word's map becomes a mask."""

    threshold: float  # part of each frame's maximum above which the mask is 1, 0..1
    grow: int = 1  # cells of the map by which it grows on every side
    neighbours: int = 0  # frames on either side over which the maps are averaged
    smooth: bool = False  # interpolate between cells; False copies them, as the reference does


def word_mask(
    maps: torch.Tensor, tokens: list[int], map_size: tuple[int, int], size: tuple[int, int], rule: MaskRule
) -> torch.Tensor:
    """Where the words are: (f, *size), 0 or 1, from `maps` (f, n, L), running sums of cross-attention.

    Sum over the words' tokens, mean over neighbours, maximum over grown cells, resize, divide by each frame's maximum,
    threshold. No tokens, no mask: all zeros.
    """
    heat = maps[..., index_of(tokens, like=maps)].sum(-1).unflatten(-1, map_size)[:, None]
    if rule.neighbours:
        heat = torch.stack(
            [heat[max(0, i - rule.neighbours) : i + rule.neighbours + 1].mean(0) for i in range(len(heat))]
        )
    if rule.grow:
        heat = F.max_pool2d(heat, 2 * rule.grow + 1, 1, rule.grow)
    heat = (
        F.interpolate(heat, size, mode="bilinear", align_corners=False)
        if rule.smooth
        else F.interpolate(heat, size, mode="nearest")
    )
    heat = heat / heat.amax((-1, -2), keepdim=True).clamp_min(1e-12)
    return (heat[:, 0] > rule.threshold).float()


def blend_mask(
    maps: Sequence[torch.Tensor],
    words: Sequence[list[int]],
    subtract: Sequence[list[int]],
    map_size: tuple[int, int],
    size: tuple[int, int],
    rule: MaskRule,
    subtract_threshold: float,
) -> torch.Tensor:
    """Local blend's mask (f, *size), 0 or 1: where any prompt's `words` are, less where any prompt's `subtract` words
    are.

    `maps`, `words` and `subtract` have one entry a prompt. Subtracted words are not grown, as in prompt-to-prompt.
    """

    def anywhere(tokens: Sequence[list[int]], rule: MaskRule) -> torch.Tensor:
        return torch.stack([word_mask(m, t, map_size, size, rule) for m, t in zip(maps, tokens, strict=True)]).amax(0)

    return anywhere(words, rule) * (1 - anywhere(subtract, replace(rule, threshold=subtract_threshold, grow=0)))


class Finder:
    """Where the changed words are at the step under way, in the maps of source and edit, and where a mask was given."""

    def __init__(
        self,
        method: Method,
        maps: Callable[[], tuple[torch.Tensor | None, torch.Tensor | None]],
        map_size: tuple[int, int],
        words: tuple[list[int], list[int]],
        spared: tuple[list[int], list[int]],
        given: torch.Tensor | None,
    ):
        """`maps` gives (F, n, L) of the source and of the edit, None before there are any; `words` and `spared`:
        tokens of either prompt (where a text is repeated all copies have the same map, and a mask needs only ratios, so
        the first serves); `given` (f, H, W), 0 or 1, or None."""
        self.method, self.maps, self.map_size = method, maps, map_size
        self.words, self.spared, self.given = words, spared, given
        self.shift = int(method.latent_prompt)  # the latent prompt's frame comes before the clip's

    def mask(
        self, size: tuple[int, int], grow: int, smooth: bool = False, device: torch.device | str | None = None
    ) -> torch.Tensor:
        """(f, *size), 0 or 1: where the edit may change the clip; found on the maps' own device for None."""
        method = self.method
        maps = [m[self.shift :].to(device or m.device) for m in self.maps() if m is not None]  # after a step, both
        found = maps[-1].new_zeros(len(maps[-1]), *size)
        if method.blend_threshold is not None:
            read = {"both": (0, 1), "source": (0,), "edit": (1,)}[method.mask_from]
            found = blend_mask(
                maps=[maps[i] for i in read],
                words=[self.words[i] for i in read],
                subtract=[self.spared[i] for i in read],
                map_size=self.map_size,
                size=size,
                rule=MaskRule(method.blend_threshold, grow, method.mask_neighbours, smooth),
                subtract_threshold=method.subtract_threshold,
            )
        return found if self.given is None else torch.maximum(found, resize_mask(self.given.to(found), size))

    def own_queries(self, sizes: Sequence[tuple[int, int]]) -> dict[int, torch.Tensor] | None:
        """Level of the network -> (F, tokens), 1 where queries keep the edit's own self-attention: where the source's
        maps have its changed words (FateZero, section 3.3). None where the method asks for none, or before there are
        maps."""
        of_source = self.maps()[0]
        if self.method.self_blend_threshold is None or of_source is None:
            return None
        rule = MaskRule(self.method.self_blend_threshold)
        return {
            level: word_mask(of_source, self.words[0], self.map_size, size, rule).flatten(1)
            for level, size in enumerate(sizes)
        }


def blend(source: torch.Tensor, edit: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Latents (f, c, h, w): the edit's inside `mask` (f, h, w), the source's outside."""
    return source + mask[:, None] * (edit - source)


def edit_mask(mask: torch.Tensor, frames: int, size: tuple[int, int]) -> torch.Tensor:
    """A given mask (f or 1, H, W), 0..1, as (frames, H, W) of zeros and ones: half and more counts. LiveError when it
    does not fit.
    """
    if tuple(mask.shape[-2:]) != tuple(size) or mask.shape[0] not in (1, frames):
        raise LiveError(
            f"mask: {mask.shape[0]} frames of {mask.shape[-1]}x{mask.shape[-2]}; the clip has {frames} frames of"
            f" {size[1]}x{size[0]}, so give a mask of that size with 1 or {frames} frames"
        )
    check_frames("mask", mask)
    return (mask >= 0.5).float().expand(frames, -1, -1)


def resize_mask(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(f, H, W) to (f, *size) by the pixel nearest each centre, as blended latent diffusion does."""
    return F.interpolate(mask[:, None], size, mode="nearest-exact")[:, 0]
