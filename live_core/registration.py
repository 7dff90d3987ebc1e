"""The track of one thing through a clip, finer than a pixel: its frames laid over one another.

Alignment of pictures by least squares (Baker and Matthews, Lucas-Kanade 20 Years On, IJCV 2004), from coarse to fine,
with weights that leave out what does not move with the thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .interrupts import heed
from .records import evenly

# From coarse to fine: the blur's sigma as a part of the thing's size, and the difference, 0..1, from which on a pixel
# counts less.
LEVELS = ((0.12, 0.3), (0.06, 0.15), (0.03, 0.08))
TOLD_AT = 1  # the level at which one start is told from another, and a frame that is laid right from one that is not
LEAST_BLUR = 0.7  # pixels
MOST_SHOWN = 16  # frames of whose thing a median is made, evenly chosen
ROUNDS = 6  # of least squares, at each level
LEAP = 0.1  # of the thing's size, by which a round moves it at most
SURE = 0.25  # part of a thing's pixels that may differ where a frame is laid right
SEEN = 0.1  # part of them that must be in the picture for that
TOLD = 0.85  # an angle is told by the picture if with it the frames differ by less than this part of what they do
ASTRAY = 0.25  # of its size: what takes its place is not believed to be so far from the track, or so much larger
HOLD = 0.05  # how strongly an angle is held that the picture does not tell, a ring's


@dataclass(frozen=True)
class Track:
    """`poses` (f, 4): centre in pixels, x and y, logarithm of size in pixels, and angle, the same point and side of the
    thing in every frame; `sure` (f,) bool: whether the frame shows the thing there as the others do."""

    poses: torch.Tensor
    sure: torch.Tensor

    @property
    def found(self) -> list[int]:
        """The numbers of the frames that are sure."""
        return torch.nonzero(self.sure).flatten().tolist()


def track_of(clip: torch.Tensor, mask: torch.Tensor) -> Track:
    """Where the thing of a `mask` (f, H, W), 0 or 1, not empty in all frames, is in the pictures of a `clip` (f, H, W,
    3), 0..1. A frame whose mask is empty is not sure."""
    pictures, mask = clip.float().permute(0, 3, 1, 2), mask.float()
    poses, there = moments(mask)
    first = int((mask.sum((1, 2)) * uncut(mask)).argmax())
    size = float(poses[first, 2].exp())
    levels = [
        Level(blurred(pictures, max(part * size, LEAST_BLUR)), mask[first], poses[first], error)
        for part, error in LEVELS
    ]
    straight, turned = (laid_over(levels, poses, there, first, turns) for turns in (False, True))
    poses, misfits = turned if turned[1].sum() < TOLD * straight[1].sum() else straight
    return Track(poses, there & (misfits <= SURE))


def track_beside(pictures: torch.Tensor, mask: torch.Tensor, track: Track) -> torch.Tensor:
    """(f, 4): the poses in which what took the place of a `track`'s thing, in `pictures` (f, H, W, 3), lies best on the
    median of it; a frame that is not sure keeps the track's. `mask` (f, H, W), 0 or 1, holds it."""
    poses, sure = track.poses.clone(), track.found
    first = int((mask.sum((1, 2)) * uncut(mask) * track.sure).argmax())
    size, shown = float(poses[first, 2].exp()), pictures.float().permute(0, 3, 1, 2)
    for part, error in LEVELS:
        level = Level(blurred(shown, max(part * size, LEAST_BLUR)), mask[first].float(), track.poses[first], error)
        for _ in range(ROUNDS // 2):
            heed()
            middle = level.middle(evenly(sure, MOST_SHOWN), poses)
            for j in sure:
                pose = level.fitted(j, poses[j], middle, turns=True)
                offset = seen_from(pose, track.poses[j])
                if max(offset[:2].norm(), offset[2].abs()) < ASTRAY:
                    poses[j] = pose
    return poses


def seen_from(pose: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
    """A `pose` as a thing in pose `on` has it: x and y in its sizes along its own sides, logarithm of size, angle."""
    x, y = (pose[:2] - on[:2]) * (-on[2]).exp()
    cos, sin = on[3].cos(), on[3].sin()
    return torch.stack([cos * x + sin * y, cos * y - sin * x, pose[2] - on[2], pose[3] - on[3]])


def seen_at(offset: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
    """The pose that a thing in pose `on` has at such an `offset`: `seen_from` undone."""
    (x, y), cos, sin = offset[:2] * on[2].exp(), on[3].cos(), on[3].sin()
    return torch.stack([on[0] + cos * x - sin * y, on[1] + sin * x + cos * y, on[2] + offset[2], on[3] + offset[3]])


def laid_over(
    levels: list[Level], poses: torch.Tensor, there: torch.Tensor, first: int, turns: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The poses (f, 4) in which the frames that are `there` lie best on the `first`, and then on their median, from
    those by their masks; turned too if it `turns`. And (f,) how much each frame differs from that median, 0..1."""
    poses = poses.clone()
    tops = [level.shown(first, poses[first])[0] for level in levels]
    for j in sorted(set(range(len(poses))) - {first}, key=lambda j: abs(j - first)):
        heed()
        found = []
        for pose in starts(poses, first, j) if there[j] else []:
            for level, top in zip(levels, tops, strict=True):
                pose = level.fitted(j, pose, top, turns)
            found.append((levels[TOLD_AT].misfit(j, pose, tops[TOLD_AT]), pose))
        poses[j] = min(found, key=lambda fit: fit[0])[1] if found else poses[j - 1 if j > first else j + 1]
    shown = torch.nonzero(there).flatten().tolist()
    for _ in range(2):
        middle = levels[-1].middle(shown, poses)
        for j in shown:
            poses[j] = levels[-1].fitted(j, poses[j], middle, turns)
    middle = levels[TOLD_AT].middle(shown, poses)
    return poses, torch.tensor([levels[TOLD_AT].misfit(j, poses[j], middle) for j in range(len(poses))])


def starts(poses: torch.Tensor, first: int, j: int) -> list[torch.Tensor]:
    """Where the thing may be in frame `j`: where its mask is; where it was in the frame nearer to the `first`; and
    where its motion brings it from there."""
    back = 1 if j > first else -1
    near, before = poses[j - back], j - 2 * back
    found = [torch.cat([poses[j, :3], near[3:]]), near]
    if (before - first) * back >= 0:
        found.append(2 * near - poses[before])
    return found


def moments(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(f, 4): poses by the centres and areas of masks (f, H, W); and (f,) bool: which frames have any."""
    area = mask.sum((1, 2))
    across, down = (torch.arange(side).to(mask) + 0.5 for side in (mask.shape[2], mask.shape[1]))
    some = area.clamp_min(1)
    x, y = (mask * across).sum((1, 2)) / some, (mask * down[:, None]).sum((1, 2)) / some
    return torch.stack([x, y, some.sqrt().log(), torch.zeros_like(x)], 1), area > 0


def uncut(mask: torch.Tensor) -> torch.Tensor:
    """(f,) bool: whether the border leaves the things of masks (f, H, W) whole; true for all where it cuts each."""
    border = torch.stack([mask[:, 0].amax(1), mask[:, -1].amax(1), mask[:, :, 0].amax(1), mask[:, :, -1].amax(1)])
    uncut = (border.amax(0) == 0) & mask.flatten(1).any(1)
    return uncut if uncut.any() else torch.ones_like(uncut)


def blurred(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """Pictures (f, c, H, W) blurred by a Gaussian, cut off where its reach leaves them."""
    from kornia.filters import gaussian_blur2d

    reach = min(round(3 * sigma), min(pictures.shape[-2:]) // 2 - 1)  # reflected borders must fit in the picture
    return gaussian_blur2d(pictures, (2 * reach + 1,) * 2, (sigma, sigma)) if reach > 0 else pictures


def laid(points: torch.Tensor, pose: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
    """Where `points` (..., 2), in pixels of a picture that has the thing in pose `on`, lie in one that has it in
    `pose`: (..., 2)."""
    u, v = (points - on[:2]).unbind(-1)
    scale, angle = (pose[2] - on[2]).exp(), pose[3] - on[3]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([pose[0] + cos * u - sin * v, pose[1] + sin * u + cos * v], -1)


def sampled(pictures: torch.Tensor, points: torch.Tensor, mode: str = "bilinear") -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, c, H, W) at points (n, h, w, 2), in pixels; and (n, h, w) bool: which of these are in the
    picture."""
    grid = points * 2 / torch.tensor([pictures.shape[3], pictures.shape[2]]).to(points) - 1
    out = F.grid_sample(pictures, grid, mode=mode, padding_mode="border", align_corners=False)
    return out, grid.abs().amax(-1) <= 1


def points_in(box: tuple[slice, slice]) -> torch.Tensor:
    """(h, w, 2): the centres, x and y, of the pixels in a box of rows and columns."""
    across, down = (torch.arange(side.start, side.stop) + 0.5 for side in (box[1], box[0]))
    return torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)


def all_points(mask: torch.Tensor) -> torch.Tensor:
    """(H, W, 2): the same of all pixels of masks (f, H, W)."""
    return points_in((slice(0, mask.shape[1]), slice(0, mask.shape[2])))


def box_of(mask: torch.Tensor) -> tuple[slice, slice]:
    """The rows and columns that hold what of a mask (H, W) is above 0; some of it must be."""
    rows, columns = (torch.nonzero(mask.amax(axis) > 0).flatten() for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


class Level:
    """A clip's blurred `pictures` (f, c, H, W), looked at where a `mask` (H, W) is in the frame that has the thing in
    pose `on`. A pixel counts half where it differs by `error`."""

    def __init__(self, pictures: torch.Tensor, mask: torch.Tensor, on: torch.Tensor, error: float):
        self.on, self.error, box = on.clone(), error, box_of(mask)
        self.here, self.points = mask[box], points_in(box).to(pictures)
        slopes = [(pictures.roll(-1, axis) - pictures.roll(1, axis)) / 2 for axis in (3, 2)]
        self.pictures = torch.cat([pictures, *slopes], 1)

    def shown(self, j: int, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frame `j`'s thing (c, h, w), its slopes across and down (2, c, h, w), and what of that is in the picture (h,
        w)."""
        both, seen = sampled(self.pictures[j : j + 1], laid(self.points, pose, self.on)[None])
        picture, *slopes = both[0].chunk(3)
        return picture, torch.stack(slopes), seen[0]

    def middle(self, frames: list[int], poses: torch.Tensor) -> torch.Tensor:
        """The thing as most of the `frames` show it: (c, h, w)."""
        return torch.stack([self.shown(j, poses[j])[0] for j in frames]).median(0).values

    def misfit(self, j: int, pose: torch.Tensor, top: torch.Tensor) -> float:
        """The part of the thing's pixels in frame `j` that differ from `top`, 0..1; 1 where few are in the picture."""
        picture, _, seen = self.shown(j, pose)
        weight = self.here * seen
        if weight.sum() < SEEN * self.here.sum():
            return 1.0
        off = ((picture - top) / self.error).square().sum(0)
        return float((weight * off / (1 + off)).sum() / weight.sum())

    def fitted(self, j: int, pose: torch.Tensor, top: torch.Tensor, turns: bool) -> torch.Tensor:
        """`pose` bettered, so that frame `j`'s thing lies on `top` (c, h, w); its angle too if it `turns`."""
        angle, free = pose[3], 4 if turns else 3
        leap = LEAP * torch.stack([self.on[2].exp(), self.on[2].exp(), *pose.new_ones(2)])
        for _ in range(ROUNDS):
            picture, (across, down), seen = self.shown(j, pose)
            off = picture - top
            weight = self.here * seen / (1 + (off / self.error).square().sum(0))
            u, v = (laid(self.points, pose, self.on) - pose[:2]).unbind(-1)
            slopes = torch.stack([across, down, across * u + down * v, down * u - across * v])
            normal = torch.einsum("pchw,qchw,hw->pq", slopes, slopes, weight)
            right = torch.einsum("pchw,chw,hw->p", slopes, off, weight)
            # What changes with size tells how much is seen: an angle that changes far less is not told.
            hold = HOLD * normal[2, 2]
            normal[3, 3] += hold
            right[3] += hold * (pose[3] - angle)
            normal = normal + torch.diag(0.01 * normal.diagonal() + 1e-6)
            step = torch.linalg.solve(normal[:free, :free], right[:free]).clamp(-leap[:free], leap[:free])
            pose = pose - F.pad(step, (0, 4 - free))
        return pose
