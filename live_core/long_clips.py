"""Edits by prompts of clips of any length, window by window, in the memory of one: each window with its riders is
inverted, edited and decoded like a short clip (`windows.windows_along`).

Windows know nothing of one another, so they may be done in any order, on any machine, again after a stop, to the same
bits. Riders are edited anew in each: held at every step to what they became in the window before, they brought the
frames no nearer to those of the whole clip (bench/APPENDIX.md), and cost that freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch

from .change import asked_of
from .compositing import composite, soften
from .diffusion import Callback
from .editing import edit, words_to_find
from .engine import Engine, Here
from .inversion import invert
from .long_settings import LongEdit
from .memory import one_run
from .notes import NotesOfParts
from .null_text import find_null_text
from .pretrained import LiveModel
from .refining import cover, follow_edges
from .windows import Window

FramesAt = Callable[[Sequence[int]], torch.Tensor]  # frames of a clip, by their places in it: (n, ...)


@dataclass(frozen=True)
class EditedWindow:
    """A window's own n frames: `images` (n, H, W, 3), 0..1; `mask` (n, H, W), 0..1, in which they were pasted, or, as
    in `Edited`, could be."""

    frames: range
    images: torch.Tensor
    mask: torch.Tensor


def looked_for(model: LiveModel, asked: LongEdit, masked: bool = False) -> tuple[str, str]:
    """What `Edited.looked_for` will be, `masked` where masks are given. LiveError for prompts and words that cannot be
    read, before any window is edited."""
    read = asked_of(model, asked.prompt, asked.change, model.tuning.concepts if model.tuning else ())
    source, edit = words_to_find(read, asked.method, masked, asked.steps)
    return read.source.phrases(source), read.edit.phrases(edit)


def edit_long(
    model: LiveModel,
    images_at: FramesAt,
    frames: int,
    asked: LongEdit,
    masks_at: FramesAt | None = None,
    callback: Callback = lambda step, total, latents: None,
    engine: Engine | None = None,
) -> Iterator[EditedWindow]:
    """The windows of a clip of so many frames, each as soon as it is edited, in order. `images_at` gives the clip's
    frames (n, H, W, 3), 0..1; `masks_at` where they may be edited (n, H, W), besides what local blend finds. `engine`:
    who edits the windows. Notes of some windows say of which frames they are, after the last.
    """
    windows, steps, notes = asked.windows(frames), asked.steps_of_a_window, NotesOfParts()

    def shown(done: float, latents: torch.Tensor) -> None:
        callback(round(done * steps), len(windows) * steps, latents)

    tasks = (
        (window, images_at(window.positions), None if masks_at is None else masks_at(window.positions))
        for window in windows
    )
    work = partial(_with_its_mask, frames=frames, asked=asked)
    with closing((engine or Here()).map(work, model, tasks, shown)) as results:
        names = [window.name for window in windows]
        for window, edited in zip(windows, notes.over(names, results), strict=True):
            yield EditedWindow(window.frames, edited[..., :3], edited[..., 3])
    notes.say()


def _with_its_mask(
    model: LiveModel,
    task: tuple[Window, torch.Tensor, torch.Tensor | None],
    callback: Callback,
    *,
    frames: int,
    asked: LongEdit,
) -> torch.Tensor:
    """(n, H, W, 4): the images of a window, and as a fourth channel their mask."""
    window, images, masks = task
    edited = edit_window(model, images, window, frames, asked, masks, callback)
    return torch.cat([edited.images, edited.mask[..., None]], -1)


@one_run()
@torch.no_grad()
def edit_window(
    model: LiveModel,
    images: torch.Tensor,
    window: Window,
    frames: int,
    asked: LongEdit,
    masks: torch.Tensor | None = None,
    callback: Callback = lambda step, total, latents: None,
) -> EditedWindow:
    """One window of a clip of so many frames: `images` (F, H, W, 3) and `masks` (F, H, W) are those of its
    `positions`. The callback's steps are those of inversion, null text and edit together; its latents are the window's
    own frames'."""
    method, own = asked.method_in(window, frames), window.own
    total = asked.steps_of_a_window

    def told_after(before: int) -> Callback:
        return lambda step, _total, latents: callback(before + step, total, latents[own])

    clip = model.encode_frames(images)
    inversion = invert(model, clip, asked.prompt, method, asked.steps, callback=told_after(0))
    if asked.null_text:
        guidance = method.guidance_scale
        inversion = find_null_text(model, inversion, guidance, asked.null_text, told_after(asked.steps))
    edited = edit(model, inversion, asked.change, method, told_after(total - asked.steps), masks)
    made, mask = model.decode_frames(edited.latents[own]), edited.mask[own]
    if asked.pasting is not None:
        clip, pasting = images[own], asked.pasting
        mask = cover(follow_edges(mask, clip, made, pasting.edge_radius), clip, made, pasting.cover_radius)
        mask = soften(mask, pasting.dilation, pasting.blur)
        made = composite(clip, made, mask)
    return EditedWindow(window.frames, made.cpu(), mask.cpu())
