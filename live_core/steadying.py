"""Frames that agree on a changed thing after they are decoded: what `agreement` does in latents, in pixels.

The old thing is one thing in all frames, so its track is known to a part of a pixel (`registration`). Seen along it,
the edited frames are pictures of one new thing. Each takes their median, which no frame draws away that has an arm
melted; and an outline that changes by less than a latent's cell stands still.
"""

from __future__ import annotations

import torch

from .checks import check_number
from .compositing import check_mask, check_pair, grow, soften
from .masks import NEARLY_ALL
from .memory import each_frame
from .notes import note
from .pieces import parted
from .records import evenly
from .registration import LEAST_BLUR, Track, blurred, box_of, laid, points_in, sampled, track_of

HEARD = 16  # frames that one agrees with at most: of more within reach, so many, evenly chosen
ROUNDS, NEAR = 8, 0.02  # of the geometric median; a difference, 0..1, below which frames are alike
APART = 0.2  # half of the frames differ by so much from the median: they do not agree, and the frame's own counts
CHANGED = 0.1  # a difference to the clip from which on a pixel is changed for sure
UNLIKE = 0.05  # a pixel beyond the background's colours by so much may be no background, by twice that it is none
TOLD = 0.2  # part of what changed that must be no background, for colours to tell
MOST = 0.7  # part of the frames that must show background
# Parts of the thing's size: by how much the mask grows, the blur of its edge, and how far its background reaches.
MARGIN, BLUR, AROUND = 0.1, 0.05, 0.75
ENOUGH = 0.02  # part of what a blur reaches that must be known background


def steady(edited: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, reach: float) -> torch.Tensor:
    """The `edited` frames, each with the things in the `mask` as its neighbours show them: (f, H, W, 3), 0..1.

    `mask` (f or 1, H, W), 0..1, holds things of the `source` (f, H, W, 3), apart from each other in some frames at
    least, and what takes their places. `reach`, in frames: the deviation of the Gaussian by which neighbours count; 0
    leaves the frames as they are. What most frames leave as it was is the source's. Background stays the frame's own. A
    frame in which a thing is not found where the others have it stays as it is, with a note; so do all for a mask of
    nearly the whole picture. LiveError for a reach below 0, and for clips and a mask that do not fit.
    """
    check_number("steady reach", reach, 0)
    check_pair(edited, source)
    check_mask(mask, source)
    inside = (mask.expand(len(source), -1, -1) > 0.5).float().cpu()
    if reach == 0 or len(source) == 1 or not inside.any():
        return edited
    if inside.mean() >= NEARLY_ALL:
        note(
            f"steady reach: {reach:g}, but the mask holds the whole picture and no one thing, so frames stay as they"
            " are; give a mask of the thing, or 0"
        )
        return edited
    pictures, clip = (frames.float().cpu() for frames in (edited, source))
    for thing in parted(inside):
        pictures = one_steadied(pictures, clip, thing, reach)
    return pictures


