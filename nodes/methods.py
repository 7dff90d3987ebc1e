"""Rows of `live_core.methods` as inputs: one choice that shows each method's own settings, and small nodes that build a new one."""
from comfy_api.v0_0_2 import io

from ..live_core.attention import SLOTS
from ..live_core.methods import MASKS, METHODS, SEATS, SELF_TARGETS, WORD_EDITS, Method
from .sockets import MethodRow

CUSTOM = "custom"
_PART = {"min": 0.0, "max": 1.0, "step": 0.01}
# What a method leaves to the user, beside its guidance scale.
SHOWN = {
    "live": ("cross_ratio", "self_ratio", "blend_threshold", "keep_words", "self_target", "blend_start", "edit_latent_prompt", "unconditional_latent_prompt"),
    "fatezero-style": ("cross_ratio", "self_ratio", "self_start", "word_edit"),
    "fatezero-attribute": ("cross_ratio", "self_ratio", "self_blend_threshold", "word_edit"),
    "fatezero-shape": ("cross_ratio", "self_ratio", "self_blend_threshold", "blend_threshold", "word_edit"),
    "blended-latent": ("start", "blend_threshold", "blend_start", "mask_from", "mask_grow", "mask_neighbours"),
    "prompt-to-prompt": ("word_edit", "cross_ratio", "self_ratio", "blend_threshold", "blend_start", "decoupled_guidance"),
    "video-p2p": ("word_edit", "cross_ratio", "self_ratio", "self_target", "blend_threshold", "blend_start", "decoupled_guidance"),
    "vid2vid-zero": ("word_edit", "cross_ratio", "self_ratio", "decoupled_guidance"),
}


def _field(name: str, row: Method) -> io.Input:
    value = getattr(row, name, "")
    if name == "guidance_scale":
        return io.Float.Input(name, default=value, min=0.0, max=100.0, step=0.1, tooltip="How strongly the edit follows its prompt.")
    if name == "keep_words":
        return io.String.Input(name, default="", tooltip="Words whose attention comes from the clip, separated by commas. Empty: every word both prompts share.")
    if name == "word_edit":
        return io.Combo.Input(name, options=["replace", "refine"], default=value,
                              tooltip="replace: word by word, for prompts of as many words. refine: words may be added or left out; what both prompts share comes from the clip.")
    if name == "self_target":
        return io.Combo.Input(name, options=list(SELF_TARGETS), default=value, advanced=True, tooltip="Which self-attention comes from the clip.")
    if name in ("edit_latent_prompt", "unconditional_latent_prompt"):
        return io.Combo.Input(name, options=list(SEATS), default=value, advanced=True,
                              tooltip="The latent prompt of the edit's conditional or unconditional stream: the one Tune Video trained, or the (first) photo's latent. "
                                      "The paper: trained, reference. The bench: reference, trained shows more of the photo.")
    if name == "mask_from":
        return io.Combo.Input(name, options=list(MASKS), default=value, advanced=True, tooltip="Whose word maps give the mask: the clip's own, the edit's, or both.")
    tips = {
        "mask_grow": "Cells of the 16x16 map by which the mask grows on every side.",
        "mask_neighbours": "Frames on either side over which the maps are averaged, so that the mask does not flicker.",
        "start": "Part of the steps, from the noisiest, that is skipped. More: nearer to the clip.",
        "cross_ratio": "Part of the steps, from the noisiest, whose cross-attention comes from the clip.",
        "self_ratio": "Part of the steps, from the noisiest, whose self-attention comes from the clip.",
        "self_start": "Part of the steps before self-attention starts to come from the clip.",
        "self_blend_threshold": "Above this part of the changed words' strongest attention the edit keeps its own self-attention. 0: nowhere.",
        "blend_threshold": "Local blend: below this part of a word's strongest attention the clip stays as it is. 0 turns local blend off.",
        "blend_start": "Part of the steps before local blend sets in.",
        "decoupled_guidance": "With null text: it guides the clip's own stream only, the edit keeps the empty prompt.",
    }
    if isinstance(value, int) and not isinstance(value, bool):
        return io.Int.Input(name, default=value, min=0, max=64, advanced=True, tooltip=tips[name])
    if isinstance(value, bool):
        return io.Boolean.Input(name, default=value, advanced=True, tooltip=tips[name])
    return io.Float.Input(name, default=value or 0.0, **_PART, advanced=name in ("self_start", "blend_start"), tooltip=tips[name])


def method_input() -> io.Input:
    options = [io.DynamicCombo.Option(name, [_field(field, row) for field in ("guidance_scale", *SHOWN.get(name, ()))]) for name, row in METHODS.items()]
    options.append(io.DynamicCombo.Option(CUSTOM, [MethodRow.Input("row", tooltip="From Method: Frames and Guidance and the nodes after it.")]))
    return io.DynamicCombo.Input("method", options=options, tooltip="How the edit is made. The clip must have been inverted for the same method.")


def method_of(chosen: dict) -> Method:
    """The row that a `method` input stands for. Thresholds of 0 mean off."""
    from dataclasses import replace
    if chosen["method"] == CUSTOM:
        return chosen["row"]
    settings = {name: value for name, value in chosen.items() if name not in ("method", "keep_words")}
    return replace(METHODS[chosen["method"]], **{name: value or None if name in ("blend_threshold", "self_blend_threshold") else value for name, value in settings.items()})


