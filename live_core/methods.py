"""Methods are data: each a row of settings for the one edit loop in `editing.py`."""
from __future__ import annotations

from dataclasses import dataclass

from . import LiveError
from .attention import FramePlan

SELF_TARGETS = ("spatial", "temporal", "both")
WORD_EDITS = ("swap", "replace", "refine")


@dataclass(frozen=True)
class Method:
    """Everything that tells one method from another.

    `frame_plan`: slots of keys and values. `latent_prompt`: whether streams carry one; with `asymmetric_guidance` the
    unconditional stream's is the reference photo's latent, otherwise the trained one. `guidance_scale`: w of classifier-free
    guidance, 1 turns it off. `cross_ratio`, `self_ratio`: the part of the steps, from the noisiest, under word injection and
    under self-attention injection (`self_target`), the latter from `self_start` on. `word_edit`: which tokens take the
    source's attention, LIVE's chosen words ("swap") or prompt-to-prompt's "replace" and "refine". `blend_threshold`: local
    blend's, 0..1, None turns it off; `subtract_threshold`: that of the words it spares; `blend_start`: the part of the steps
    before it sets in.
    """
    name: str
    frame_plan: tuple[str, ...]
    latent_prompt: bool = False
    asymmetric_guidance: bool = False
    guidance_scale: float = 12.5
    cross_ratio: float = 0.0
    word_edit: str = "swap"
    self_ratio: float = 0.0
    self_start: float = 0.0
    self_target: str = "spatial"
    self_max_tokens: int = 1024
    blend_threshold: float | None = None
    subtract_threshold: float = 0.3
    blend_start: float = 0.0

    def __post_init__(self):
        FramePlan(self.frame_plan)
        for name in ("cross_ratio", "self_ratio", "self_start", "blend_start"):
            if not 0 <= getattr(self, name) <= 1:
                raise LiveError(f"{name}: {getattr(self, name)} is outside 0 to 1, a part of the steps")
        for name in ("blend_threshold", "subtract_threshold"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < 1:
                raise LiveError(f"{name}: {getattr(self, name)} is outside 0 to 1 (both excluded); the papers use 0.3")
        if self.self_target not in SELF_TARGETS:
            raise LiveError(f"self_target: {self.self_target!r}; choose {', '.join(SELF_TARGETS)}")
        if self.word_edit not in WORD_EDITS:
            raise LiveError(f"word_edit: {self.word_edit!r}; choose {', '.join(WORD_EDITS)}")

    def self_steps(self, steps: int) -> range:
        """Steps under self-attention injection: bounds times N, prompt-to-prompt's own count."""
        return range(int(self.self_start * steps), int(self.self_ratio * steps))

    def blend_steps(self, steps: int) -> range:
        """Steps after which local blend acts."""
        return range(int(self.blend_start * steps), steps)

    @property
    def needs_source(self) -> bool:
        return bool(self.cross_ratio or self.self_ratio or self.blend_threshold is not None)


# Papers 000 and 001, section 4; thresholds from prompt-to-prompt.
LIVE = Method("live", ("latent_prompt", "first", "previous"), latent_prompt=True, asymmetric_guidance=True, guidance_scale=12.5,
              cross_ratio=0.6, self_ratio=0.3, blend_threshold=0.3)
# Tune-A-Video from inverted noise, nothing injected: the baseline LIVE's papers compare with.
TAV_DDIM = Method("tav-ddim", ("first", "previous"), guidance_scale=12.5)

METHODS = {method.name: method for method in (LIVE, TAV_DDIM)}
