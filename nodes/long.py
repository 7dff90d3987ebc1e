from comfy_api.v0_0_2 import io

from . import host
from .composite import paste_inputs
from .edit import change_inputs, change_of, edit_prompt_input, words_looked_for
from .methods import method_input, method_of
from .node import Node
from .sockets import Model


class EditLong(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_EditLong",
            display_name="Edit Long Clip",
            category="LIVE",
            description=(
                "Invert, edit and paste a clip of any length by prompts, window by window, in the memory of one window:"
                " what Invert Video, Edit Video and Composite do with a short clip."
            ),
            search_aliases=["long video", "windows", "chunks", "sliding window", "FateZero", "prompt-to-prompt"],
            # The first picture is what a bypassed node hands on.
            inputs=[
                Model.Input("model", tooltip="From Load LIVE Model, or tuned: in Tune Video give a window too."),
                io.Image.Input("images", tooltip="The clip's frames."),
                io.String.Input(
                    "source_prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What the clip shows: the prompt it was tuned with.",
                ),
                edit_prompt_input(),
                method_input(),
                io.Int.Input(
                    "steps",
                    default=50,
                    min=1,
                    max=1000,
                    tooltip="DDIM steps of each window's inversion, and of its edit.",
                ),
                *_window_inputs(),
                *change_inputs(),
            ],
            outputs=[io.Image.Output(display_name="images"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(
        cls,
        model,
        images,
        source_prompt,
        prompt,
        method,
        steps,
        window,
        null_text,
        paste,
        dilation,
        blur,
        edge_radius,
        source_words,
        edit_words,
        subtract_words,
        keep_words,
        word_weights,
        word_windows="",
        mask=None,
        negative_prompt="",
        cover_radius=0,
    ) -> io.NodeOutput:
        import torch

        from ..live_core.compositing import check_mask
        from ..live_core.long_clips import LongEdit, Pasting, edit_long

        change = change_of(
            prompt,
            keep_words,
            word_weights,
            word_windows,
            source_words=source_words,
            edit_words=edit_words,
            subtract_words=subtract_words,
            negative_prompt=negative_prompt,
        )
        pasting = Pasting(dilation, blur, edge_radius, cover_radius) if paste else None
        asked = LongEdit(source_prompt, change, method_of(method), steps, window, null_text, pasting)
        frames = len(images)
        total = len(asked.windows(frames)) * asked.steps_of_a_window
        if mask is not None:
            check_mask(mask, images)
        made, masks, looked_for = torch.empty(*images.shape[:3], 3), torch.empty(images.shape[:3]), ("", "")
        with host.on_device(model):
            for each in edit_long(
                model,
                lambda places: images[list(places)],
                frames,
                asked,
                None if mask is None else lambda places: mask.expand(frames, -1, -1)[list(places)],
                host.Progress(model, total),
            ):
                place = slice(each.frames.start, each.frames.stop)
                made[place], masks[place], looked_for = each.images, each.mask, each.looked_for
        lines = words_looked_for(looked_for)
        return io.NodeOutput(host.to_images(made), host.to_images(masks), ui={"text": lines} if lines else None)


def _window_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "window",
            default=16,
            min=1,
            max=4096,
            tooltip=(
                "So many frames are edited at a time, besides those that they read of others: the clip's first and the"
                " one before, or whichever the method has. Memory is that of one window. As many as the clip has: the"
                " same as without windows."
            ),
        ),
        io.Int.Input(
            "null_text",
            default=0,
            min=0,
            max=500,
            advanced=True,
            tooltip=(
                "Null-text inversion of each window, with at most so many optimisation steps at each step: keeps more"
                " of the clip, and takes far longer. 0: none."
            ),
        ),
        io.Boolean.Input(
            "paste",
            default=True,
            tooltip="Paste the edit over the clip's own pixels through the mask, as Composite does. Off: the edit.",
        ),
        *paste_inputs(),
    ]
