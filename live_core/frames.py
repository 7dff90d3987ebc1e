"""What a frame sees of the others while the U-Net runs: whose keys and values it reads, what norms pool, temporal
attention.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import LiveError
from .settings import check_settings, setting

LATENT_PROMPT = "latent_prompt"
SLOTS = ("self", "first", "previous", "middle", "last", "all", LATENT_PROMPT)
RELATIVE = r"[+-]\d+"  # a slot too: "-2" is two frames back, "+1" the next
NORMS = ("frame", "clip", "clip and latent prompt")


@dataclass(frozen=True)
class FramePlan:
    """One setting for tuning, inversion and edit: a model learned, or noise found, under one plan does not fit another.

    Tune-A-Video is ``FramePlan(("first", "previous"))``, LIVE ``("latent_prompt", "first", "previous")``; `ALONE` is
    the 2-D model, frame by frame.
    """

    # Which frames give keys and values to frame i: names of `SLOTS`, or steps from i such as "-1". Beyond either end is
    # the frame at that end.
    slots: tuple[str, ...]
    # FateZero's least_sc_channel.
    min_width: float = setting(
        0.0,
        "Layers narrower than this part of the widest see only their own frame.",
        unit="part of the width of the widest layer",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    # Names, or beginnings of names, of blocks whose self-attention reads all frames, whatever the slots say
    # (vid2vid-zero).
    dense_blocks: tuple[str, ...] = ()
    # Tune-A-Video's 5-D tensors pool over the clip. A latent prompt that is a photo of another place washes out what
    # the clip's frames are to show (bench/APPENDIX.md); so "clip" gives it statistics of its own.
    norm: str = setting(
        "clip",
        "What group norm's statistics pool over. frame: each frame by itself, as in the picture model. clip: the clip's"
        " frames, as in Tune-A-Video. With the latent prompt: in an edit that may be a photo, and then it washes out"
        " the clip. In windows of a long clip it is always each frame.",
        choices=NORMS,
        advanced=True,
        later=True,
    )
    # It is nothing in a model that has learned none.
    temporal: bool = setting(
        True,
        "Whether temporal attention, of a tuned model, acts. Off with frame plan self and norm frame: the picture"
        " model, frame by frame.",
        advanced=True,
        later=True,
    )

    def __post_init__(self) -> None:
        unknown = [slot for slot in self.slots if slot not in SLOTS and not re.fullmatch(RELATIVE, slot)]
        if unknown or not self.slots:
            raise LiveError(
                f"frame plan: {', '.join(self.slots)!r}; each slot must be one of {', '.join(SLOTS)}, or a step such as"
                " -2 or +1"
            )
        check_settings(self, named=lambda name: "key frames" if name == "size" else name.replace("_", " "))

    def like(self, other: FramePlan) -> bool:
        """Whether both see the same: the order of slots does not count.

        >>> FramePlan(("first", "previous")).like(FramePlan(("previous", "first")))
        True
        """
        return replace(self, slots=tuple(sorted(self.slots))) == replace(other, slots=tuple(sorted(other.slots)))

    def __str__(self) -> str:
        more = [
            f"{name.replace('_', ' ')} {getattr(self, name)}"
            for name in ("min_width", "dense_blocks", "norm")
            if getattr(self, name)
        ]
        return ", ".join([*self.slots, *more, *([] if self.temporal else ["no temporal attention"])])

    def sources(self, frames: int, latent_prompt: bool, width: float = 1.0, block: str = "") -> list[list[int]]:
        """For each of the F frames the U-Net sees, the frames whose keys and values it reads in a layer of that
        `width`, 0..1, in `block`.

        With a latent prompt it is frame 0 and the clip follows; it reads itself and the clip's first frame, of which
        LIVE (Electronics 2024, section 3.2) says nothing. A plan that names the latent prompt where there is none
        simply reads the others.

        >>> plan = FramePlan(("latent_prompt", "first", "previous"))
        >>> plan.sources(3, latent_prompt=False)
        [[0, 0], [0, 0], [0, 1]]
        >>> plan.sources(3, latent_prompt=True)
        [[0, 1], [0, 1, 1], [0, 1, 1], [0, 1, 2]]
        """
        shift = int(latent_prompt)
        if width < self.min_width:
            return [[i] for i in range(shift + frames)]
        slots = [slot for slot in self.slots if slot != LATENT_PROMPT or latent_prompt]
        if block.startswith(self.dense_blocks):
            slots = [*(slot for slot in slots if slot == LATENT_PROMPT), "all"]
        if not slots:
            raise LiveError(f"frame plan: {', '.join(self.slots)!r} needs a latent prompt, and this stream has none")
        rows = [
            [
                j
                for slot in slots
                for j in ([0] if slot == LATENT_PROMPT else [shift + j for j in self._named(slot, i, frames)])
            ]
            for i in range(frames)
        ]
        return [[0, 1]] + rows if latent_prompt else rows

    def text_sources(self, frames: int, latent_prompt: bool) -> list[list[int]]:
        """For each of the F frames, those whose texts it reads where every frame has a text of its own.

        >>> ALONE.text_sources(3, latent_prompt=False), GroupPlan(size=2).text_sources(3, latent_prompt=False)
        ([[0], [1], [2]], [[0], [0], [0, 1]])
        """
        return [[i] for i in range(frames + latent_prompt)]

    def _named(self, slot: str, i: int, frames: int) -> list[int]:
        """Which of the frames `slot` is, seen from frame i."""
        return _frames(slot, i, frames)

    def reads(self, own: range, frames: int) -> set[int]:
        """Which frames of a clip those of `own` read besides themselves, in any layer. An untrained latent prompt is
        the clip's first frame (`inversion.latent_prompt_of`), so that one is read too.

        >>> sorted(FramePlan(("latent_prompt", "previous", "+2")).reads(range(8, 16), 240))
        [0, 7, 16, 17]
        """
        slots = ["first" if slot == LATENT_PROMPT else slot for slot in self.slots]
        slots += ["all"] if self.dense_blocks else []
        return {j for slot in slots for i in own for j in _frames(slot, i, frames)} - set(own)

    def riders(self, frames: int) -> tuple[int, ...]:
        """Which frames of a clip ride along before those that are edited, in every window of it.

        >>> ALONE.riders(9)
        ()
        """
        return ()

    def places(self, frames: int) -> Sequence[int]:
        """Where in the clip the frames are that the U-Net sees.

        >>> list(ALONE.places(3))
        [0, 1, 2]
        """
        return range(frames)

    def runs(self, frames: int, latent_prompt: bool) -> tuple[int, ...]:
        """How many successive frames of those the U-Net sees share group norm's statistics: ``(1, f)`` is the latent
        prompt, then the clip.

        >>> FramePlan(("first",)).runs(8, latent_prompt=True), ALONE.runs(3, latent_prompt=False)
        ((1, 8), (1, 1, 1))
        """
        if self.norm == "frame":
            return (1,) * (frames + latent_prompt)
        return (1, frames) if latent_prompt and self.norm == "clip" else (frames + latent_prompt,)


@dataclass(frozen=True)
class GroupPlan(FramePlan):
    """Gather and swap (VIA, section 4.2): key frames ride before the frames that are edited, `size` of them. Key frame
    i reads those before it and not itself, but for the first, which has none before; every other frame reads the group
    alone, or, with `own`, itself too. The same in self- and in cross-attention.

    Gathering key frame after key frame and all of them in one forward are the same: a layer's keys and values are made
    of its input, which is of the same forward.

    >>> GroupPlan(size=3).sources(5, latent_prompt=False)
    [[0], [0], [0, 1], [0, 1, 2], [0, 1, 2]]
    """

    slots: tuple[str, ...] = ("self",)  # not read
    norm: str = "frame"
    temporal: bool = False
    size: int = setting(
        4,
        "How many frames, evenly over the clip, every frame reads. More for long and lively clips.",
        unit="frames",
        whole=True,
        low=1,
        page=(1, 64),
    )
    own: bool = setting(
        False,
        "Every frame reads itself besides the key frames; in the paper it does not.",
        advanced=True,
    )

    def sources(self, frames: int, latent_prompt: bool, width: float = 1.0, block: str = "") -> list[list[int]]:
        group = list(range(self.size))
        gathered = [group[: max(i, 1)] for i in group]
        return gathered + [[*group, *([i] if self.own else [])] for i in range(self.size, frames)]

    def text_sources(self, frames: int, latent_prompt: bool) -> list[list[int]]:
        return self.sources(frames, latent_prompt)

    def riders(self, frames: int) -> tuple[int, ...]:
        """Evenly over the clip, its first and last frame among them; the first alone for a group of one.

        >>> GroupPlan(size=4).riders(10), GroupPlan(size=1).riders(10)
        ((0, 3, 6, 9), (0,))
        """
        if self.size > frames:
            raise LiveError(f"key frames: {self.size}, and the clip has {frames} frames; give {frames} or fewer")
        return tuple(round(i * (frames - 1) / max(self.size - 1, 1)) for i in range(self.size))


ALONE = FramePlan(("self",), norm="frame", temporal=False)


def _frames(slot: str, i: int, frames: int) -> list[int]:
    """Which of a clip's frames `slot` is, seen from frame i."""
    if slot == "all":
        return list(range(frames))
    if slot in ("first", "middle", "last"):
        return [{"first": 0, "middle": (frames - 1) // 2, "last": frames - 1}[slot]]
    step = {"self": 0, "previous": -1}.get(slot)
    return [min(max(i + (int(slot) if step is None else step), 0), frames - 1)]
