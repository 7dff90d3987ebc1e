"""Pictures of what attention did in an edit, from its `Records`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_frames
from .interrupts import heed
from .memory import each_frame
from .phrases import split_phrases
from .records import Records, Side, evenly

SIDES = ("edit", "source")


@dataclass(frozen=True)
class View:
    """Rows of pictures, one a frame, which are drawn when they are asked for: a clip's are large, and many rows of them
    larger.

    `labels`: one a row; `frames` (f, H, W, 3), 0..1, that they are laid over; `small` (r, f, c, h, w), 0..1, what they
    show, as coarse as it is; `paint`: a frame (H, W, 3) and what it shows (c, H, W) to a picture (H, W, 3); `smooth`:
    whether to interpolate between cells.
    """

    labels: tuple[str, ...]
    frames: torch.Tensor
    small: torch.Tensor
    paint: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    smooth: bool = True

    def cell(self, row: int, frame: int, size: tuple[int, int]) -> torch.Tensor:
        """(*size, 3): one picture."""
        return self._both(self.frames[frame], self.small[row, frame], size)[..., :3]

    def drawn(self, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(r, f, *size, 3) and (r, f, *size): all pictures, and the first channel of what they show."""
        shape = *self.small.shape[:2], *size
        pictures, maps = torch.empty(*shape, 3), torch.empty(shape)
        for row, small in enumerate(self.small):
            both = each_frame("Show Attention", lambda frame, shown: self._both(frame, shown, size), self.frames, small)
            pictures[row], maps[row] = both[..., :3], both[..., 3]
        return pictures, maps

    def size_within(self, most: int) -> tuple[int, int]:
        """(height, width) of the frames, or as much smaller, and even, as `drawn` needs for `most` pixels in all."""
        height, width = self.frames.shape[1:3]
        scale = (most / (self.small.shape[0] * self.small.shape[1] * height * width)) ** 0.5
        return (
            (height, width) if scale >= 1 else (max(2, int(height * scale / 2) * 2), max(2, int(width * scale / 2) * 2))
        )

    def _both(self, frame: torch.Tensor, small: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        frame = scaled(frame.cpu(), size)
        shown = (
            F.interpolate(small[None], size, mode="bilinear", align_corners=False)
            if self.smooth
            else F.interpolate(small[None], size)
        )
        return torch.cat([self.paint(frame, shown[0]), shown[0, 0, ..., None]], -1)


def scaled(picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W, 3) to (*size, 3)."""
    if tuple(picture.shape[:2]) == tuple(size):
        return picture.float()
    return F.interpolate(picture.permute(2, 0, 1)[None].float(), size, mode="bilinear", antialias=True)[0].permute(
        1, 2, 0
    )


def show_words(
    records: Records, frames: torch.Tensor, words: str = "", side: str = "edit", part: tuple[float, float] = (0, 1)
) -> View:
    """A row a word: its cross-attention laid over `frames` (f, H, W, 3), 0..1, mean of the steps in `part` (see
    `steps_of`).

    `words`: phrases of the side's prompt, separated by commas, empty for each of its words; tokens of one phrase are
    summed. A row's colours go from 0 to its own maximum, a part of all attention, which the label gives.
    """
    steps = _steps_of_side(records, side, part)
    heats = {
        f"{word}\n{_span(steps)}": word_heat(records, side, tokens, steps)
        for word, tokens in _words(records, side, words)
    }
    return _heat_view(records, frames, heats, [heat.max() for heat in heats.values()])


def show_steps(
    records: Records,
    frames: torch.Tensor,
    words: str = "",
    side: str = "edit",
    part: tuple[float, float] = (0, 1),
    rows: int = 5,
) -> View:
    """A row a step for each word: up to `rows` steps, evenly chosen from those in `part`. All rows of a word share one
    scale of colours.
    """
    steps = evenly(_steps_of_side(records, side, part), rows)
    heats: dict[str, torch.Tensor] = {}
    tops: list[torch.Tensor] = []
    for word, tokens in _words(records, side, words):
        own = [word_heat(records, side, tokens, [step]) for step in steps]
        heats |= {f"{word}\n{_span([step])}": heat for step, heat in zip(steps, own, strict=True)}
        tops += [torch.stack(own).max()] * len(own)
    return _heat_view(records, frames, heats, tops)


def show_masks(records: Records, frames: torch.Tensor, part: tuple[float, float] = (0, 1), rows: int = 5) -> View:
    """A row a step for each kind of mask the edit used: `frames` as they are inside, dark outside."""
    _check(records, frames)
    steps = set(steps_of(records, part))
    found = [
        (f"{kind}\n{_span([step])}", masks[step])
        for kind, masks in records.masks.items()
        for step in evenly(sorted(steps & set(masks)), rows)
    ]
    if not found:
        used = sorted({step + 1 for masks in records.masks.values() for step in masks})
        raise LiveError(
            f"which: 'masks', and no mask was used in steps {min(steps) + 1} to {max(steps) + 1}; "
            + (
                f"choose a part of the steps {used[0]} to {used[-1]}"
                if used
                else (
                    f"method {records.method!r} used none at all, so edit with a blend_threshold or"
                    " self_blend_threshold above 0, or with a mask"
                )
            )
        )
    maps = torch.stack([mask[:, None].float() for _, mask in found])
    return View(
        tuple(label for label, _ in found),
        frames,
        maps,
        lambda frame, mask: frame * (0.2 + 0.8 * mask[0, ..., None]),
        smooth=False,
    )


def show_self_attention(records: Records, frames: torch.Tensor, side: str = "edit") -> View:
    """One row: the first three principal components of self-attention as red, green and blue, each from its least to
    its greatest value in the clip. Places of one colour attend alike."""
    _check(records, frames)
    maps = _side(records, side).self_attention
    if maps is None:
        raise LiveError(
            f"which: 'self-attention' of side {side!r} was not computed, since "
            + (
                f"frames edited by {records.method!r} have that of their key frames; choose 'words'"
                if records.edit.self_attention is None
                else (
                    "the inversion kept the source's attention; choose side 'edit', or invert with attention"
                    ' "recompute"'
                )
            )
        )
    components = principal_components(maps)
    low, high = components.amin((0, 1)), components.amax((0, 1))
    colours = ((components - low) / (high - low).clamp_min(1e-12)).mT.unflatten(-1, records.map_size)
    return View(("self-attention",), frames, colours[None], lambda _frame, colours: colours.permute(1, 2, 0))


def principal_components(maps: torch.Tensor, count: int = 3) -> torch.Tensor:
    """(f, n, count): each place's row of `maps` (f, n, n) along the `count` directions in which the rows of its frame
    differ most.

    Keys move with the things in a clip, so each frame has its own directions; they are turned (orthogonal Procrustes)
    so that places come out as near as can be to where they were in the frame before, and things keep their colour. In
    the first frame the value of greatest size of each component is positive.
    """
    found: list[torch.Tensor] = []
    for frame in maps:
        heed()
        rows = frame.float() - frame.float().mean(0, keepdim=True)
        along = rows @ torch.linalg.svd(rows, full_matrices=False).Vh[:count].mT
        if found:
            u, _, vh = torch.linalg.svd(along.T @ found[-1])
            found.append(along @ u @ vh)
        else:
            found.append(along * along.gather(0, along.abs().argmax(0, keepdim=True)).sign())
    return torch.stack(found)


def word_heat(records: Records, side: str, tokens: list[int], steps: list[int]) -> torch.Tensor:
    """Attention (f, h, w) to `tokens`, summed, at the map resolution; mean of `steps`."""
    heed()
    own = _side(records, side)
    maps = own.words[[own.steps.index(step) for step in steps]]
    return maps[..., tokens].float().sum(-1).mean(0).unflatten(-1, records.map_size)


def steps_of(records: Records, part: tuple[float, float]) -> list[int]:
    """The steps that ran within `part`, from start to end, 0..1: one at least."""
    (start, end), n = part, records.steps
    if not 0 <= start <= end <= 1:
        raise LiveError(
            f"first, last: {start} to {end}; give a start and an end in order, parts of the steps from 0 to 1"
        )
    first = min(int(start * n), n - 1)
    last = max(int(end * n), first + 1)
    if last <= records.first:
        raise LiveError(
            f"first, last: {start} to {end} is skipped by this edit, which starts at {records.first / n:g}; give a"
            " later part"
        )
    return list(range(max(first, records.first), last))


def _steps_of_side(records: Records, side: str, part: tuple[float, float]) -> list[int]:
    """Those of `steps_of` at which that side ran."""
    steps, ran = steps_of(records, part), _side(records, side).steps
    if not set(steps) & set(ran):
        raise LiveError(
            f"first, last: {part[0]} to {part[1]} are steps at which nothing read the attention of {side!r}, so it was"
            f" not computed; choose a part of the steps {ran[0] + 1} to {ran[-1] + 1} of {records.steps}, or the edit"
        )
    return [step for step in steps if step in ran]


def overlay(frame: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """`heat` (1, H, W), 0..1, in colour over `frame` (H, W, 3), dim where it is 0: (H, W, 3)."""
    from matplotlib import colormaps

    colours = torch.from_numpy(colormaps["inferno"](heat[0].numpy())[..., :3]).float()
    return 0.45 * frame * (1 - heat[0, ..., None]) + colours * heat[0, ..., None]


def _heat_view(
    records: Records, frames: torch.Tensor, heats: dict[str, torch.Tensor], tops: list[torch.Tensor]
) -> View:
    _check(records, frames)
    maps = torch.stack([heat / top.clamp_min(1e-12) for heat, top in zip(heats.values(), tops, strict=True)])
    labels = tuple(f"{label}\n0 to {float(top):.2g}" for label, top in zip(heats, tops, strict=True))
    return View(labels, frames, maps[:, :, None], overlay)


def _words(records: Records, side: str, words: str) -> list[tuple[str, list[int]]]:
    prompt = _side(records, side).prompt
    if not prompt.words:
        raise LiveError(f"side: the prompt of {side!r} is empty, so it has no words to show; choose the other side")
    return [
        (phrase, prompt.tokens_of(phrase))
        for phrase in split_phrases(words) or dict.fromkeys(word.lower() for word in prompt.words)
    ]


def _side(records: Records, side: str) -> Side:
    found = {"edit": records.edit, "source": records.source}[side]
    if found is None:
        raise LiveError(
            f"side: {side!r} has no records, since method {records.method!r} as it was set does not run the source"
            " beside the edit; choose 'edit'"
        )
    return found


def _check(records: Records, frames: torch.Tensor) -> None:
    if len(frames) != records.frames:
        raise LiveError(
            f"images: {len(frames)} frames, and the edit has {records.frames}; give the clip's frames or the edited"
            " ones"
        )
    if records.size is not None and not _is_scaled(frames.shape[1:3], records.size):
        raise LiveError(
            f"images: {frames.shape[2]}x{frames.shape[1]} pixels, not of the shape of the edited clip's,"
            f" {records.size[1]}x{records.size[0]}; give the clip's frames or the edited ones, scaled if you like"
        )
    if frames.shape[-1] != 3:
        raise LiveError(
            f"images: {frames.shape[-1]} channels; expected 3 (RGB), so put pictures with transparency on a background"
            " first"
        )
    check_frames("images", frames)


def _is_scaled(size: Sequence[int], other: Sequence[int]) -> bool:
    """Whether one size is the other, scaled, to a pixel."""
    return any(abs(size[a] * other[b] / other[a] - size[b]) <= 1 for a, b in ((0, 1), (1, 0)))


def _span(steps: list[int]) -> str:
    return f"step {steps[0] + 1}" if len(steps) == 1 else f"steps {steps[0] + 1} to {steps[-1] + 1}"
