"""What an edit by instruction is asked to do: the instruction, how far to go with it and with the clip, what frames see
of one another, and how its mask is sought."""

from __future__ import annotations

from dataclasses import dataclass

from . import LiveError
from .frames import ALONE, FramePlan, GroupPlan
from .settings import check_settings, guidance_weight, part_of_steps, seed_of, setting


@dataclass(frozen=True)
class Instruction:
    """`text` is not read where frames have texts of their own (`instruct.Seen.texts`)."""

    text: str = setting(
        "",
        "What to change, said as to a person: 'make the ball blue', 'turn the cat into a fox', 'make it night'. Not"
        " what the clip shows.",
        prompt=True,
    )
    steps: int = setting(
        10,
        "DDIM steps. VIA has 10 to 20: more give detail, and more that went wrong.",
        unit="steps",
        whole=True,
        low=1,
        page=(1, 1000),
    )
    seed: int = seed_of("Draws the noise that every frame starts from. Another seed is another answer.")

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: "instruction" if name == "text" else name)

    def check(self) -> None:
        """LiveError unless it says something."""
        if not self.text.strip():
            raise LiveError(f"instruction: {self.text!r}; say what to change, such as 'make the ball blue'")


@dataclass(frozen=True)
class InstructMethod:
    """What frames see of one another, and how far to go from the picture alone to picture and instruction, and from
    nothing to the picture."""

    name: str
    frame_plan: FramePlan
    swap_until: float = part_of_steps(
        1.0,
        "Part of the steps in which frames read the key frames; VIA: 0.8 or more. Later each reads itself.",
    )
    guidance_scale: float = guidance_weight(7.5, "How strongly the edit follows the instruction.")
    image_guidance_scale: float = guidance_weight(
        1.5,
        "How much the edit keeps of the clip; 1 to 2.5 are usual. More where too much changes.",
        step=0.05,
    )

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))

    def frame_plans(self, steps: int) -> list[FramePlan]:
        """What frames see at each of so many steps."""
        swapped = round(self.swap_until * steps)
        return [self.frame_plan] * swapped + [ALONE] * (steps - swapped)


INSTRUCT_PIX2PIX = InstructMethod("instruct-pix2pix", ALONE)
# Four key frames in all steps and all guidance branches (VIA, appendices A and B).
GATHER_AND_SWAP = InstructMethod("gather-and-swap", GroupPlan())
INSTRUCT_METHODS = {method.name: method for method in (GATHER_AND_SWAP, INSTRUCT_PIX2PIX)}


@dataclass(frozen=True)
class Search:
    """How the places that an instruction would change are sought (`change_map`)."""

    threshold: float = setting(
        0.3,
        "Part of the clip's greatest difference above which the mask is white. Lower is larger.",
        unit="part of the clip's greatest difference",
        low=0.0,
        high=1.0,
    )
    noise_level: float = setting(
        0.6,
        "How far the clip is noised before the model looks at it.",
        unit="part of the noise schedule",
        low=0.0,
        high=1.0,
        advanced=True,
    )
    draws: int = setting(
        8,
        "How many noises the difference is averaged over. More: smoother, and slower.",
        unit="noises",
        whole=True,
        low=1,
        page=(1, 64),
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))
