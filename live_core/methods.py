"""Methods are data: each a row of settings for the one edit loop in `editing.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import LiveError
from .checks import check_number, check_whole
from .frames import ALONE, FramePlan

SELF_TARGETS = ("spatial", "temporal", "both")
WORD_EDITS = ("swap", "replace", "refine")
SOURCES = ("reconstruction", "inversion", "path")
MASKS = ("both", "source", "edit")
SEATS = ("trained", "reference")
INVERSION_PROMPTS = ("clip", "empty")


@dataclass(frozen=True)
class Method:
    """Everything that tells one method from another. Ratios and starts are parts of the steps, 0..1, from the noisiest
    on.
    """

    name: str
    # What a frame sees of the others: in the edit, in tuning and, unless `inversion_frame_plan` says otherwise, in
    # inversion.
    frame_plan: FramePlan
    # Whether streams carry a latent prompt.
    latent_prompt: bool = False

    # What the clip is inverted under, and null text found: the frame plan (None: the edit's), and the "clip"'s prompt
    # or the "empty" one. Another than the edit's needs a source that is a reconstruction.
    inversion_frame_plan: FramePlan | None = None
    inversion_prompt: str = "clip"

    # What is in the latent prompt's seat, the "trained" one or the "reference" photo's latent: of the edit's
    # conditional stream, and of the stream that guidance starts from. Trained and reference are LIVE's asymmetric
    # guidance (Electronics 2024, section 3.3, Inference).
    edit_latent_prompt: str = "trained"
    unconditional_latent_prompt: str = "trained"
    # w of classifier-free guidance by the words, 0 or more; 1 turns it off.
    guidance_scale: float = 12.5
    # How far to go from `unconditional_latent_prompt` to `edit_latent_prompt`, apart from the words, as InstructPix2Pix
    # does, 0 or more: 1 is the latter in every stream, None as far as the words (LIVE), and any other value takes a
    # third stream.
    image_guidance_scale: float | None = None
    # Where the inversion has null text for the source, the edit's unconditional text stays "" (Video-P2P).
    decoupled_guidance: bool = False

    # The part of the steps that is skipped; the edit begins with the inversion's latents there.
    start: float = 0.0
    # Where the source's attention and latents come from: its "reconstruction" beside the edit; the "inversion" itself,
    # step by step, as it saw the latents (FateZero); or, beside the edit too, its "path": at each step the latents that
    # the inversion came to (Plug-and-Play, TokenFlow).
    source: str = "reconstruction"

    # Word injection: from and to when, and which tokens take the source's attention: LIVE's chosen words ("swap"), or
    # prompt-to-prompt's "replace" and "refine".
    cross_start: float = 0.0
    cross_ratio: float = 0.0
    word_edit: str = "swap"
    # In the first `place_ratio` of the steps, no longer than `cross_ratio`, a changed word looks where the words that
    # it replaces do.
    place_ratio: float = 0.0
    # Layers with more tokens at the model's native size are left alone, at every size the same ones
    # (`VideoUNet.level_within`); None: no limit. The papers count at 512x512.
    cross_max_tokens: int | None = None

    # Self-attention injection: from and to when, and into which self-attention.
    self_start: float = 0.0
    self_ratio: float = 0.0
    self_target: str = "spatial"
    self_max_tokens: int | None = 1024
    # Where the source's word map is above this part of its maximum, queries keep the edit's self-attention (from the
    # second step on, where the source is reconstructed); None injects everywhere.
    self_blend_threshold: float | None = None

    # TokenFlow: how many frames a segment has, 1 or more, of which one, drawn anew at each step by the seed, is a key
    # frame; None: there are no key frames. For how long the source's features are injected, beside its self-attention.
    segment_length: int | None = None
    key_frame_seed: int = 1
    feature_ratio: float = 0.0

    # Local blend: the part of a word map's maximum above which the edit shows, 0..1, None turns it off; that of the
    # words it spares; from and to when; whose maps, of the "source", the "edit" or "both", grown by so many cells and
    # averaged over so many frames on either side.
    blend_threshold: float | None = None
    subtract_threshold: float = 0.3
    blend_start: float = 0.0
    blend_end: float = 1.0
    mask_from: str = "both"
    mask_grow: int = 1
    mask_neighbours: int = 0

    def __post_init__(self):
        for name in (
            "start",
            "cross_start",
            "cross_ratio",
            "place_ratio",
            "self_start",
            "self_ratio",
            "feature_ratio",
            "blend_start",
            "blend_end",
        ):
            check_number(name, getattr(self, name), 0, 1)
        for name in ("guidance_scale", "image_guidance_scale"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0)
        for name in ("mask_grow", "mask_neighbours", "self_max_tokens", "cross_max_tokens"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 0)
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
            ("inversion_prompt", INVERSION_PROMPTS),
        ):
            if getattr(self, name) not in choices:
                raise LiveError(f"{name}: {getattr(self, name)!r}; choose {', '.join(choices)}")
        self._check_together()

    def _check_together(self) -> None:
        """LiveError for settings that contradict each other. A window whose ratio is 0 is off, whatever its start."""
        windows = (
            ("cross_start", "cross_ratio", self.cross_ratio > 0),
            ("self_start", "self_ratio", self.self_ratio > 0),
            ("blend_start", "blend_end", True),
        )
        for start, end, acts in windows:
            if acts and getattr(self, start) > getattr(self, end):
                raise LiveError(
                    f"{start}: {getattr(self, start)} comes after {end}, {getattr(self, end)}; give a start that is no"
                    " greater"
                )
        if self.self_ratio > 0 and self.self_target != "spatial" and not self.frame_plan.temporal:
            raise LiveError(
                f"self_target: {self.self_target!r}, but the method's frame plan leaves temporal attention out; choose"
                " 'spatial'"
            )
        if self.source == "inversion" and (self.inverted_under != self.frame_plan or self.inversion_prompt != "clip"):
            raise LiveError(
                f"source: {self.source!r}, but the clip would be inverted under other frames or another prompt than the"
                " edit's source has; choose 'reconstruction', or invert under the edit's frames and the clip's prompt"
            )
        self._check_segments()

    def _check_segments(self) -> None:
        """LiveError for what does not go with TokenFlow's key frames, which are edited apart from the other frames."""
        if self.segment_length is None:
            if self.feature_ratio > 0:
                raise LiveError(f"feature_ratio: {self.feature_ratio}, but there are no segments; give 0")
            return
        check_whole("segment_length", self.segment_length, 1)
        check_whole("key_frame_seed", self.key_frame_seed, 0, 2**63 - 1)
        together = self.frame_plan, self.latent_prompt, self.source, self.self_target, self.self_blend_threshold
        if together != (ALONE, False, "path", "spatial", None):
            raise LiveError(
                f"segment_length: {self.segment_length}, but key frames are edited apart from the others; choose the"
                " picture model's frame plan without a latent prompt, source 'path', self_target 'spatial' and no"
                " self_blend_threshold"
            )

    @property
    def inverted_under(self) -> FramePlan:
        return self.inversion_frame_plan or self.frame_plan

    @property
    def inverted_for(self) -> tuple:
        """What an inversion depends on of the method it is for."""
        return self.frame_plan, self.inverted_under, self.inversion_prompt, self.latent_prompt, self.source

    def sees_as(self, other: Method) -> bool:
        """Whether an inversion for `other` serves this method."""
        return self.inverted_for == other.inverted_for

    def first_step(self, steps: int) -> int:
        return int(self.start * steps)

    def place_steps(self, steps: int) -> range:
        return range(int(self.place_ratio * steps))

    def self_steps(self, steps: int) -> range:
        """Steps under self-attention injection: bounds times N, prompt-to-prompt's own count."""
        return range(int(self.self_start * steps), int(self.self_ratio * steps))

    def feature_steps(self, steps: int) -> range:
        return range(int(self.feature_ratio * steps))

    def blend_steps(self, steps: int) -> range:
        """Steps after which local blend acts. An end before the last step is itself left out, FateZero's own count."""
        return range(int(self.blend_start * steps), steps if self.blend_end == 1 else int(self.blend_end * steps) - 1)


