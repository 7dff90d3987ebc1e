"""The things of one mask, told apart: each frame's pieces, and which of them is which from frame to frame."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise, permutations

import torch
import torch.nn.functional as F

from .interrupts import heed

CELLS = 64  # along the mask's longer side: pieces that are nearer to each other than a cell count as one
LEAST = 0.3  # of a frame's largest piece: what is smaller is a scrap of another, no thing
SHARE = 0.25  # part of the frames that must show so many pieces, for the mask to hold so many things
MOST = 4  # things


def parted(mask: torch.Tensor) -> list[torch.Tensor]:
    """The things of a `mask` (f, H, W), 0 or 1: a mask of each, of the same shape, which add up to it. Where things
    touch, a pixel is of that whose centre is nearest, by its way through the frames in which they are apart."""
    pieces = []
    for frame in mask:
        heed()
        pieces.append(centres(frame))
    counts = sorted((len(found) for found in pieces if len(found)), reverse=True)
    count = min(counts[math.ceil(SHARE * len(counts)) - 1], MOST) if counts else 1
    if count < 2:
        return [mask]
    ways = followed(pieces, count).to(mask.device)
    down, across = (torch.arange(side, device=mask.device) + 0.5 for side in mask.shape[1:])
    places = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)
    things = [torch.empty_like(mask) for _ in range(count)]
    for k, spots in enumerate(ways.unbind(1)):
        nearest = (places - spots[:, None, None]).square().sum(-1).argmin(0)
        for i, thing in enumerate(things):
            thing[k] = mask[k] * (nearest == i)
    return things


def centres(mask: torch.Tensor) -> torch.Tensor:
    """(n, 2): the centres of a mask's (H, W) pieces, x and y in pixels, the largest first."""
    from kornia.contrib import connected_components

    cell = math.ceil(max(mask.shape) / CELLS)
    small = F.max_pool2d(mask[None, None].float(), cell, ceil_mode=True)
    if not small.any():
        return torch.zeros(0, 2)
    labels = connected_components(small, num_iterations=2 * CELLS)[0, 0]
    found = [(labels == label).nonzero().float() for label in labels.unique() if label > 0]
    found = sorted(found, key=len, reverse=True)
    return torch.stack([(cells.mean(0).flip(0) + 0.5) * cell for cells in found if len(cells) >= LEAST * len(found[0])])


def followed(pieces: list[torch.Tensor], count: int) -> torch.Tensor:
    """(count, f, 2): where each of `count` things is, from the centres (n, 2) of each frame's pieces: in frames that
    show so many the nearest to where its motion brings it, in others on a straight line between those or beyond them.
    """
    known = [i for i, found in enumerate(pieces) if len(found) >= count]
    ways = [pieces[known[0]][:count]]
    for last, i in pairwise(known):
        moved = (ways[-1] - ways[-2]) / (last - known[len(ways) - 2]) if len(ways) > 1 else 0
        expected = ways[-1] + (i - last) * moved
        orders = (pieces[i][list(order)] for order in permutations(range(count)))
        ways.append(min(orders, key=partial(_apart, expected)))
    if len(known) == 1:
        return ways[0][:, None].expand(-1, len(pieces), -1)
    at = torch.arange(len(pieces))
    right = torch.searchsorted(torch.tensor(known), at).clamp(1, len(known) - 1)
    before, after = (torch.tensor(known)[index] for index in (right - 1, right))
    part = ((at - before) / (after - before))[:, None, None]
    ends = torch.stack(ways)
    return torch.lerp(ends[right - 1], ends[right], part).transpose(0, 1)


def _apart(expected: torch.Tensor, places: torch.Tensor) -> float:
    return float((places - expected).norm(dim=1).sum())
