"""The things that an edit changes: where each is in the clip's frames, and how it moves through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .attention import AttentionPlan
from .inversion import Inversion, source_stream
from .masks import MaskRule, word_mask
from .methods import Method
from .pretrained import LiveModel
from .prompts import Prompt
from .streams import predict
from .taps import WordTap

READ_AT = 0.7  # part of the steps after which words point best: enough noise to ask, enough picture to tell
THRESHOLD = 0.4  # of a frame's maximum, above which the thing is there


@dataclass(frozen=True)
class Thing:
    """Where a thing is: `mask` (f, h, w), 0 or 1, at the latents' size and a cell wider than the thing; its centre
    `x`, `y` (f,), from -1 to 1 across the picture as in `grid_sample`; `size` (f,), the square root of its area; and
    whether it is in sight whole, `whole` (f,) bool, in main memory: where the picture's border cuts it, its centre is
    not known."""

    mask: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    size: torch.Tensor
    whole: torch.Tensor


def things_of(
    model: LiveModel, inversion: Inversion, method: Method, prompt: Prompt, words: Sequence[int]
) -> list[Thing]:
    """The things that the `words` of the clip's `prompt` name, neighbours among them one thing: in the word maps of one
    forward, of the clip at little noise under its own prompt."""
    index = int(READ_AT * inversion.steps)
    latents = inversion.at(index).to(model.unet.device)
    stream = source_stream(model, method, inversion.prompt, inversion.at(inversion.steps).to(latents))
    tap = WordTap(model.unet.map_level)
    t = model.schedule.timesteps(inversion.steps)[index]
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        plan = AttentionPlan(method.frame_plan, tap=tap, step=index)
        predict(model.unet, [stream], {"source": latents}, t, index, plan)
    assert tap.maps is not None
    maps = tap.maps[0, int(method.latent_prompt) :]
    height, width = latents.shape[-2:]
    fine = (height * model.pixels_per_latent, width * model.pixels_per_latent)
    rule = MaskRule(THRESHOLD, grow=0, smooth=True)
    return [
        thing_in(word_mask(maps, prompt.tokens_in(each), model.map_size(latents), fine, rule), (height, width))
        for each in neighbours(words)
    ]


def neighbours(words: Sequence[int]) -> list[list[int]]:
    """Numbers of words in order, those that follow one another together.

    >>> neighbours([1, 2, 5])
    [[1, 2], [5]]
    """
    groups: list[list[int]] = []
    for word in words:
        if groups and groups[-1][-1] == word - 1:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def thing_in(mask: torch.Tensor, size: tuple[int, int]) -> Thing:
    """The thing of a `mask` (f, H, W), 0 or 1, nowhere empty, finer than the latents' `size` (h, w)."""
    height, width = mask.shape[-2:]
    area = mask.sum((1, 2))
    # Places of cells as `grid_sample` has them: a cell's centre is half a cell in.
    across = (torch.arange(width).to(mask) + 0.5) * 2 / width - 1
    down = (torch.arange(height).to(mask) + 0.5) * 2 / height - 1
    border = torch.stack([mask[:, 0].amax(1), mask[:, -1].amax(1), mask[:, :, 0].amax(1), mask[:, :, -1].amax(1)])
    whole = (border.amax(0) == 0).cpu()
    cells = F.adaptive_max_pool2d(mask[:, None], size)
    return Thing(
        mask=F.max_pool2d(cells, 3, 1, 1)[:, 0],
        x=(mask * across).sum((1, 2)) / area,
        y=(mask * down[:, None]).sum((1, 2)) / area,
        size=area.sqrt(),
        whole=whole if whole.any() else ~whole,
    )
