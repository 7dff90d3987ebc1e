"""Rows of `live_core.methods` as inputs: one choice that shows each method's own settings, and small nodes that build a
new one.
"""

from comfy_api.v0_0_2 import io

from ..live_core.frames import NORMS, SLOTS
from ..live_core.methods import (
    INVERSION_PROMPTS,
    MASKS,
    METHODS,
    PROMPT_TO_PROMPT,
    SEATS,
    SELF_TARGETS,
    SOURCES,
    TAV_DDIM,
    WORD_EDITS,
    Method,
)
from .node import LATER, Node
from .sockets import MethodRow

CUSTOM = "custom"
# What a method leaves to the user, beside its guidance scale.
SHOWN = {
    "live": (
        "cross_ratio",
        "cross_start",
        "place_ratio",
        "self_ratio",
        "blend_threshold",
        "self_target",
        "blend_start",
        "edit_latent_prompt",
        "unconditional_latent_prompt",
        "image_guidance_scale",
    ),
    "fatezero-style": ("cross_ratio", "cross_start", "self_ratio", "self_start", "word_edit"),
    "fatezero-attribute": ("cross_ratio", "cross_start", "self_ratio", "self_blend_threshold", "word_edit"),
    "fatezero-shape": (
        "cross_ratio",
        "cross_start",
        "self_ratio",
        "self_blend_threshold",
        "blend_threshold",
        "word_edit",
    ),
    "blended-latent": ("start", "blend_threshold", "blend_start", "mask_from", "mask_grow", "mask_neighbours"),
    "prompt-to-prompt": (
        "word_edit",
        "cross_ratio",
        "cross_start",
        "place_ratio",
        "self_ratio",
        "blend_threshold",
        "blend_start",
        "decoupled_guidance",
    ),
    "video-p2p": (
        "word_edit",
        "cross_ratio",
        "cross_start",
        "place_ratio",
        "self_ratio",
        "self_target",
        "blend_threshold",
        "blend_start",
        "decoupled_guidance",
    ),
    "vid2vid-zero": ("word_edit", "cross_ratio", "cross_start", "self_ratio", "decoupled_guidance"),
    "tokenflow": ("self_ratio", "feature_ratio", "segment_length", "key_frame_seed"),
}
ADVANCED = {
    "cross_start",
    "inversion_prompt",
    "self_start",
    "self_target",
    "blend_start",
    "edit_latent_prompt",
    "unconditional_latent_prompt",
    "decoupled_guidance",
    "mask_from",
    "mask_grow",
    "mask_neighbours",
    "key_frame_seed",
}
ADDED = {
    "cross_start",
    "inversion_prompt",
    "segment_length",
    "key_frame_seed",
    "feature_ratio",
}  # fields that 0.1 had no input for
ZERO_MEANS_NONE = {"image_guidance_scale", "blend_threshold", "self_blend_threshold", "cross_max_tokens"}

_PART = (io.Float.Input, {"min": 0.0, "max": 1.0, "step": 0.01})
_CELLS = (io.Int.Input, {"min": 0, "max": 64})
_TOKENS = (io.Int.Input, {"min": 0, "max": 65536})
_NATIVE = (
    "at the model's native size (Stable Diffusion: 4096, 1024, 256 and 64 at 512x512; the same layers at every size)"
)


def _choice(options: tuple[str, ...]):
    return io.Combo.Input, {"options": list(options)}


