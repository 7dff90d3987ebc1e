"""The new thing cut out of an edit, and laid over the clip's own background.

`steadying` makes frames agree pixel by pixel. Here they agree on one cut-out. The old thing's track is known; the new
thing is laid over itself along it (`registration`), and the frame that is nearest to the median of all gives its
picture. Its matte goes by colours: nearer to those of its middle than to those around it. So what an edit smears beside
a thing falls away, and an edge is as sharp as that frame has it. Behind it is the clip; where the old thing stood, the
same place in frames where it stands elsewhere, if the clip stands still, or else what the edit drew there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from . import LiveError
from .checks import check_number
from .compositing import check_mask, check_pair, grow, soften
from .interrupts import heed
from .masks import NEARLY_ALL
from .notes import note
from .pieces import parted
from .records import evenly
from .registration import Track, box_of, laid, points_in, sampled, seen_at, seen_from, track_beside, track_of, uncut
from .steadying import AROUND, BLUR, HEARD, MARGIN, filled, geometric_median, median, note_lost, steady

COLOURS = 400  # of those around a thing, or of its middle, so many stand for all
STRAY, RARE = 12, 5  # a colour that so few of them are near is none of those around; of the middle
UNLIKE = 0.06  # a pixel as far from the colours around as this may be none of them, twice as far it is none
MIDDLE = 0.5  # of the way from its outline to the innermost pixel a thing's middle begins
TOLD = 0.1  # part of its mask that a thing's silhouette must fill, for colours to tell it
CHANGES = 0.35  # part of its silhouette by which half of the frames may differ, for them to show one thing
WHOLE = 0.98  # part of a thing that a frame must show for its picture to be taken
RING, SOFT = 0.3, 0.7  # part of its size around the old thing that is looked at for that; pixels of its edge's blur
STILL = 0.03  # a difference, 0..1, up to which what surrounds the old thing stands still between two frames
DIRECTIONS = 60  # in which a silhouette's width is taken


@dataclass(frozen=True)
class Cut:
    """A thing cut out: its `picture` (3, h, w) and `alpha` (h, w), 0..1, in the pose `at` (4,); the poses `shown` (f,
    4) in which frames that are `sure` (f,) are to show it; and `old` (f, H, W), 0 or 1: where the clip has the old
    thing and a rim of it, or its mask in frames that are not sure."""

    picture: torch.Tensor
    alpha: torch.Tensor
    at: torch.Tensor
    shown: torch.Tensor
    sure: torch.Tensor
    old: torch.Tensor


@dataclass(frozen=True)
class Silhouette:
    """What a clip's frames show along a track: `picture` (3, h, w), `alpha` (h, w), 0..1, and the silhouette alone,
    `inside` (h, w) bool; in the pose `at` (4,)."""

    at: torch.Tensor
    picture: torch.Tensor
    alpha: torch.Tensor
    inside: np.ndarray


def cut_out(
    edited: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, reach: float, resize: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `edited` frames with each thing in the `mask` cut out and laid over the clip `source`, all (f, H, W, 3),
    0..1; and the mask (f, H, W), 0..1, with where the things are now.

    `mask` (f or 1, H, W), 0..1, as `steady` takes it. A thing is made as wide as the old one, in the mean over all
    directions, but no more than ``1 + resize`` times larger or smaller. Where colours do not tell one of the things
    from what is around it, or frames show it differently, a note, and all are steadied instead, with that `reach`.
    LiveError for a reach that is not above 0, a resize below 0, and for clips and a mask that do not fit.
    """
    check_number("resize", resize, 0)
    check_number("steady reach", reach, 0)
    if reach == 0:
        raise LiveError(
            "cut out: it goes along a thing's track, as steady reach does, which is 0; give 16, or do not cut out"
        )
    check_pair(edited, source)
    check_mask(mask, source)
    mask = mask.expand(len(source), -1, -1)
    inside = (mask > 0.5).float().cpu()
    if len(source) == 1:
        note(
            "cut out: the clip has one frame, and a thing is told by how it moves, so it is pasted as it is; give more"
        )
    if len(source) == 1 or not inside.any() or inside.mean() >= NEARLY_ALL:
        return steady(edited, source, mask, reach), mask
    pictures, clip = (frames.float().cpu() for frames in (edited, source))
    cuts: list[Cut] = []
    for thing in parted(inside):
        cut = cut_of(pictures, clip, thing, reach, resize)
        if cut is None:
            return steady(edited, source, mask, reach), mask
        cuts.append(cut)
    shown, things = laid_over_clip(pictures, clip, inside, cuts)
    return shown, torch.maximum(mask.float().cpu(), things)


def cut_of(pictures: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, reach: float, resize: float) -> Cut | None:
    """The one thing `inside` (f, H, W), 0 or 1, cut out of `pictures`, edited from the `clip` (f, H, W, 3); None, with
    a note, where it cannot be."""
    track = track_of(clip, inside)
    if int(track.sure.sum()) < max(2, int(inside.flatten(1).any(1).sum()) / 2):
        _note_not_cut("old thing is not found in half of the frames as the others show it")
        return None
    poses = track_beside(pictures, inside, track)
    was = silhouette(clip, clip, inside, track)
    new = silhouette(pictures, clip, inside, Track(poses, track.sure))
    if was is None:
        _note_not_cut("old thing has the colours of what is around it, or another shape in each frame")
        return None
    if new is None:
        _note_not_cut("new thing has the colours of what is around it, or another shape in each frame")
        return None
    note_lost(track, inside, reach)
    offset = torch.stack([seen_from(poses[j], track.poses[j]) for j in places_of(track.sure)]).median(0).values
    # How wide each is, in sizes of its own pose: drawn in one pose, new and old are as wide where these are the same.
    old_width, new_width = (width(each.inside) / float(each.at[2].exp()) for each in (was, new))
    most = math.log1p(resize)
    offset[2] += (math.log(old_width / new_width) - offset[2]).clamp(-most, most)
    shown = torch.stack([seen_at(offset, pose) for pose in track.poses])
    return Cut(new.picture, new.alpha, new.at, shown, track.sure, stood(was, track, inside))


