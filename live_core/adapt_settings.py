"""What adaptation to an edit is asked to do: which edits are tried, and how the chosen one is learned."""

from __future__ import annotations

from dataclasses import dataclass

from . import LiveError
from .settings import check_settings, seed_of, setting


@dataclass(frozen=True)
class RootSettings:
    """Which edits are made to choose one from: of every frame, one under each seed."""

    candidates: int = setting(
        4,
        "How many seeds each frame is edited under, from seed on.",
        unit="seeds",
        whole=True,
        low=1,
        page=(1, 16),
    )
    frames: int = setting(
        2,
        "How many frames are tried, evenly over the clip. Choose one that shows the whole thing.",
        unit="frames",
        whole=True,
        low=1,
        page=(1, 16),
    )
    choice: int = setting(
        0,
        "Which edit is learned: its number on the sheet, or 0 for the best score.",
        whole=True,
        low=0,
        page=(0, 256),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        count = self.candidates * self.frames
        if self.choice > count:
            raise LiveError(
                f"choice: {self.choice}, and the sheet has {count} edits, {self.candidates} of each of {self.frames}"
                f" frames; give 1 to {count}, or 0 for the best score"
            )

    def of(self, clip: int) -> list[int]:
        """The frames of a clip of so many: each in the middle of an equal part. LiveError for more than it has.

        >>> RootSettings(frames=1).of(8), RootSettings(frames=3).of(8)
        ([4], [1, 4, 6])
        """
        if self.frames > clip:
            raise LiveError(f"frames: {self.frames}, and the clip has {clip}; give {clip} or fewer")
        return [int((i + 0.5) * clip / self.frames) for i in range(self.frames)]


@dataclass(frozen=True)
class AdaptSettings:
    """How an edit is learned. Every step sees `pairs` pairs, each under a transform of its own."""

    steps: int = setting(
        200,
        "Steps that learn the chosen edit. 0 learns nothing: only the sheet is made.",
        unit="steps",
        whole=True,
        low=0,
        page=(0, 100_000),
    )
    learning_rate: float = setting(
        3e-5,
        "Learning rate of these steps.",
        unit="learning rate",
        low=0,
        high=1,
        step=1e-6,
        round=1e-7,
        advanced=True,
    )
    pairs: int = setting(
        2,
        "How many pairs a step learns from, each moved, turned and cropped in its own way.",
        unit="pairs",
        whole=True,
        low=1,
        page=(1, 64),
        advanced=True,
    )
    seed: int = seed_of("Draws how pairs are moved.")

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))