# ------------------------------------------------------------------------------------------------- a method of one's own
class MethodFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_MethodFrames", display_name="Method: Frames and Guidance", category="LIVE/method",
            description="Begin a method of your own: which frames give keys and values, where the source's attention comes from, how the edit is guided.",
            inputs=[io.String.Input("frame_plan", default="first, previous", tooltip=f"Slots separated by commas: {', '.join(SLOTS)}."),
                    io.Combo.Input("source", options=["inversion", "reconstruction"], tooltip="The source's attention and background: the inversion's own (FateZero), or a reconstruction beside the edit (prompt-to-prompt)."),
                    io.Float.Input("guidance_scale", default=7.5, min=0.0, max=100.0, step=0.1, tooltip="How strongly the edit follows its prompt."),
                    io.Float.Input("start", default=0.0, min=0.0, max=0.99, step=0.01, advanced=True, tooltip="Part of the steps, from the noisiest, that is skipped. More: nearer to the clip."),
                    io.Float.Input("min_width", default=0.0, **_PART, advanced=True, tooltip="Layers narrower than this part of the widest see only their own frame."),
                    io.Boolean.Input("decoupled_guidance", default=False, advanced=True, tooltip="With null text: it guides the clip's own stream only.")],
            outputs=[MethodRow.Output(display_name="method")])

    @classmethod
    def execute(cls, frame_plan, source, guidance_scale, start, min_width, decoupled_guidance) -> io.NodeOutput:
        from ..live_core.prompts import split_phrases
        slots = tuple(split_phrases(frame_plan))
        return io.NodeOutput(Method(CUSTOM, slots, min_width, latent_prompt="latent_prompt" in slots, decoupled_guidance=decoupled_guidance,
                                    guidance_scale=guidance_scale, start=start, source=source))


class _Step(io.ComfyNode):
    """A node that adds its inputs to a method, under the names of its fields."""

    @classmethod
    def execute(cls, method, **settings) -> io.NodeOutput:
        from dataclasses import replace
        return io.NodeOutput(replace(method, **{name: value or None if name.endswith(("_threshold", "_tokens")) else value for name, value in settings.items()}))


class MethodWords(_Step):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_MethodWords", display_name="Method: Inject Words", category="LIVE/method",
            description="Let words take their cross-attention from the clip.",
            inputs=[MethodRow.Input("method", tooltip="The method so far."),
                    io.Combo.Input("word_edit", options=list(WORD_EDITS), default="refine", tooltip="swap: chosen words, the longest common run of both prompts. replace: word by word. refine: tokens both prompts share."),
                    io.Float.Input("cross_ratio", default=0.8, **_PART, tooltip="Part of the steps, from the noisiest."),
                    io.Int.Input("cross_max_tokens", default=0, min=0, max=65536, tooltip="Layers with more tokens are left alone. 0: none is.")],
            outputs=[MethodRow.Output(display_name="method")])


class MethodSelf(_Step):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_MethodSelf", display_name="Method: Inject Self-Attention", category="LIVE/method",
            description="Let self-attention come from the clip, everywhere or outside the changed words' places.",
            inputs=[MethodRow.Input("method", tooltip="The method so far."),
                    io.Combo.Input("self_target", options=list(SELF_TARGETS), tooltip="Which self-attention."),
                    io.Float.Input("self_start", default=0.0, **_PART, tooltip="From this part of the steps."),
                    io.Float.Input("self_ratio", default=0.5, **_PART, tooltip="To this part of the steps."),
                    io.Int.Input("self_max_tokens", default=1024, min=1, max=65536, tooltip="Layers with more tokens are left alone."),
                    io.Float.Input("self_blend_threshold", default=0.0, **_PART, tooltip="Above this part of the changed words' strongest attention the edit keeps its own. 0: nowhere.")],
            outputs=[MethodRow.Output(display_name="method")])


class MethodBlend(_Step):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_MethodBlend", display_name="Method: Local Blend", category="LIVE/method",
            description="Keep the clip's latents wherever no changed word points.",
            inputs=[MethodRow.Input("method", tooltip="The method so far."),
                    io.Float.Input("blend_threshold", default=0.3, **_PART, tooltip="Part of a word's strongest attention above which a place counts."),
                    io.Float.Input("subtract_threshold", default=0.3, min=0.01, max=0.99, step=0.01, tooltip="The same for words to spare."),
                    io.Float.Input("blend_start", default=0.2, **_PART, tooltip="From this part of the steps."),
                    io.Float.Input("blend_end", default=1.0, **_PART, tooltip="To this part of the steps."),
                    io.Combo.Input("mask_from", options=list(MASKS), tooltip="Whose word maps give the mask: the clip's own, the edit's, or both."),
                    io.Int.Input("mask_grow", default=1, min=0, max=64, tooltip="Cells of the 16x16 map by which the mask grows on every side."),
                    io.Int.Input("mask_neighbours", default=0, min=0, max=64, tooltip="Frames on either side over which the maps are averaged.")],
            outputs=[MethodRow.Output(display_name="method")])
