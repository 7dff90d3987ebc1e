"""What tells one method from another: its settings, said once, with their ranges and their help."""

from __future__ import annotations

from dataclasses import dataclass

from . import LiveError
from .frames import ALONE, FramePlan
from .settings import cells, check_settings, guidance_weight, part_of_maximum, part_of_steps, seed, setting, tokens

SELF_TARGETS = ("spatial", "temporal", "both")
WORD_EDITS = ("swap", "replace", "refine")
SOURCES = ("reconstruction", "inversion", "path")
MASKS = ("both", "source", "edit")
SEATS = ("trained", "reference")
INVERSION_PROMPTS = ("clip", "empty")


_NATIVE = (
    "at the model's native size (Stable Diffusion: 4096, 1024, 256 and 64 at 512x512; the same layers at every size)"
)


@dataclass(frozen=True)
class Method:
    """Everything that tells one method from another. A setting's range, unit and help are said with it; comments say
    what the help does not.
    """

    name: str
    # What a frame sees of the others: in the edit, in tuning and, unless `inversion_frame_plan` says otherwise, in
    # inversion.
    frame_plan: FramePlan
    # Whether streams carry a latent prompt.
    latent_prompt: bool = False

    # What the clip is inverted under, and null text found; None: the edit's frame plan. Another than the edit's needs a
    # source that is a reconstruction.
    inversion_frame_plan: FramePlan | None = None
    inversion_prompt: str = setting(
        "clip",
        "What the clip is inverted under: its own prompt, or the empty one, as in Tune-A-Video.",
        choices=INVERSION_PROMPTS,
        advanced=True,
        later=True,
    )

    # What is in the latent prompt's seat of the edit's conditional stream, and of the stream that guidance starts from.
    # Trained and reference are LIVE's asymmetric guidance (Electronics 2024, section 3.3, Inference).
    edit_latent_prompt: str = setting(
        "trained",
        (
            "The edit's own latent prompt: the one Tune Video trained, or the (first) photo's latent. "
            "The paper has the trained one; the bench found that the photo's shows more of the photo."
        ),
        choices=SEATS,
        advanced=True,
    )
    unconditional_latent_prompt: str = setting(
        "trained",
        "The latent prompt that guidance starts from. The paper has the photo's.",
        choices=SEATS,
        advanced=True,
    )
    # w of classifier-free guidance by the words; 1 turns it off.
    guidance_scale: float = guidance_weight(12.5, "How strongly the edit follows its prompt.")
    # Guidance in an interval of the noise levels (Kynkäänniemi et al., "Applying Guidance in a Limited Interval
    # Improves Sample and Distribution Quality in Diffusion Models", NeurIPS 2024), counted in steps as all else here.
    # The paper counts in sigma, sqrt((1 - a) / a); its 5.42 to 0.28, for Stable Diffusion XL, is 0.18 to 0.92 of 50.
    guidance_start: float = part_of_steps(
        0.0,
        "Part of the steps, from the noisiest, before guidance sets in. Steps without guidance take less time.",
        advanced=True,
        later=True,
    )
    guidance_end: float = part_of_steps(
        1.0,
        "Part of the steps, from the noisiest, after which the edit is not guided any more, which takes less time.",
        advanced=True,
        later=True,
    )
    # As InstructPix2Pix does: 1 is `edit_latent_prompt` in every stream, None as far as the words (LIVE), and any other
    # value takes a third stream.
    image_guidance_scale: float | None = guidance_weight(
        None,
        (
            "How far the edit goes from unconditional_latent_prompt to edit_latent_prompt, apart from its words. Where"
            " the latter is the photo, more shows more of it and keeps less of the clip. 0: as far as guidance_scale,"
            " as in the paper. Values other than 0 and 1 take more time."
        ),
        none=True,
        zero_is_none=True,
    )
    # Where the inversion has null text for the source, the edit's unconditional text stays "" (Video-P2P).
    decoupled_guidance: bool = setting(
        False,
        "With null text: it guides the clip's own stream only, the edit keeps the empty prompt.",
        advanced=True,
    )

    # The edit begins with the inversion's latents at its first step.
    start: float = part_of_steps(
        0.0, "Part of the steps, from the noisiest, that is skipped. More: nearer to the clip.", page=(0.0, 0.99)
    )
    # Where the source's attention and latents come from: its "reconstruction" beside the edit; the "inversion" itself,
    # step by step, as it saw the latents (FateZero); or, beside the edit too, its "path": at each step the latents that
    # the inversion came to (Plug-and-Play, TokenFlow).
    source: str = setting(
        "reconstruction",
        (
            "The clip's attention and background: its reconstruction's beside the edit (prompt-to-prompt), the"
            " inversion's own (FateZero), or, beside the edit, that of the inversion's latents at each step (path:"
            " TokenFlow)."
        ),
        choices=SOURCES,
    )

    # Word injection: which tokens take the source's attention, LIVE's chosen words ("swap"), or prompt-to-prompt's
    # "replace" and "refine"; from and to when. The papers count tokens at 512x512 (`VideoUNet.level_within`).
    cross_start: float = part_of_steps(
        0.0, "Part of the steps before cross-attention starts to come from the clip.", advanced=True, later=True
    )
    cross_ratio: float = part_of_steps(
        0.0, "Part of the steps, from the noisiest, whose cross-attention comes from the clip."
    )
    word_edit: str = setting(
        "swap",
        (
            "Which words take their attention from the clip. swap: those in keep_words, or all that both prompts share."
            " replace: word by word, for prompts of as many words. refine: all that both prompts share."
        ),
        choices=WORD_EDITS,
    )
    place_ratio: float = part_of_steps(
        0.0,
        (
            "Part of the steps, within cross_ratio, in which a changed word looks where the words that it replaces do."
            " The paper has none; the bench found that more puts the photo's thing in its place, and two photos' things"
            " each in its own."
        ),
    )
    cross_max_tokens: int | None = tokens(
        None,
        f"Layers with more tokens {_NATIVE} keep their cross-attention. 0: all take the clip's.",
        zero_is_none=True,
    )

    # Self-attention injection: from and to when, and into which.
    self_start: float = part_of_steps(
        0.0, "Part of the steps before self-attention starts to come from the clip.", advanced=True
    )
    self_ratio: float = part_of_steps(
        0.0, "Part of the steps, from the noisiest, whose self-attention comes from the clip."
    )
    self_target: str = setting(
        "spatial", "Which self-attention comes from the clip.", choices=SELF_TARGETS, advanced=True
    )
    self_max_tokens: int | None = tokens(1024, f"Layers with more tokens {_NATIVE} keep their self-attention.")
    # From the second step on, where the source is reconstructed; None injects everywhere.
    self_blend_threshold: float | None = part_of_maximum(
        None,
        "Above this part of the changed words' strongest attention the edit keeps its own self-attention. 0: nowhere.",
        none=True,
        zero_is_none=True,
    )

    # From that step on; before it the source's attention holds the changed words' places too.
    self_blend_start: float = part_of_steps(
        0.0,
        "Part of the steps before the edit keeps its own self-attention where the changed words are: until then the"
        " clip's acts there too.",
        advanced=True,
        later=True,
    )

    # Noise of its own for what is to come (`fresh_noise.py`).
    fresh_noise: float = setting(
        0.0,
        "How much of the noise is drawn anew where the old thing is, so that its outline does not come again. 0: all of"
        " it is the clip's, inverted.",
        unit="part of the variance",
        low=0.0,
        high=1.0,
        later=True,
    )
    noise_seed: int = seed(
        0,
        "Which fresh noise: another seed gives another edit.",
        later=True,
    )

    # Predictions of all frames averaged along the old thing's track (`agreement.py`).
    agree_ratio: float = part_of_steps(
        0.0,
        "Part of the steps, from the noisiest, in which frames agree on the changed thing: each shows the mean of what"
        " its neighbours would, moved along with the old thing. For things that keep their shape. 0: each frame by"
        " itself.",
        later=True,
    )

    # TokenFlow: how many frames a segment has, 1 or more, of which one, drawn anew at each step by the seed, is a key
    # frame; None: there are no key frames. For how long the source's features are injected, beside its self-attention.
    segment_length: int | None = setting(
        None,
        (
            "Frames of a segment. Of each, one frame, drawn anew at each step, is edited together with those of the"
            " others; every frame takes its look from the two nearest. Less takes more memory and time."
        ),
        unit="frames",
        whole=True,
        low=1,
        page=(1, 4096),
        none=True,
        later=True,
    )
    key_frame_seed: int = seed(
        1,
        "Which frames are drawn: the same seed gives the same edit.",
        later=True,
    )
    feature_ratio: float = part_of_steps(
        0.0,
        "Part of the steps, from the noisiest, whose features (of one layer of the decoder) come from the clip.",
        later=True,
    )

    # Local blend (prompt-to-prompt): where the clip stays as it is, the mask's maps, and when.
    blend_threshold: float | None = part_of_maximum(
        None,
        (
            "Local blend: below this part of a word's strongest attention the clip stays as it is. 0 turns local blend"
            " off."
        ),
        none=True,
        zero_is_none=True,
    )
    subtract_threshold: float = part_of_maximum(0.3, "The same for subtract_words.", page=(0.01, 0.99))
    blend_start: float = part_of_steps(0.0, "Part of the steps before local blend sets in.", advanced=True)
    blend_end: float = part_of_steps(1.0, "Part of the steps after which local blend rests.")
    mask_from: str = setting(
        "both", "Whose word maps give the mask: the clip's own, the edit's, or both.", choices=MASKS, advanced=True
    )
    mask_grow: int = cells(
        1, "Cells of the 16x16 map by which the mask grows on every side.", unit="cells of a word map", advanced=True
    )
    mask_neighbours: int = cells(
        0,
        "Frames on either side over which the maps are averaged, so that the mask does not flicker.",
        unit="frames",
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_together()

    def _check_together(self) -> None:
        """LiveError for settings that contradict each other. A window whose ratio is 0 is off, whatever its start."""
        windows = (
            ("guidance_start", "guidance_end", True),
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
        if self.fresh_noise > 0 and self.start > 0:
            raise LiveError(
                f"fresh_noise: {self.fresh_noise}, but the edit starts at {self.start} of the steps, where the latents"
                " are no noise any more; give a start of 0"
            )
        self._check_segments()

    def _check_segments(self) -> None:
        """LiveError for what does not go with TokenFlow's key frames, which are edited apart from the other frames."""
        if self.segment_length is None:
            if self.feature_ratio > 0:
                raise LiveError(f"feature_ratio: {self.feature_ratio}, but there are no segments; give 0")
            return
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

    def guidance_steps(self, steps: int) -> range:
        return range(int(self.guidance_start * steps), int(self.guidance_end * steps))

    def place_steps(self, steps: int) -> range:
        return range(int(self.place_ratio * steps))

    def self_steps(self, steps: int) -> range:
        """Steps under self-attention injection: bounds times N, prompt-to-prompt's own count."""
        return range(int(self.self_start * steps), int(self.self_ratio * steps))

    def self_blend_from(self, steps: int) -> int:
        """The step from which on changed words' places keep the edit's own self-attention."""
        return int(self.self_blend_start * steps)

    def agree_steps(self, steps: int) -> range:
        return range(int(self.agree_ratio * steps))

    def feature_steps(self, steps: int) -> range:
        return range(int(self.feature_ratio * steps))

    def blend_steps(self, steps: int) -> range:
        """Steps after which local blend acts. An end before the last step is itself left out, FateZero's own count."""
        return range(int(self.blend_start * steps), steps if self.blend_end == 1 else int(self.blend_end * steps) - 1)