def _note_not_cut(why: str) -> None:
    note(f"cut out: the {why}, so frames are steadied alone; give a mask of one thing that keeps its shape")


def silhouette(frames: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, track: Track) -> Silhouette | None:
    """What `frames` (f, H, W, 3) show along a `track`, of a thing that is `inside` (f, H, W) in the `clip`; None where
    colours do not tell it, or most frames differ."""
    from scipy import ndimage

    sure = places_of(track.sure)
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
    alpha = torch.maximum((unlike[0] / UNLIKE - 1).clamp(0, 1) * torch.from_numpy(near), deep)
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


def stood(was: Silhouette, track: Track, inside: torch.Tensor) -> torch.Tensor:
    """(f, H, W), 0 or 1: where the old thing and its rim are in each frame, holes filled; all of its mask where the
    track is not sure."""
    from scipy import ndimage

    filled_in = torch.from_numpy(ndimage.binary_fill_holes(was.inside)).float()[None, None]
    rim = max(1, round(BLUR * float(track.poses[track.sure, 2].exp().mean())))
    points, frames = all_points(inside), []
    for pose, sure, mask in zip(track.poses, track.sure, inside, strict=True):
        there = sampled(filled_in, laid(points, was.at, pose)[None])[0][0, 0] if sure else mask
        frames.append(grow((there > 0.3).float(), rim))
    return torch.stack(frames)


def laid_over_clip(
    pictures: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, cuts: list[Cut]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`pictures` (f, H, W, 3) with the `cuts` over the `clip` around the mask `inside` (f, H, W); and where they are, 0
    or 1, (f, H, W). A frame in which one of them is not sure stays."""
    old = torch.stack([cut.old for cut in cuts]).amax(0)
    sure = torch.stack([cut.sure for cut in cuts]).all(0)
    size = float(torch.stack([cut.shown[sure, 2].exp().mean() for cut in cuts]).mean()) if sure.any() else 0.0
    out, things, points = pictures.clone(), torch.zeros_like(inside), all_points(inside)
    for i in places_of(sure):
        heed()
        ground = background(pictures, clip, inside, old, i, size)
        shown = ground.clone()
        for cut in cuts:
            layer = torch.cat([cut.alpha[None], cut.picture])[None]
            moved = sampled(layer, laid(points, cut.at, cut.shown[i])[None], "bicubic")[0][0].clamp(0, 1)
            shown += moved[0][..., None] * (moved[1:].permute(1, 2, 0) - shown)
            things[i] = torch.maximum(things[i], (moved[0] > 0).float())
        zone = torch.stack([inside[i], things[i], old[i]]).amax(0, keepdim=True)
        soft = soften(zone, max(1, round(MARGIN * size)), BLUR * size)[0][..., None]
        out[i] += soft * (shown - out[i])
    return out, things


def background(
    pictures: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, old: torch.Tensor, i: int, size: float
) -> torch.Tensor:
    """(H, W, 3): what is behind all things in frame `i`: the clip; where `old` (f, H, W) is, the same place in frames
    that have it free, if the clip stands still between them, or else what the edit drew and is like what is around."""
    if not old[i].any():
        return clip[i]
    rim = max(1, round(BLUR * size))
    unlike = (far_from_around(inside[i], clip[i], pictures[i], size) / UNLIKE - 1).clamp(0, 1)
    drawn = filled(pictures[i], grow(unlike, rim), size)
    drawn = pictures[i] + grow(unlike, rim)[..., None] * (drawn - pictures[i])
    taken = soften(old[i : i + 1], 0, SOFT)[0][..., None]
    ground = clip[i] + taken * (drawn - clip[i])
    ring = (grow(old[i], max(1, round(RING * size))) > 0) & (old[i] == 0)
    near = sorted((j for j in range(len(clip)) if j != i), key=lambda j: abs(j - i))
    still = []
    for j in near[: 2 * HEARD]:
        both = ring & (old[j] == 0)
        if both.any() and float((clip[j] - clip[i]).abs().mean(-1)[both].mean()) <= STILL:
            still.append(j)
    if still:
        free = (1 - old[still])[:, None]
        known = (old[i] * (free.amax(0)[0] > 0)).bool()
        ground[known] = median(clip[still].permute(0, 3, 1, 2), free).permute(1, 2, 0)[known]
    return ground


def all_points(mask: torch.Tensor) -> torch.Tensor:
    """(H, W, 2): the pixels of masks (f, H, W)."""
    return points_in((slice(0, mask.shape[1]), slice(0, mask.shape[2])))


def places_of(sure: torch.Tensor) -> list[int]:
    return torch.nonzero(sure).flatten().tolist()
