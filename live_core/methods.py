"""Methods are data: each a row of settings for the one edit loop in `editing.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import LiveError
from .checks import check_number, check_whole
from .frames import ALONE, FramePlan

SELF_TARGETS = ("spatial", "temporal", "both")
WORD_EDITS = ("swap", "replace", "refine")
SOURCES = ("reconstruction", "inversion")
MASKS = ("both", "source", "edit")
SEATS = ("trained", "reference")


@dataclass(frozen=True)
class Method:
    """Everything that tells one method from another.

    What a frame sees of the others: `frame_plan`, of the clip's tuning and inversion too; `latent_prompt`, whether
    streams carry one. Guidance: `guidance_scale`, w of classifier-free guidance by the words, 1 turns it off;
    `edit_latent_prompt` and `unconditional_latent_prompt`, what the conditional stream and the one that guidance starts
    from have in the latent prompt's seat, the "trained" one or the "reference" photo's latent (the paper's asymmetric
    guidance is trained and reference); `image_guidance_scale`, how far to go from the latter to the former, apart from
    the words, as InstructPix2Pix does: 1 is the former in every stream, None as far as the words (the paper), and any
    other value takes a third stream; with `decoupled_guidance` the edit's unconditional text stays "" where the
    inversion has null text for the source. `start`: the part of the steps, from the noisiest, that is skipped; the edit
    begins with the inversion's latents there. The source: `source` says where its attention and latents come from, its
    "reconstruction" beside the edit, or the "inversion" itself, step by step (FateZero). Injections, as parts of the
    steps from the noisiest: `cross_ratio` under word injection, `self_start` to `self_ratio` under self-attention
    injection into `self_target`. `word_edit`: which tokens take the source's attention, LIVE's chosen words ("swap") or
    prompt-to-prompt's "replace" and "refine"; in the first `place_ratio` of the steps (no longer than `cross_ratio`) a
    changed word looks where the words that it replaces do. `cross_max_tokens`, `self_max_tokens`: layers with more
    tokens at the model's native size (512x512, from which the papers' counts come) are left alone, at every size the
    same ones (`VideoUNet.level_within`); None means no limit. `self_blend_threshold`: where the source's word map is
    above this part of its maximum, queries keep the edit's self-attention (from the second step on, where the source is
    reconstructed); None injects everywhere. Local blend: `blend_threshold`, 0..1, None turns it off;
    `subtract_threshold`, that of the words it spares; from `blend_start` to `blend_end` of the steps. Its mask comes
    from the maps of `mask_from`, the "source", the "edit" or "both", grown by `mask_grow` cells and averaged over
    `mask_neighbours` frames on either side.
    """

    name: str
    frame_plan: FramePlan
    latent_prompt: bool = False
    edit_latent_prompt: str = "trained"
    unconditional_latent_prompt: str = "trained"
    decoupled_guidance: bool = False
    guidance_scale: float = 12.5
    image_guidance_scale: float | None = None
    start: float = 0.0
    source: str = "reconstruction"
    cross_ratio: float = 0.0
    cross_max_tokens: int | None = None
    word_edit: str = "swap"
    place_ratio: float = 0.0
    self_ratio: float = 0.0
    self_start: float = 0.0
    self_target: str = "spatial"
    self_max_tokens: int = 1024
    self_blend_threshold: float | None = None
    blend_threshold: float | None = None
    subtract_threshold: float = 0.3
    blend_start: float = 0.0
    blend_end: float = 1.0
    mask_from: str = "both"
    mask_grow: int = 1
    mask_neighbours: int = 0

    def __post_init__(self):
        for name in ("start", "cross_ratio", "place_ratio", "self_ratio", "self_start", "blend_start", "blend_end"):
            check_number(name, getattr(self, name), 0, 1)
        for name in ("guidance_scale", "image_guidance_scale"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0)
        for name in ("mask_grow", "mask_neighbours", "self_max_tokens", "cross_max_tokens"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 0)
        for start, end, acts in (("self_start", "self_ratio", self.self_ratio > 0), ("blend_start", "blend_end", True)):
            if acts and getattr(self, start) > getattr(self, end):
                raise LiveError(
                    f"{start}: {getattr(self, start)} comes after {end}, {getattr(self, end)}; give a start that is no"
                    " greater"
                )
        for name in ("blend_threshold", "subtract_threshold", "self_blend_threshold"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < 1:
                raise LiveError(f"{name}: {getattr(self, name)} is outside 0 to 1 (both excluded); the papers use 0.3")
        for name, choices in (
            ("self_target", SELF_TARGETS),
            ("word_edit", WORD_EDITS),
            ("source", SOURCES),
            ("mask_from", MASKS),
            ("edit_latent_prompt", SEATS),
            ("unconditional_latent_prompt", SEATS),
        ):
            if getattr(self, name) not in choices:
                raise LiveError(f"{name}: {getattr(self, name)!r}; choose {', '.join(choices)}")
        if self.self_ratio > 0 and self.self_target != "spatial" and not self.frame_plan.temporal:
            raise LiveError(
                f"self_target: {self.self_target!r}, but the method's frame plan leaves temporal attention out; choose"
                " 'spatial'"
            )

    def sees_as(self, other: Method) -> bool:
        """Whether an inversion for `other` serves this method: the same frames, latent prompt and source."""
        return (self.frame_plan, self.latent_prompt, self.source) == (
            other.frame_plan,
            other.latent_prompt,
            other.source,
        )

    def first_step(self, steps: int) -> int:
        return int(self.start * steps)

    def place_steps(self, steps: int) -> range:
        return range(int(self.place_ratio * steps))

    def self_steps(self, steps: int) -> range:
        """Steps under self-attention injection: bounds times N, prompt-to-prompt's own count."""
        return range(int(self.self_start * steps), int(self.self_ratio * steps))

    def blend_steps(self, steps: int) -> range:
        """Steps after which local blend acts. An end before the last step is itself left out, FateZero's own count."""
        return range(int(self.blend_start * steps), steps if self.blend_end == 1 else int(self.blend_end * steps) - 1)