def one_steadied(pictures: torch.Tensor, clip: torch.Tensor, inside: torch.Tensor, reach: float) -> torch.Tensor:
    """`pictures` (f, H, W, 3), with the one thing `inside` (f, H, W), 0 or 1, of the `clip` steadied."""
    track = track_of(clip, inside)
    note_lost(track, inside, reach)
    size = float(track.poses[track.sure, 2].exp().mean()) if track.sure.any() else 0.0
    outline = max(1, round(BLUR * size))

    def background(mask: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        foreign = no_background(mask, before, after, size)
        wide = grow(foreign, outline)  # which is of both
        return torch.cat([foreign[..., None], wide[..., None], filled(after, wide, size)], -1)

    behind = each_frame("Composite's background", background, inside, clip, pictures)
    changed = inside * ((pictures - clip).abs().amax(-1) > CHANGED)
    if (behind[..., 0] * changed).sum() < TOLD * changed.sum():
        behind[..., 0] = 1  # colours do not tell the thing from its background
    soft = soften(inside, max(1, round(MARGIN * size)), BLUR * size)
    shown = torch.cat([pictures, clip, behind], -1).permute(0, 3, 1, 2)

    def steadied(i: torch.Tensor) -> torch.Tensor:
        k = int(i)
        own = pictures[k]
        if not track.sure[k]:
            return own
        box = box_of(soft[k])
        own = own.clone()
        own[box] += soft[k][box][..., None] * (agreed(shown, track, k, box, reach, outline).permute(1, 2, 0) - own[box])
        return own.clamp(0, 1)

    return each_frame("Composite's steadying", steadied, torch.arange(len(clip)))


def note_lost(track: Track, inside: torch.Tensor, reach: float) -> None:
    """A note where a `track` is not sure of frames whose mask (f, H, W) has the thing."""
    if lost := torch.nonzero(inside.flatten(1).any(1) & ~track.sure).flatten().tolist():
        note(
            f"steady reach: {reach:g}, but the thing is not found in {len(lost)} of {len(inside)} frames (from"
            f" {lost[0] + 1} on) as the others show it, so these stay as they are; a mask of things that keep their"
            " shape is steadied"
        )


def agreed(
    shown: torch.Tensor, track: Track, i: int, box: tuple[slice, slice], reach: float, outline: int
) -> torch.Tensor:
    """What frame `i` shows in a `box` when it agrees with its neighbours: (3, h, w). `shown` (f, 11, H, W):
    the edited frames, the clip's, what is no background, that with an outline of so many pixels, and the background
    behind."""
    places = torch.arange(len(shown))
    heard = evenly(places[track.sure & ((places - i).abs() <= 3 * reach)].tolist(), HEARD)
    heard = sorted({i, *heard})
    points = points_in(box)
    where = torch.stack([laid(points, track.poses[j], track.poses[i]) for j in heard])
    moved, seen = sampled(shown[heard, :7], where, "bicubic")
    pictures, clip, foreign = moved.split([3, 3, 1], 1)
    falls = torch.exp(-(((torch.tensor(heard) - i) / reach) ** 2) / 2)
    weight = falls[:, None, None, None] * seen[:, None]
    own, before, own_foreign, wide, behind = shown[i, :, box[0], box[1]].split([3, 3, 1, 1, 3])

    middle = geometric_median(pictures, weight)
    spread = median((pictures - middle).abs().amax(1, keepdim=True), weight)
    result = own + decided(2 - spread / APART) * (middle - own)
    # Background does not move with the thing: where most show it, a frame has its own. Where it has the thing, or an
    # outline away from the agreed one, there is the clip's, if most left that as it was, or else what is beside it.
    thing = above(mean(foreign, weight))
    excess = torch.maximum(own_foreign, wide * (1 - grow(thing[0], outline)))
    left = 1 - mean(((pictures - clip).abs().amax(1, keepdim=True) / CHANGED).clamp(0, 1), weight)
    behind = behind + decided(above(left)) * (before - behind)
    ground = own + decided(above(excess)) * (behind - own)
    return result + decided(above(1 - mean(foreign, weight), MOST)) * (ground - result)


def decided(share: torch.Tensor) -> torch.Tensor:
    """Where one picture gives way to another, as `share` (1, h, w), 0..1, has it and the pixels around agree: by each
    alone, a sharp edge would be dotted where the two have it a pixel apart."""
    from kornia.filters import median_blur

    return median_blur(share.clamp(0, 1)[None], 3)[0]


def no_background(mask: torch.Tensor, before: torch.Tensor, after: torch.Tensor, size: float) -> torch.Tensor:
    """(H, W), 0..1: where a picture `after` (H, W, 3) has none of the colours that the one `before` has around the
    `mask` (H, W), which has a thing of so many pixels' `size`."""
    around, beyond = max(1, round(AROUND * size)), []
    covered = grow(mask, max(1, round(BLUR * size))) > 0
    for was, now in zip(before.unbind(-1), after.unbind(-1), strict=True):
        most = grow(was.masked_fill(covered, -1), around)
        least = -grow((-was).masked_fill(covered, -2), around)
        beyond.append(torch.maximum(now - most, least - now))
    return (torch.stack(beyond).amax(0) / UNLIKE - 1).clamp(0, 1)


def filled(picture: torch.Tensor, foreign: torch.Tensor, size: float) -> torch.Tensor:
    """A picture (H, W, 3) with the background beside what is `foreign` (H, W), 0..1, spread over it, from near by where
    there is some."""
    weight = 1 - foreign[None]
    known = torch.cat([picture.permute(2, 0, 1) * weight, weight])[None]
    out = picture.permute(2, 0, 1)
    for part in (AROUND, MARGIN):
        spread, share = blurred(known, max(part * size, LEAST_BLUR))[0].split([3, 1])
        out = out + (share / ENOUGH).clamp(0, 1) * (spread / share.clamp_min(1e-6) - out)
    return out.permute(1, 2, 0)


def above(share: torch.Tensor, least: float = 0.5) -> torch.Tensor:
    """0 for a share, 0..1, of up to `least`, 1 from 0.2 more on."""
    return ((share - least) / 0.2).clamp(0, 1)


def mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(c, h, w): the mean of values (n, c, h, w), weighted (n, 1, h, w)."""
    return (weight * values).sum(0) / weight.sum(0).clamp_min(1e-9)


def median(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The median of values (n, c, h, w), weighted (n, 1, h, w), of each channel by itself: (c, h, w)."""
    ordered, order = values.sort(0)
    below = weight.expand_as(values).gather(0, order).cumsum(0)
    return ordered.gather(0, (below >= below[-1:] / 2).float().argmax(0, keepdim=True))[0]


def geometric_median(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The colour (3, h, w) whose distances to those of values (n, 3, h, w), weighted (n, 1, h, w), sum up to least
    (Weiszfeld's iteration; Vardi and Zhang, The multivariate L1-median, PNAS 2000)."""
    middle = median(values, weight)
    for _ in range(ROUNDS):
        middle = mean(values, weight / (values - middle).norm(dim=1, keepdim=True).clamp_min(NEAR))
    return middle
