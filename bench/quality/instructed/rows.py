"""What is compared: VIA, VIA without each of its parts, and what was there before it, each a row of settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from demo.training.instructed import PICTURE, WORDS
from live_core.frames import ALONE, FramePlan, GroupPlan
from live_core.instruct_settings import InstructMethod
from live_core.methods import FATEZERO_ATTRIBUTE, FATEZERO_SHAPE, FATEZERO_STYLE, TOKENFLOW, Method

from ..text import GUIDANCE

ADAPTED = 100  # steps, half of what the workflow via_whole ships; the ablation has that and others
GROUP = GroupPlan()


@dataclass(frozen=True)
class Row:
    """An edit by instruction. `adapted`: steps that learn the chosen edit. `boundary`, `origin`: of local latent
    adaptation (`live_core.local.Local`), in the mask that the base finds by the instruction; no boundary, no mask.
    `says`: what it is, for the report."""

    says: str
    frame_plan: FramePlan = GROUP
    swap_until: float = 1.0
    adapted: int = 0
    boundary: str = ""
    origin: str = "inverted"

    @property
    def method(self) -> InstructMethod:
        return InstructMethod("row", self.frame_plan, self.swap_until, WORDS, PICTURE)


@dataclass(frozen=True)
class WordsRow:
    """A method that is told what the clip shows and what it is to show, by kind of case."""

    says: str
    methods: tuple[tuple[str, Method], ...]

    def method(self, kind: str) -> Method:
        return replace(dict(self.methods)[kind], guidance_scale=GUIDANCE)


@dataclass(frozen=True)
class Steadied:
    """The frames of the row `of`, which agree along the thing's track with those up to about `reach` frames away
    (`live_core.steadying`), pasted over the clip's in the mask that the base finds by the instruction."""

    says: str
    of: str
    reach: float = 16.0
    dilation: int = 2
    blur: float = 1.5


VIA = Row("all three parts", adapted=ADAPTED, boundary="reversed")
SWAP = Row("gather-and-swap alone")
ATTENTION = {
    "per-frame": Row("InstructPix2Pix, each frame by itself", ALONE),
    "swap": SWAP,
    "no-adaptation": replace(VIA, says="VIA without test-time adaptation", adapted=0),
}
OTHERS = {
    "first-frame": Row("every frame reads the first", replace(ALONE, slots=("first",))),
    "previous-frame": Row("every frame reads the one before", replace(ALONE, slots=("previous",))),
    "swap-own": replace(
        SWAP, says="gather-and-swap alone, every frame reads itself too", frame_plan=GroupPlan(own=True)
    ),
}
PARTS = {
    "via": VIA,
    "no-swap": replace(VIA, says="VIA without gather-and-swap", frame_plan=ALONE),
    "no-local": replace(VIA, says="VIA without local latent adaptation", boundary=""),
}
STEADIED = {
    "via-steady": Steadied("VIA, then frames that agree in pixels (Composite, steady_reach)", "via"),
    "per-frame-steady": Steadied("InstructPix2Pix frame by frame, then the same", "per-frame"),
}
_SHAPES = ("object", "any-object")
_ATTRIBUTES = ("colour", "any-colour", "removal")
WORDS_ROWS = {
    "fatezero": WordsRow(
        "FateZero, told what both clips show; nothing tuned",
        (
            *((kind, FATEZERO_SHAPE) for kind in _SHAPES),
            *((kind, FATEZERO_ATTRIBUTE) for kind in _ATTRIBUTES),
            ("scene", FATEZERO_STYLE),
        ),
    ),
    # Four key frames, as VIA has; in segments of eight frames the clip would have one.
    "tokenflow": WordsRow(
        "TokenFlow, told the same, four key frames",
        tuple((kind, replace(TOKENFLOW, segment_length=2)) for kind in (*_SHAPES, *_ATTRIBUTES, "scene")),
    ),
}
GROUPS = {
    f"group-{size}": replace(SWAP, says=f"{size} key frames", frame_plan=GroupPlan(size=size)) for size in (1, 2, 8)
}
UNTIL = {
    f"until-{part:g}": replace(SWAP, says=f"swapped in {part:.0%} of the steps", swap_until=part) for part in (0.5, 0.8)
}
_LOCAL = ATTENTION["no-adaptation"]
RAMPS = {
    "rising": replace(_LOCAL, says="the ramp as the paper's text has it", boundary="rising"),
    "no-ramp": replace(_LOCAL, says="the mask at every step", boundary="none"),
    "noised": replace(_LOCAL, says="the clip noised, not inverted", origin="noised"),
}
LEARNED = {f"adapted-{steps}": replace(VIA, says=f"VIA, {steps} steps", adapted=steps) for steps in (50, 200, 400)}
ROWS: dict[str, Row] = {**ATTENTION, **PARTS, **OTHERS, **GROUPS, **UNTIL, **RAMPS, **LEARNED}
