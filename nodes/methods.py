"""Rows of `live_core.methods` as inputs: one choice that shows each method's own settings, and small nodes that build a
new one.
"""

from collections.abc import Collection, Sequence
from typing import Any

from comfy_api.v0_0_2 import io

from ..live_core.frames import SLOTS, FramePlan
from ..live_core.methods import LIVE, LIVE_RECOMMENDED, METHODS, PROMPT_TO_PROMPT, TAV_DDIM, Method
from ..live_core.settings import settings_of
from .fields import input_of, value_on_page
from .node import LATER, Node, if_absent
from .sockets import MethodRow

CUSTOM = "custom"
# Rows that an edit has beside METHODS, inverted as the method whose they are: one method's values in the papers.
PAPERS = "live-paper"
ROWS = {"live": LIVE, PAPERS: LIVE, **METHODS}
# What a fresh node shows where it is not the row's own values, which graphs have that lack an input.
FRESH = {"live": LIVE_RECOMMENDED}
# What every method leaves to the user, and what each does beside.
GUIDED = ("guidance_scale", "guidance_start", "guidance_end")
SHOWN = {
    "live": (
        "cross_ratio",
        "cross_start",
        "place_ratio",
        "self_ratio",
        "self_blend_start",
        "fresh_noise",
        "noise_seed",
        "agree_ratio",
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
# What a method showed in 0.1 not yet, though another did.
SHOWN_LATER = {"live": ("self_blend_threshold",)}
# The first to turn, with the guidance scale, which no method hides: how near to the photo, or to the clip.
FIRST = {
    "live": ("image_guidance_scale",),
    "fatezero-style": ("self_ratio",),
    "fatezero-attribute": ("self_ratio", "word_edit"),
    "fatezero-shape": ("self_ratio", "word_edit"),
    "blended-latent": ("start",),
    "prompt-to-prompt": ("cross_ratio", "word_edit"),
    "video-p2p": ("cross_ratio", "word_edit"),
    "vid2vid-zero": ("self_ratio",),
    "tokenflow": ("self_ratio",),
}
SHOWN[PAPERS], SHOWN_LATER[PAPERS], FIRST[PAPERS] = SHOWN["live"], SHOWN_LATER["live"], FIRST["live"]
SETTINGS = settings_of(Method)
ADVANCED = {name for name, each in SETTINGS.items() if each.advanced}


def _inputs(names: Sequence[str], row: Method, advanced: Collection[str] = (), **more: Any) -> list[io.Input]:
    """The settings `names` as inputs, with the values of `row`; hidden at first are those of `advanced` alone."""
    return [input_of(row, n, **{"advanced": n in advanced, **more}) for n in names]


def _shown(name: str, names: Sequence[str], **more: Any) -> list[io.Input]:
    """The settings `names` of a method as inputs, with the values of a fresh node."""
    row, fresh = ROWS[name], FRESH.get(name, ROWS[name])
    hidden = set(names) - {"guidance_scale", *FIRST.get(name, ())}
    shown = []
    for n in names:
        before = value_on_page(row, n)
        kept = {} if value_on_page(fresh, n) == before else if_absent(before)
        shown += _inputs([n], fresh, hidden, **more, **kept)
    return shown


def _changed(row: Method, values: dict) -> Method:
    """`row` with what the inputs say."""
    from dataclasses import replace

    return replace(row, **{n: value or None if SETTINGS[n].zero_is_none else value for n, value in values.items()})


def method_input() -> io.Input:
    options = [
        io.DynamicCombo.Option(
            name,
            [
                *_shown(name, (*GUIDED, *SHOWN.get(name, ())), optional=True),
                *_shown(name, SHOWN_LATER.get(name, ()), **LATER),
            ],
        )
        for name in ROWS
    ]
    options.append(
        io.DynamicCombo.Option(
            CUSTOM, [MethodRow.Input("row", tooltip="From Method: Frames and Guidance and the nodes after it.")]
        )
    )
    return io.DynamicCombo.Input(
        "method",
        options=options,
        tooltip=(
            "How the edit is made. The clip must have been inverted for the same method. live has the values that we"
            f" recommend; {PAPERS} is the same method, inverted as live, with its papers' values."
        ),
    )


def method_of(chosen: dict) -> Method:
    """The row that a `method` input stands for."""
    if chosen["method"] == CUSTOM:
        return chosen["row"]
    return _changed(ROWS[chosen["method"]], {name: value for name, value in chosen.items() if name != "method"})


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
                input_of(FramePlan, "min_width"),
                *fields("decoupled_guidance"),
                io.Boolean.Input(
                    "norm_latent_prompt",
                    default=False,
                    advanced=True,
                    tooltip='Another way to choose norm "clip and latent prompt", from before norm was an input.',
                ),
                *fields("edit_latent_prompt", "unconditional_latent_prompt", "image_guidance_scale"),
                input_of(FramePlan, "norm"),
                input_of(FramePlan, "temporal", "temporal_attention"),
                *fields(
                    "inversion_prompt", "fresh_noise", "noise_seed", "agree_ratio", "guidance_start", "guidance_end"
                ),
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

    @classmethod
    def execute(cls, method, **settings) -> io.NodeOutput:
        from ..live_core.change import note_placing

        changed = _changed(method, settings)
        note_placing(changed)
        return io.NodeOutput(changed)


class MethodSelf(_Step):
    NAME, TITLE = "LIVE_MethodSelf", "Method: Inject Self-Attention"
    DESCRIPTION = "Let self-attention come from the clip, everywhere or outside the changed words' places."
    NAMES = ("self_target", "self_start", "self_ratio", "self_max_tokens", "self_blend_threshold", "self_blend_start")


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
