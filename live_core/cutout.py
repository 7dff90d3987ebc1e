"""The new thing cut out of an edit, and laid over the clip's own background.

`steadying` makes frames agree pixel by pixel. Here they agree on one cut-out. The old thing's track is known; the new
thing is laid over itself along it (`registration`), and cut out of the frame that shows it best (`matting`). So what an
edit smears beside a thing falls away, and an edge is as sharp as that frame has it. Behind it is the clip; where the
old thing stood, the same place in frames where it stands elsewhere, if the clip stands still, or else what the edit
drew there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from . import LiveError
from .checks import check_number
from .compositing import check_mask, check_pair, grow, soften
from .interrupts import heed
from .masks import NEARLY_ALL
from .matting import Silhouette, far_from_around, foreign, silhouette, width
from .notes import note
from .pieces import parted
from .registration import Track, all_points, box_of, laid, sampled, seen_at, seen_from, track_beside, track_of
from .steadying import BLUR, MARGIN, filled, median, note_lost, steady

SOFT = 0.7  # pixels: the blur of the edge to where the old thing stood
RING = 0.3  # part of its size, around the old thing, that tells whether the clip stands still between two frames
STILL = 0.03  # a difference, 0..1, up to which it does
MOST = 32  # of the nearest frames, that are asked for what is behind


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
    offset = torch.stack([seen_from(poses[j], track.poses[j]) for j in track.found]).median(0).values
    # How wide each is, in sizes of its own pose: drawn in one pose, new and old are as wide where these are the same.
    old_width, new_width = (width(each.inside) / float(each.at[2].exp()) for each in (was, new))
    most = math.log1p(resize)
    offset[2] += (math.log(old_width / new_width) - offset[2]).clamp(-most, most)
    shown = torch.stack([seen_at(offset, pose) for pose in track.poses])
    return Cut(new.picture, new.alpha, new.at, shown, track.sure, stood(was, track, inside))


def _note_not_cut(why: str) -> None:
    note(f"cut out: the {why}, so frames are steadied alone; give a mask of one thing that keeps its shape")


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
    for i in torch.nonzero(sure).flatten().tolist():
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
    unlike = grow(foreign(far_from_around(inside[i], clip[i], pictures[i], size)), rim)
    drawn = pictures[i] + unlike[..., None] * (filled(pictures[i], unlike, size) - pictures[i])
    taken = soften(old[i : i + 1], 0, SOFT)[0][..., None]
    ground = clip[i] + taken * (drawn - clip[i])
    reached = grow(old[i], max(1, round(RING * size)))
    box = box_of(reached)
    here, there = clip[:, box[0], box[1]], old[:, box[0], box[1]]
    ring = (reached[box] > 0) & (there[i] == 0)
    still = []
    for j in sorted((j for j in range(len(clip)) if j != i), key=lambda j: abs(j - i))[:MOST]:
        both = ring & (there[j] == 0)
        if both.any() and float((here[j] - here[i]).abs().mean(-1)[both].mean()) <= STILL:
            still.append(j)
    if still:
        free = (1 - there[still])[:, None]
        known = (there[i] * free.amax(0)[0]).bool()
        ground[box][known] = median(here[still].permute(0, 3, 1, 2), free).permute(1, 2, 0)[known]
    return ground
