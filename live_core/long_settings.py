"""What is asked of an edit by prompts of a clip of any length, and how each window of it is pasted over the clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import LiveError
from .frames import FramePlan
from .method import Method
from .notes import note
from .settings import check_settings, setting
from .windows import Window, in_window, windows_along

if TYPE_CHECKING:
    from .change import Edit

# Frames of other windows that those at its border agree with. A fourth would count a seventh of the frame's own
# (`agreement.REACH`); fewer than two let the changed thing look another from window to window (bench/APPENDIX.md).
BESIDE, ENOUGH_BESIDE = 3, 2


@dataclass(frozen=True)
class Pasting:
    """How an edit is pasted over the clip's own pixels: what `soften`, `follow_edges` and `cover` are given."""

    dilation: int = setting(
        4,
        "Pixels by which the mask grows on every side.",
        unit="pixels",
        whole=True,
        low=0,
        page=(0, 512),
    )
    blur: float = setting(
        6.0,
        "Sigma of the Gaussian blur of the mask's edge, in pixels.",
        unit="pixels",
        low=0.0,
        page=(0.0, 200.0),
        step=0.1,
    )
    edge_radius: int = setting(
        0,
        "Before it grows, the mask's border moves to the edges of what changed, old thing's and new thing's, if they"
        " are within so many pixels. As far as a cell of the mask's map: 8 for the demo model, 32 for Stable Diffusion"
        " at 512x512. 0: the mask as it is.",
        unit="pixels",
        whole=True,
        low=0,
        page=(0, 512),
        advanced=True,
    )
    cover_radius: int = setting(
        0,
        "Then it takes in what hangs together with it and changed strongly, up to so many pixels on: the tips of the"
        " old thing, or of the new one. 16 for the demo model, 64 for Stable Diffusion at 512x512. 0: nothing more.",
        unit="pixels",
        whole=True,
        low=0,
        page=(0, 512),
        advanced=True,
        later=True,
    )

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))


@dataclass(frozen=True)
class LongEdit:
    """What is asked of a long clip that `prompt` describes: an edit by `method`, window by window. `pasting`: None for
    the edit as it is."""

    prompt: str
    change: Edit
    method: Method
    steps: int = setting(
        50,
        "DDIM steps of each window's inversion, and of its edit.",
        unit="steps",
        whole=True,
        low=1,
        page=(1, 1000),
    )
    window: int = setting(
        16,
        "So many frames are edited at a time, besides those that they read of others: the clip's first and the one"
        " before, or whichever the method has. Memory is that of one window. As many as the clip has: the same as"
        " without windows.",
        unit="frames",
        whole=True,
        low=1,
        page=(1, 4096),
    )
    null_text: int = setting(
        0,
        "Null-text inversion of each window, with at most so many optimisation steps at each step: keeps more of the"
        " clip, and takes far longer. 0: none.",
        unit="steps",
        whole=True,
        low=0,
        page=(0, 500),
        advanced=True,
    )
    pasting: Pasting | None = None

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))

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
        if method.agree_ratio and self.window < frames and self.agreed < ENOUGH_BESIDE:
            note(
                f"window: {self.window}, so frames have {self.agreed or 'none'} of another window to agree with, and"
                f" the changed thing may look another from window to window; give {2 * BESIDE + 2} or more"
            )
        return windows_along(frames, self.window, self.plans, self.neighbours)

    @property
    def plans(self) -> list[FramePlan]:
        """What the clip's frames see in the edit, and where it is inverted."""
        return [self.method.frame_plan, self.method.inverted_under]

    @property
    def neighbours(self) -> int:
        """How many frames on either side of a window ride along, besides those that it reads: those that its masks are
        averaged over, and those that its frames agree with."""
        averaged = 0 if self.method.blend_threshold is None else self.method.mask_neighbours
        return max(averaged, self.agreed)

    @property
    def agreed(self) -> int:
        """How many on either side its frames agree with: as many as there is room for besides those that they read."""
        own = range(self.window, 2 * self.window)
        read = {j for plan in self.plans for j in plan.reads(own, 3 * self.window)}
        return max(0, min(BESIDE, (self.window - len(read)) // 2)) if self.method.agree_ratio else 0

    def method_in(self, window: Window, frames: int) -> Method:
        """The method as it is within a window of a clip of so many frames."""
        method, apart = self.method, self.method.inversion_frame_plan
        return replace(
            method,
            frame_plan=in_window(method.frame_plan, window, frames),
            inversion_frame_plan=None if apart is None else in_window(apart, window, frames),
        )
