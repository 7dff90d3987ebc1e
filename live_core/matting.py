"""What is one thing in a clip's frames, told by its track and its colours: its picture, its matte and its silhouette.

Along the track frames show one thing, before a background that passes. Colours that are seldom around it are its own;
of these, what is nearer to the colours of its middle than to those around it is the thing, and the rest is smeared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .compositing import grow
from .records import evenly
from .registration import Track, box_of, laid, points_in, sampled, uncut
from .steadying import AROUND, BLUR, HEARD, geometric_median, median

COLOURS = 400  # of those around a thing, or of its middle, so many stand for all
STRAY, RARE = 12, 5  # a colour that so few of them are near is none of those around; of the middle
UNLIKE = 0.06  # a pixel as far from the colours around as this may be none of them, twice as far it is none
MIDDLE = 0.5  # of the way from its outline to the innermost pixel a thing's middle begins
TOLD = 0.1  # part of its mask that a thing's silhouette must fill, for colours to tell it
CHANGES = 0.35  # part of its silhouette by which half of the frames may differ, for them to show one thing
WHOLE = 0.98  # part of a thing that a frame must show for its picture to be taken
DIRECTIONS = 60  # in which a silhouette's width is taken


@dataclass(frozen=True)
class Silhouette:
    """What a clip's frames show along a track: `picture` (3, h, w), `alpha` (h, w), 0..1, and the silhouette alone,
    `inside` (h, w) bool; in the pose `at` (4,)."""

    at: torch.Tensor
    picture: torch.Tensor
    alpha: torch.Tensor
    inside: np.ndarray


def silhouette(frames: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, track: Track) -> Silhouette | None:
    """What `frames` (f, H, W, 3) show along a `track`, of a thing that is `inside` (f, H, W) in the `clip`; None where
    colours do not tell it, or most frames differ."""
    from scipy import ndimage

    sure = track.found
    first = max(sure, key=lambda j: float(inside[j].sum() * uncut(inside)[j]))
    heard = sorted({first, *evenly(sure, HEARD)})
    size = float(track.poses[sure, 2].exp().mean())
    distances = torch.stack([far_from_around(inside[j], clip[j], frames[j], size) for j in heard])
    shown = torch.cat([distances[:, None], frames[heard].permute(0, 3, 1, 2)], 1)
    box = box_of(grow(inside[first], max(1, round(AROUND * size))))
    points = [laid(points_in(box), track.poses[j], track.poses[first]) for j in heard]
    moved, seen = sampled(shown, torch.stack(points), "bicubic")
    weight = seen[:, None].float()
    middle = geometric_median(moved[:, 1:], weight).clamp(0, 1)
    away = median(moved[:, :1], weight)[0]
    piece = largest((away > 2 * UNLIKE).numpy())
    if piece.sum() < TOLD * float(inside[first].sum()):
        return None
    # Of what is unlike the colours around, that which is nearer to those of its middle, and a rim of it.
    depth = ndimage.distance_transform_edt(piece)
    colours = middle.permute(1, 2, 0)[torch.from_numpy(depth >= MIDDLE * depth.max())]
    own = like(middle, away, colours)
    known = weight[:, 0].numpy() > 0
    differ = [(like(each[1:], each[0], colours) ^ own)[where].sum() for each, where in zip(moved, known, strict=True)]
    if np.median(differ) > CHANGES * own.sum():
        return None
    near = ndimage.binary_dilation(own, np.ones((3, 3)), max(1, round(BLUR * size)))
    off = (moved[:, 1:] - middle).abs()
    within = torch.from_numpy(near) * weight[:, 0]
    seen_of = within.flatten(1).sum(1)
    apart = (off.mean(1) * within).flatten(1).sum(1) / seen_of.clamp_min(1) + (seen_of < WHOLE * near.sum())
    unlike, picture = moved[int(apart.argmin())].split([1, 3])
    deep = torch.from_numpy(ndimage.binary_erosion(own, iterations=3)).float()
    alpha = torch.maximum(foreign(unlike[0]) * torch.from_numpy(near), deep)
    at = track.poses[first] - torch.tensor([box[1].start, box[0].start, 0, 0])
    return Silhouette(at, picture.clamp(0, 1), alpha, piece & near)


def far_from_around(mask: torch.Tensor, before: torch.Tensor, after: torch.Tensor, size: float) -> torch.Tensor:
    """(H, W): how far colours of a picture `after` (H, W, 3) are from those that the one `before` has around the `mask`
    (H, W), which has a thing of so many pixels' `size`; 0 farther off."""
    reached = grow(mask, max(1, round(AROUND * size))) > 0
    around = before[reached & (grow(mask, max(1, round(BLUR * size))) == 0)]
    out = torch.zeros_like(mask)
    if len(around):
        out[reached] = far(after[reached], around, STRAY)
    return out


def foreign(distance: torch.Tensor) -> torch.Tensor:
    """0..1: whether a colour so far from those around, `far_from_around`, is surely none of them."""
    return (distance / UNLIKE - 1).clamp(0, 1)


def like(picture: torch.Tensor, away: torch.Tensor, colours: torch.Tensor) -> np.ndarray:
    """(H, W) bool: the largest piece of a `picture` (3, H, W) that is `away` (H, W) from the colours around it, and
    nearer to `colours` (n, 3)."""
    return largest(((away > 2 * UNLIKE) & (far(picture.permute(1, 2, 0), colours, RARE) < away)).numpy())


def far(pixels: torch.Tensor, colours: torch.Tensor, rare: int) -> torch.Tensor:
    """Pixels (..., 3): how far each is from the nearest of `colours` (n, 3), the `rare` nearest left out."""
    from scipy.spatial import KDTree

    some = colours[evenly(range(len(colours)), COLOURS)]
    found, _ = KDTree(some.numpy()).query(pixels.reshape(-1, 3).numpy(), k=[min(rare, len(some))])
    return torch.from_numpy(found).view(pixels.shape[:-1]).to(pixels)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask (H, W) bool."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    return labels == 1 + int(np.argmax(ndimage.sum(mask, labels, range(1, count + 1)))) if count else mask


def width(mask: np.ndarray) -> float:
    """How wide a silhouette (H, W) bool is in pixels, the mean over all directions."""
    down, across = np.nonzero(mask)
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    along = across[:, None] * np.cos(angles) + down[:, None] * np.sin(angles)
    return float((along.max(0) - along.min(0) + 1).mean())
