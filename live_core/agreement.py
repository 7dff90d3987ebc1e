"""Frames that agree on what a changed thing looks like.

At each step every frame predicts the clean picture that it is on the way to. Seen along the old thing's track, with its
place and size taken out, these are pictures of one thing, and their mean takes the place of each: predictions of
several denoisings averaged in a common space, as in SyncTweedies (Kim et al., NeurIPS 2024), of which this is the case
that its section 3 finds best, and whose common space is here the thing's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .diffusion import Schedule
from .indices import index_of
from .methods import Method
from .steering import Part, Step
from .streams import guided
from .things import Thing

REACH = 2.0  # frames: the deviation of the Gaussian by which a frame's neighbours count


class Agree(Part):
    """In `Method.agree_steps`, the changed `things` look in each frame as they do in its neighbours. The step's own
    latents are made again, so it comes before parts that change them."""

    def __init__(self, method: Method, schedule: Schedule, things: Sequence[Thing]):
        self.method, self.schedule, self.things = method, schedule, things

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        if not self.things or step.index not in self.method.agree_steps(step.total):
            return x
        before = step.latents
        assert before is not None
        prediction = self.schedule.noise(before, guided(noise, step.chain), step.t)
        own = self.schedule.clean(before, prediction, step.t)
        agreed, places = own, self.method.frame_plan.places(len(own))
        for thing in self.things:
            agreed = agreed + thing.mask.to(own)[:, None] * (along(own, thing, places=places).to(own) - own)
        return self.schedule.towards(before, agreed, step.t, step.total)


def along(
    pictures: torch.Tensor, thing: Thing, reach: float = REACH, places: Sequence[int] | None = None
) -> torch.Tensor:
    """`pictures` (f, c, h, w), each the mean of all of them, moved and scaled to where the thing is in it: float32.
    `places`: where in the clip they are, if they do not follow one another.

    Weights fall off with the distance in frames, a Gaussian of `reach`; what lies outside a picture does not count, nor
    does a frame in which the thing is cut, and such a frame stays as it is.
    """
    pictures = pictures.float()
    count, _, height, width = pictures.shape
    at = range(count) if places is None else places
    down, across = ((torch.arange(n, device=pictures.device) + 0.5) * 2 / n - 1 for n in (height, width))
    x, y, size = (each.to(pictures.device) for each in (thing.x, thing.y, thing.size))
    whole = thing.whole.tolist()
    means = []
    for i in range(count):
        near = [j for j in range(count) if whole[j] and j != i and abs(at[j] - at[i]) <= 3 * reach]
        if not whole[i] or not near:
            means.append(pictures[i])
            continue
        others = index_of(near, pictures)
        zoom = (size[others] / size[i])[:, None]
        columns, rows = x[others, None] + zoom * (across - x[i]), y[others, None] + zoom * (down - y[i])
        grid = torch.stack([columns[:, None].expand(-1, height, -1), rows[:, :, None].expand(-1, -1, width)], -1)
        moved = F.grid_sample(pictures[others], grid, mode="bicubic", padding_mode="border", align_corners=False)
        distance = index_of([at[j] - at[i] for j in near], pictures).to(pictures)
        weight = torch.exp(-((distance / reach) ** 2) / 2)[:, None, None, None] * (grid.abs().amax(-1) <= 1)[:, None]
        means.append((pictures[i] + (weight * moved).sum(0)) / (1 + weight.sum(0)))
    return torch.stack(means)