# LIVE (Electronics 2024, sections 3.3, 3.4 and 4). Where it contradicts itself or its preprint ("Image-driven video
# editing with latent diffusion models"), or says nothing: eq. 6 has the learned word's attention M* in the early steps
# and the source's M later, while the text and prompt-to-prompt, which it follows, inject the source's early, as here;
# "latent prompts are given noise" (3.2) is read with the preprint as the video's latents, the latent prompt itself
# stays clean; the clip is inverted under its own prompt with the trained latent prompt; the threshold of local blend is
# prompt-to-prompt's; group norm is Tune-A-Video's, over the clip's frames without the latent prompt.
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
# Tune-A-Video (Wu et al. 2023) from noise inverted under the empty prompt, as its training script does, nothing
# injected: the baseline that LIVE compares with.
TAV_DDIM = Method("tav-ddim", FramePlan(("first", "previous")), inversion_prompt="empty", guidance_scale=12.5)
# FateZero (Qi et al. 2023). Its nine published configurations for attributes and, but for one, seven for styles read
# the middle frame, in layers of 640 (some 1280) of 1280 channels and more; self-attention comes from the inversion
# everywhere (blend_th 2), cross- and self-attention mostly for 0.5 to 0.9 of the steps, attributes by "replace" or
# "refine". A row has one of these settings; words are made stronger there (10 for a style's).
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
)
# Shapes, on a model tuned to the clip: the published "jeep to Porsche". Every layer reads the previous and the first
# frame, and latents are not blended; where a graph blends them (blend_threshold), it is from step 10 to 40 of 50, as
# FateZero's one configuration that does.
FATEZERO_SHAPE = Method(
    "fatezero-shape",
    FramePlan(("previous", "first")),
    **_FATEZERO,
    word_edit="replace",
    cross_ratio=0.5,
    self_ratio=0.5,
    self_blend_threshold=0.3,
    blend_start=0.2,
    blend_end=0.8,
)
# "Blended Latent Diffusion under Attention Control for Real-World Video Editing" (Liu, Wu and Xie): inverted background
# latents outside a mask that the words' own attention gives. Only its abstract is known here. With nothing injected the
# edit's own maps wander over the picture, so the mask is the source words'. A quarter of the steps is skipped, as in
# blended latent diffusion's script (Avrahami et al. 2023).
BLENDED_LATENT = Method(
    "blended-latent",
    FramePlan(("first", "previous")),
    guidance_scale=7.5,
    start=0.25,
    source="inversion",
    blend_threshold=0.3,
    mask_from="source",
)
# Prompt-to-prompt frame by frame (Hertz et al. 2022); one picture is a clip of one frame. All values are those of its
# Stable Diffusion notebook; that of null-text inversion injects self-attention up to 32x32 tokens and blends from 0.2
# of the steps on.
PROMPT_TO_PROMPT = Method(
    "prompt-to-prompt",
    ALONE,
    guidance_scale=7.5,
    word_edit="refine",
    cross_ratio=0.8,
    self_ratio=0.4,
    self_max_tokens=256,
    blend_threshold=0.3,
)
# Video-P2P (Liu et al. 2023), on a tuned model: full with null text, fast without. Its self-attention injection acts on
# temporal attention: its code meets attention layers by their class, and spatial ones are of another.
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
# vid2vid-zero (Wang et al. 2023): every frame reads every frame in three layers, the first and the previous one
# elsewhere. The clip is inverted under the empty prompt, and its null text found in one inner step, by attention frame
# by frame. Ratios of its script for "refine"; for "replace" it has 0.8 of cross-attention. Differs here: null text acts
# in all steps, as in prompt-to-prompt, while its configurations leave it out of the first half; and self-attention is
# injected, as its script asks, while its code, which looks for another class of layer, never does.
VID2VID_ZERO = Method(
    "vid2vid-zero",
    FramePlan(
        ("first", "previous"), dense_blocks=("down_blocks.0.attentions.0", "mid_block", "up_blocks.1.attentions.0")
    ),
    inversion_frame_plan=FramePlan(("self",)),
    inversion_prompt="empty",
    guidance_scale=7.5,
    word_edit="refine",
    cross_ratio=0.4,
    self_ratio=0.4,
)
# TokenFlow (Geyer et al. 2024), by Plug-and-Play: values of its configuration; the clip is inverted under its prompt,
# which it leaves to the user. Differs here: frames after the last whole segment, which its code leaves out, make a
# shorter one; the clip is inverted by DDIM in as many steps as the edit has, where its code also has other ways.
TOKENFLOW = Method(
    "tokenflow",
    ALONE,
    guidance_scale=7.5,
    source="path",
    self_ratio=0.5,
    self_max_tokens=None,
    segment_length=8,
    feature_ratio=0.8,
)
# Stable Diffusion frame by frame from inverted noise, nothing injected: no published method, what all others add to.
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
        TOKENFLOW,
        DDIM,
    )
}