# Papers 000 and 001, section 4; thresholds from prompt-to-prompt.
LIVE = Method(
    "live",
    FramePlan(("latent_prompt", "first", "previous")),
    latent_prompt=True,
    unconditional_latent_prompt="reference",
    guidance_scale=12.5,
    cross_ratio=0.6,
    self_ratio=0.3,
    blend_threshold=0.3,
)
# Tune-A-Video from inverted noise, nothing injected: the baseline LIVE's papers compare with.
TAV_DDIM = Method("tav-ddim", FramePlan(("first", "previous")), guidance_scale=12.5)
# Paper 003 and its published configurations: style, attribute, and shape (the last on a tuned model).
_FATEZERO: dict[str, Any] = {"guidance_scale": 7.5, "source": "inversion", "cross_max_tokens": 1024}
FATEZERO_STYLE = Method(
    "fatezero-style",
    FramePlan(("middle",), min_width=0.5),
    **_FATEZERO,
    word_edit="refine",
    cross_ratio=0.8,
    self_ratio=0.8,
)
FATEZERO_ATTRIBUTE = Method(
    "fatezero-attribute",
    FramePlan(("middle",), min_width=0.5),
    **_FATEZERO,
    word_edit="replace",
    cross_ratio=0.7,
    self_ratio=0.7,
    self_blend_threshold=0.3,
)
FATEZERO_SHAPE = Method(
    "fatezero-shape",
    FramePlan(("previous", "first"), min_width=0.5),
    **_FATEZERO,
    word_edit="replace",
    cross_ratio=0.5,
    self_ratio=0.5,
    self_blend_threshold=0.3,
    blend_threshold=0.3,
    blend_start=0.2,
    blend_end=0.8,
)
# Paper 002: inverted background latents outside a mask that the words' own attention gives. Only its abstract is known
# here. With nothing injected the edit's own maps wander over the picture, so the mask is the source words'. A quarter
# of the steps is skipped, as in blended latent diffusion's script (Avrahami et al. 2023).
BLENDED_LATENT = Method(
    "blended-latent",
    FramePlan(("first", "previous")),
    guidance_scale=7.5,
    start=0.25,
    source="inversion",
    blend_threshold=0.3,
    mask_from="source",
)
# Prompt-to-prompt frame by frame (Hertz et al. 2022; values of its notebooks); one picture is a clip of one frame.
PROMPT_TO_PROMPT = Method(
    "prompt-to-prompt",
    ALONE,
    guidance_scale=7.5,
    word_edit="refine",
    cross_ratio=0.8,
    self_ratio=0.4,
    self_max_tokens=256,
    blend_threshold=0.3,
    blend_start=0.2,
)
# Video-P2P (Liu et al. 2023): full with null text, fast without. Its self-attention injection acts on temporal
# attention.
VIDEO_P2P = Method(
    "video-p2p",
    FramePlan(("first",)),
    guidance_scale=7.5,
    decoupled_guidance=True,
    word_edit="refine",
    cross_ratio=0.2,
    self_ratio=0.5,
    self_target="temporal",
    blend_threshold=0.3,
    blend_start=0.2,
)
# vid2vid-zero (Wang et al. 2023): every frame sees every frame. Its own ratios are not known here; prompt-to-prompt's
# stand in.
VID2VID_ZERO = Method(
    "vid2vid-zero", FramePlan(("all",)), guidance_scale=7.5, word_edit="refine", cross_ratio=0.8, self_ratio=0.4
)
DDIM = Method("ddim", ALONE, guidance_scale=7.5)

METHODS = {
    method.name: method
    for method in (
        LIVE,
        TAV_DDIM,
        FATEZERO_STYLE,
        FATEZERO_ATTRIBUTE,
        FATEZERO_SHAPE,
        BLENDED_LATENT,
        PROMPT_TO_PROMPT,
        VIDEO_P2P,
        VID2VID_ZERO,
        DDIM,
    )
}
