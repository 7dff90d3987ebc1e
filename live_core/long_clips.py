"""Edits by prompts of clips of any length, window by window, in the memory of one: each window with its riders is
inverted, edited and decoded like a short clip (`windows.windows_along`).

Windows know nothing of one another, so they may be done in any order, on any machine, again after a stop, to the same
bits. Riders are edited anew in each: held at every step to what they became in the window before, they brought the
frames no nearer to those of the whole clip (bench/APPENDIX.md), and cost that freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from . import LiveError
from .change import Edit
from .checks import check_whole
from .compositing import composite, soften
from .diffusion import Callback
from .editing import edit
from .inversion import invert
from .memory import one_run
from .methods import Method
from .notes import NotesOfParts
from .null_text import find_null_text
from .pretrained import LiveModel
from .refining import cover, follow_edges
from .windows import Window, in_window, windows_along

FramesAt = Callable[[Sequence[int]], torch.Tensor]  # frames of a clip, by their places in it: (n, ...)


@dataclass(frozen=True)
class Pasting:
    """How a window's edit is pasted over the clip's own pixels: what `soften`, `follow_edges` and `cover` are given."""

    dilation: int = 4
    blur: float = 3.0
    edge_radius: int = 0
    cover_radius: int = 0


@dataclass(frozen=True)
class LongEdit:
    """What is asked of a long clip that `prompt` describes: an edit by `method` in `steps` of DDIM, `window` frames at
    a time. `null_text`: up to so many optimisation steps at each step of a window's inversion, 0 for no null text.
    `pasting`: None for the edit as it is."""

    prompt: str
    change: Edit
    method: Method
    steps: int = 50
    window: int = 16
    null_text: int = 0
    pasting: Pasting | None = None

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 1)
        check_whole("window", self.window, 1)
        check_whole("null text", self.null_text, 0)

    @property
    def steps_of_a_window(self) -> int:
        """How many steps a callback is told of in each."""
        return (3 if self.null_text else 2) * self.steps

    def windows(self, frames: int) -> list[Window]:
        """Those of a clip of so many frames. LiveError where the method needs the whole clip at once."""
        method = self.method
        if method.segment_length is not None and self.window < frames:
            raise LiveError(
                f"window: {self.window} of {frames} frames, but {method.name!r} edits key frames of the whole clip"
                f" together; give {frames} or more, or choose another method"
            )
        neighbours = 0 if method.blend_threshold is None else method.mask_neighbours
        return windows_along(frames, self.window, [method.frame_plan, method.inverted_under], neighbours)

    def method_in(self, window: Window, frames: int) -> Method:
        """The method as it is within a window of a clip of so many frames."""
        method, apart = self.method, self.method.inversion_frame_plan
        return replace(
            method,
            frame_plan=in_window(method.frame_plan, window, frames),
            inversion_frame_plan=None if apart is None else in_window(apart, window, frames),
        )


@dataclass(frozen=True)
class EditedWindow:
    """A window's own n frames: `images` (n, H, W, 3), 0..1; `mask` (n, H, W), 0..1, in which they were pasted, or, as
    in `Edited`, could be; `looked_for` as there."""

    frames: range
    images: torch.Tensor
    mask: torch.Tensor
    looked_for: tuple[str, str]


def edit_long(
    model: LiveModel,
    images_at: FramesAt,
    frames: int,
    asked: LongEdit,
    masks_at: FramesAt | None = None,
    callback: Callback = lambda step, total, latents: None,
) -> Iterator[EditedWindow]:
    """The windows of a clip of so many frames, each as soon as it is edited, in order. `images_at` gives the clip's
    frames (n, H, W, 3), 0..1; `masks_at` where they may be edited (n, H, W), besides what local blend finds. Notes of
    some windows say of which frames they are, after the last.
    """
    windows, steps, notes = asked.windows(frames), asked.steps_of_a_window, NotesOfParts()
    for done, window in enumerate(windows):

        def told(step: int, _total: int, latents: torch.Tensor, done: int = done) -> None:
            callback(done * steps + step, len(windows) * steps, latents)

        with notes.of(window.name):
            masks = None if masks_at is None else masks_at(window.positions)
            edited = edit_window(model, images_at(window.positions), window, frames, asked, masks, told)
        yield edited
    notes.say()


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
    return EditedWindow(window.frames, made.cpu(), mask.cpu(), edited.looked_for)