# A method's field -> (kind of input and its limits, tooltip).
FIELDS = {
    "guidance_scale": (
        (io.Float.Input, {"min": 0.0, "max": 100.0, "step": 0.1}),
        "How strongly the edit follows its prompt.",
    ),
    "image_guidance_scale": (
        (io.Float.Input, {"min": 0.0, "max": 100.0, "step": 0.1}),
        (
            "How far the edit goes from unconditional_latent_prompt to edit_latent_prompt, apart from its words. Where"
            " the latter is the photo, more shows more of it and keeps less of the clip. 0: as far as guidance_scale,"
            " as in the paper. Values other than 0 and 1 take more time."
        ),
    ),
    "source": (
        _choice(SOURCES),
        (
            "The clip's attention and background: its reconstruction's beside the edit (prompt-to-prompt), the"
            " inversion's own (FateZero), or, beside the edit, that of the inversion's latents at each step (path:"
            " TokenFlow)."
        ),
    ),
    "start": (
        (io.Float.Input, {"min": 0.0, "max": 0.99, "step": 0.01}),
        "Part of the steps, from the noisiest, that is skipped. More: nearer to the clip.",
    ),
    "decoupled_guidance": (
        (io.Boolean.Input, {}),
        "With null text: it guides the clip's own stream only, the edit keeps the empty prompt.",
    ),
    "edit_latent_prompt": (
        _choice(SEATS),
        (
            "The edit's own latent prompt: the one Tune Video trained, or the (first) photo's latent. "
            "The paper has the trained one; the bench found that the photo's shows more of the photo."
        ),
    ),
    "unconditional_latent_prompt": (
        _choice(SEATS),
        "The latent prompt that guidance starts from. The paper has the photo's.",
    ),
    "word_edit": (
        _choice(WORD_EDITS),
        (
            "Which words take their attention from the clip. swap: those in keep_words, or all that both prompts share."
            " replace: word by word, for prompts of as many words. refine: all that both prompts share."
        ),
    ),
    "cross_ratio": (_PART, "Part of the steps, from the noisiest, whose cross-attention comes from the clip."),
    "cross_start": (_PART, "Part of the steps before cross-attention starts to come from the clip."),
    "inversion_prompt": (
        _choice(INVERSION_PROMPTS),
        "What the clip is inverted under: its own prompt, or the empty one, as in Tune-A-Video.",
    ),
    "cross_max_tokens": (
        _TOKENS,
        f"Layers with more tokens {_NATIVE} keep their cross-attention. 0: all take the clip's.",
    ),
    "place_ratio": (
        _PART,
        (
            "Part of the steps, within cross_ratio, in which a changed word looks where the words that it replaces do."
            " The paper has none; the bench found that more puts the photo's thing in its place, and two photos' things"
            " each in its own."
        ),
    ),
    "self_target": (_choice(SELF_TARGETS), "Which self-attention comes from the clip."),
    "self_ratio": (_PART, "Part of the steps, from the noisiest, whose self-attention comes from the clip."),
    "self_start": (_PART, "Part of the steps before self-attention starts to come from the clip."),
    "self_max_tokens": (_TOKENS, f"Layers with more tokens {_NATIVE} keep their self-attention."),
    "self_blend_threshold": (
        _PART,
        "Above this part of the changed words' strongest attention the edit keeps its own self-attention. 0: nowhere.",
    ),
    "feature_ratio": (
        _PART,
        "Part of the steps, from the noisiest, whose features (of one layer of the decoder) come from the clip.",
    ),
    "segment_length": (
        (io.Int.Input, {"min": 1, "max": 4096}),
        (
            "Frames of a segment. Of each, one frame, drawn anew at each step, is edited together with those of the"
            " others; every frame takes its look from the two nearest. Less takes more memory and time."
        ),
    ),
    "key_frame_seed": (
        (io.Int.Input, {"min": 0, "max": 2**53 - 1}),
        "Which frames are drawn: the same seed gives the same edit.",
    ),
    "blend_threshold": (
        _PART,
        (
            "Local blend: below this part of a word's strongest attention the clip stays as it is. 0 turns local blend"
            " off."
        ),
    ),
    "subtract_threshold": ((io.Float.Input, {"min": 0.01, "max": 0.99, "step": 0.01}), "The same for subtract_words."),
    "blend_start": (_PART, "Part of the steps before local blend sets in."),
    "blend_end": (_PART, "Part of the steps after which local blend rests."),
    "mask_from": (_choice(MASKS), "Whose word maps give the mask: the clip's own, the edit's, or both."),
    "mask_grow": (_CELLS, "Cells of the 16x16 map by which the mask grows on every side."),
    "mask_neighbours": (
        _CELLS,
        "Frames on either side over which the maps are averaged, so that the mask does not flicker.",
    ),
}


def _inputs(
    names: tuple[str, ...], row: Method, advanced: set[str] = frozenset(), optional: bool = False
) -> list[io.Input]:
    """The fields `names` as inputs, with the values of `row`. `optional`: a graph may leave them out, those of `ADDED`
    in any case.
    """
    found = []
    for name in names:
        (kind, limits), tooltip = FIELDS[name]
        value = getattr(row, name)
        found.append(
            kind(
                name,
                default=0 if value is None else value,
                advanced=name in advanced,
                tooltip=tooltip,
                **{"optional": optional, **limits, **(LATER if name in ADDED else {})},
            )
        )
    return found


def _changed(row: Method, values: dict) -> Method:
    """`row` with what the inputs say."""
    from dataclasses import replace

    return replace(row, **{name: value or None if name in ZERO_MEANS_NONE else value for name, value in values.items()})


def method_input() -> io.Input:
    options = [
        io.DynamicCombo.Option(name, _inputs(("guidance_scale", *SHOWN.get(name, ())), row, ADVANCED, optional=True))
        for name, row in METHODS.items()
    ]
    options.append(
        io.DynamicCombo.Option(
            CUSTOM, [MethodRow.Input("row", tooltip="From Method: Frames and Guidance and the nodes after it.")]
        )
    )
    return io.DynamicCombo.Input(
        "method", options=options, tooltip="How the edit is made. The clip must have been inverted for the same method."
    )


def method_of(chosen: dict) -> Method:
    """The row that a `method` input stands for."""
    if chosen["method"] == CUSTOM:
        return chosen["row"]
    return _changed(METHODS[chosen["method"]], {name: value for name, value in chosen.items() if name != "method"})


