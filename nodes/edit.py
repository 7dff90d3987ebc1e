from comfy_api.v0_0_2 import io

from . import host
from .sockets import Inversion, Model


class Edit(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        ratio = {"min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="LIVE_Edit", display_name="Edit Video (Word Swap, Local Blend)", category="LIVE",
            description="Make the clip again from its noise under another prompt: motion and background from the clip, the thing from the photo, changes only where the words point.",
            search_aliases=["prompt-to-prompt", "word swap", "local blend"],
            inputs=[Model.Input("model", tooltip="The tuned model that the clip was inverted with."),
                    Inversion.Input("inversion", tooltip="From Invert Video."),
                    io.String.Input("prompt", multiline=True, tooltip="The clip's prompt with the placeholder in the place of the thing to replace."),
                    io.Float.Input("guidance_scale", default=12.5, min=0.0, max=100.0, step=0.1, tooltip="How strongly the edit follows its prompt."),
                    io.Float.Input("cross_ratio", default=0.6, **ratio, tooltip="Part of the steps whose cross-attention comes from the clip, for the kept words."),
                    io.Float.Input("self_ratio", default=0.3, **ratio, tooltip="Part of the steps whose self-attention comes from the clip."),
                    io.Float.Input("blend_threshold", default=0.3, **ratio, tooltip="Local blend: below this part of a word's strongest attention the clip stays as it is. 0 turns local blend off."),
                    io.String.Input("keep_words", default="", tooltip="Words whose attention comes from the clip, separated by commas. Empty: every word both prompts share."),
                    io.String.Input("source_words", default="", advanced=True, tooltip="Words of the clip's prompt to replace. Empty: the words only it has."),
                    io.String.Input("edit_words", default="", advanced=True, tooltip="Words of this prompt to put in. Empty: the words only it has."),
                    io.Combo.Input("self_target", options=["spatial", "temporal", "both"], default="spatial", advanced=True, tooltip="Which self-attention comes from the clip."),
                    io.Float.Input("blend_start", default=0.0, **ratio, advanced=True, tooltip="Part of the steps before local blend sets in."),
                    io.Boolean.Input("asymmetric_guidance", default=True, advanced=True,
                                     tooltip="Give the unconditional stream the photo's latent as its latent prompt, as the paper does; otherwise the trained one.")],
            outputs=[io.Image.Output(display_name="images"), io.Mask.Output(display_name="mask")])

    @classmethod
    def execute(cls, model, inversion, prompt, guidance_scale, cross_ratio, self_ratio, blend_threshold, keep_words, source_words, edit_words,
                self_target, blend_start, asymmetric_guidance) -> io.NodeOutput:
        from dataclasses import replace
        from ..live_core.editing import Edit as Change, edit
        method = replace(inversion.method, guidance_scale=guidance_scale, cross_ratio=cross_ratio, self_ratio=self_ratio, self_target=self_target,
                         blend_threshold=blend_threshold or None, blend_start=blend_start,
                         asymmetric_guidance=asymmetric_guidance)
        with host.on_device(model):
            edited = edit(model, inversion, Change(prompt, keep_words.strip() or None, source_words, edit_words), method, host.Progress(model, inversion.steps))
            return io.NodeOutput(host.to_images(model.decode_frames(edited.latents)), host.to_images(edited.mask))
