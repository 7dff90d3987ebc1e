"""The things of one mask, told apart, and steadied each along its own track."""

import pytest
import torch
from test_steadying import DAMAGED, NEW, OLD, SIDE, TRACK, drawn, place

from live_core.pieces import centres, parted
from live_core.steadying import steady


def discs(*places, side=96, radius=9):
    """(H, W) of 0 and 1."""
    rows, columns = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    return torch.stack([((columns - x) ** 2 + (rows - y) ** 2 < radius**2).float() for x, y in places]).amax(0)


def test_one_thing_stays_whole_with_its_scraps():
    mask = torch.stack([discs((30 + 5 * i, 40)) for i in range(5)])
    assert parted(mask)[0] is mask
    mask[2] = torch.maximum(mask[2], discs((80, 80), radius=3))  # too small to be a thing
    mask[3] = torch.maximum(mask[3], discs((80, 20)))  # in too few frames
    (whole,) = parted(torch.cat([mask] * 2)[:9])
    assert torch.equal(whole, torch.cat([mask] * 2)[:9])
    assert len(parted(torch.zeros(3, 8, 8))) == 1


def test_pieces_are_seen_in_pixels():
    found = centres(discs((30, 40), (70, 60), radius=12))
    assert len(found) == 2 and len(centres(discs((30, 40), (48, 40), radius=12))) == 1
    for place_ in ((30, 40), (70, 60)):
        assert (found - torch.tensor(place_)).norm(dim=1).min() < 1


@pytest.mark.parametrize("size", [96, 300])
def test_things_that_touch_on_their_way_are_followed_through(size):
    """Two on lines that cross: at first and in the middle they touch."""
    scale = size / 96
    ways = [[(16 + 9 * i, 24 + 7 * i) for i in range(8)], [(16 + 9 * i, 72 - 7 * i) for i in range(8)]]
    ways[0][0], ways[1][0] = (16, 43), (16, 53)
    alone = [torch.stack([discs((x * scale, y * scale), side=size, radius=7 * scale) for x, y in way]) for way in ways]
    mask = torch.maximum(*alone)
    found = parted(mask)
    assert len(found) == 2 and torch.equal(found[0] + found[1], mask)
    if not torch.equal(found[0][1], alone[0][1]):
        found = found[::-1]
    for thing, true in zip(found, alone, strict=True):
        assert all(torch.equal(thing[i], true[i]) for i in (1, 2, 5, 6, 7))
        assert all((thing[i] * true[i]).sum() > 0.6 * true[i].sum() for i in (0, 3, 4))


def test_of_two_things_each_agrees_along_its_own_track():
    """One moves right, one left below it; an arm of each melts in one frame."""
    other = TRACK.clone()
    other[:, 0], other[:, 1] = SIDE - TRACK[:, 0], TRACK[:, 1] + 30
    higher = TRACK - torch.tensor([0.0, 24, 0, 0])
    ground = drawn((0, 0, 0), 8, torch.tensor([[-99.0, -99, 1, 0]]))

    def both(colour, narrow):
        first, second = drawn(colour, narrow, higher), drawn(colour[::-1], narrow, other)
        return first + second - ground

    source, perfect = both(OLD, 8), both(NEW, 6)
    mask = place(source, perfect)
    assert len(parted(mask)) == 2
    damaged = perfect.clone()
    damaged[DAMAGED, :, :36] = ground[0, :, :36]
    damaged[1, :, 60:] = ground[0, :, 60:]
    steadied = steady(damaged, source, mask, 16.0)
    for frame in (DAMAGED, 1):
        before, after = ((each - perfect)[frame].abs().sum() for each in (damaged, steadied))
        assert after < before / 5