# ------------------------------------------------------------------------------------------------- a method of one's
# own
class MethodFrames(Node):
    @classmethod
    def define_schema(cls):
        def fields(*names: str) -> list[io.Input]:
            return _inputs(names, METHODS["ddim"], ADVANCED | {"start"})

        return io.Schema(
            node_id="LIVE_MethodFrames",
            display_name="Method: Frames and Guidance",
            category="LIVE/method",
            description=(
                "Begin a method of your own: which frames give keys and values, where the source's attention comes"
                " from, how the edit is guided."
            ),
            inputs=[
                io.String.Input(
                    "frame_plan",
                    default=", ".join(TAV_DDIM.frame_plan.slots),
                    tooltip=(
                        f"Slots separated by commas: {', '.join(SLOTS)}, or steps from the frame itself such as -2"
                        " and +1."
                    ),
                ),
                *fields("source", "guidance_scale", "start"),
                io.Float.Input(
                    "min_width",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Layers narrower than this part of the widest see only their own frame.",
                ),
                *fields("decoupled_guidance"),
                io.Boolean.Input(
                    "norm_latent_prompt",
                    default=False,
                    advanced=True,
                    tooltip='Another way to choose norm "clip and latent prompt", from before norm was an input.',
                ),
                *fields("edit_latent_prompt", "unconditional_latent_prompt", "image_guidance_scale"),
                io.Combo.Input(
                    "norm",
                    options=list(NORMS),
                    default="clip",
                    advanced=True,
                    **LATER,
                    tooltip=(
                        "What group norm's statistics pool over. frame: each frame by itself, as in the picture model."
                        " clip: the clip's frames, as in Tune-A-Video. With the latent prompt: in an edit that may be a"
                        " photo, and then it washes out the clip."
                    ),
                ),
                io.Boolean.Input(
                    "temporal_attention",
                    default=True,
                    advanced=True,
                    **LATER,
                    tooltip=(
                        "Whether temporal attention, of a tuned model, acts. Off with frame plan self and norm frame:"
                        " the picture model, frame by frame."
                    ),
                ),
                *fields("inversion_prompt"),
                io.String.Input(
                    "inversion_frame_plan",
                    default="",
                    advanced=True,
                    **LATER,
                    tooltip=(
                        "Slots that the clip is inverted with, where they are others than the edit's. Empty: the"
                        " edit's."
                    ),
                ),
            ],
            outputs=[MethodRow.Output(display_name="method")],
        )

    @classmethod
    def execute(
        cls,
        frame_plan,
        min_width,
        norm_latent_prompt,
        norm="clip",
        temporal_attention=True,
        inversion_frame_plan="",
        **settings,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..live_core import LiveError
        from ..live_core.frames import FramePlan
        from ..live_core.notes import note
        from ..live_core.phrases import split_phrases

        if norm_latent_prompt and norm == "frame":
            raise LiveError("norm latent prompt: True, but norm is 'frame', which pools nothing; turn one of them off")
        norm = "clip and latent prompt" if norm_latent_prompt else norm
        plan = FramePlan(
            tuple(split_phrases(frame_plan, "frame plan")), min_width, norm=norm, temporal=temporal_attention
        )
        if norm == "clip and latent prompt" and "latent_prompt" not in plan.slots:
            note(
                f"norm: {norm!r}, but the frame plan has no latent_prompt, so it is 'clip'; add that slot, or choose"
                " 'clip'"
            )
        inverted = tuple(split_phrases(inversion_frame_plan, "inversion frame plan"))
        row = Method(
            CUSTOM,
            plan,
            latent_prompt="latent_prompt" in plan.slots,
            inversion_frame_plan=replace(plan, slots=inverted) if inverted else None,
        )
        return io.NodeOutput(_changed(row, settings))


class _Step(Node):
    """A node that gives a method further settings; prompt-to-prompt's are the defaults."""

    NAME, TITLE, DESCRIPTION = "", "", ""
    NAMES: tuple[str, ...] = ()

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id=cls.NAME,
            display_name=cls.TITLE,
            category="LIVE/method",
            description=cls.DESCRIPTION,
            inputs=[MethodRow.Input("method", tooltip="The method so far."), *_inputs(cls.NAMES, PROMPT_TO_PROMPT)],
            outputs=[MethodRow.Output(display_name="method")],
        )

    @classmethod
    def execute(cls, method, **settings) -> io.NodeOutput:
        return io.NodeOutput(_changed(method, settings))


class MethodWords(_Step):
    NAME = "LIVE_MethodWords"
    TITLE = "Method: Inject Words"
    DESCRIPTION = "Let words take their cross-attention from the clip."
    NAMES = ("word_edit", "cross_ratio", "cross_start", "place_ratio", "cross_max_tokens")


class MethodSelf(_Step):
    NAME, TITLE = "LIVE_MethodSelf", "Method: Inject Self-Attention"
    DESCRIPTION = "Let self-attention come from the clip, everywhere or outside the changed words' places."
    NAMES = ("self_target", "self_start", "self_ratio", "self_max_tokens", "self_blend_threshold")


class MethodBlend(_Step):
    NAME = "LIVE_MethodBlend"
    TITLE = "Method: Local Blend"
    DESCRIPTION = "Keep the clip's latents wherever no changed word points."
    NAMES = (
        "blend_threshold",
        "subtract_threshold",
        "blend_start",
        "blend_end",
        "mask_from",
        "mask_grow",
        "mask_neighbours",
    )
