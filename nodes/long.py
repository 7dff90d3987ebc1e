from comfy_api.v0_0_2 import io

from ..live_core.long_settings import LongEdit
from . import host
from .composite import paste_inputs
from .edit import change_inputs, change_of, edit_prompt_input, said_of
from .fields import input_of
from .methods import method_input, method_of
from .node import Node
from .sockets import Engine, Model


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
                *long_inputs(),
            ],
            outputs=[io.Image.Output(display_name="images"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(cls, model, images, mask=None, engine=None, **asked) -> io.NodeOutput:
        import torch

        from ..live_core.bases import TEXT_TO_IMAGE
        from ..live_core.compositing import check_mask
        from ..live_core.long_clips import edit_long, looked_for

        model.check_base(TEXT_TO_IMAGE, "Edit Long Clip")
        edit, frames = long_edit(**asked), len(images)
        total = len(edit.windows(frames)) * edit.steps_of_a_window
        if mask is not None:
            check_mask(mask, images)
        sought = looked_for(model, edit, mask is not None)
        made, masks = torch.empty(*images.shape[:3], 3), torch.empty(images.shape[:3])
        with host.on_device(model):
            for each in edit_long(
                model,
                lambda places: images[list(places)],
                frames,
                edit,
                None if mask is None else lambda places: mask.expand(frames, -1, -1)[list(places)],
                host.Progress(model, total),
                engine,
            ):
                place = slice(each.frames.start, each.frames.stop)
                made[place], masks[place] = each.images, each.mask
        return io.NodeOutput(host.to_images(made), host.to_images(masks), ui=said_of(sought))


def long_inputs() -> list[io.Input]:
    """What is asked of a clip of any length: prompts, method, windows, pasting, words, where, and by whom."""
    return [
        io.String.Input(
            "source_prompt",
            multiline=True,
            dynamic_prompts=True,
            tooltip="What the clip shows: the prompt it was tuned with.",
        ),
        edit_prompt_input(),
        method_input(),
        input_of(LongEdit, "steps"),
        input_of(LongEdit, "window"),
        input_of(LongEdit, "null_text"),
        io.Boolean.Input(
            "paste",
            default=True,
            tooltip="Paste the edit over the clip's own pixels through the mask, as Composite does. Off: the edit.",
        ),
        *paste_inputs(),
        *change_inputs(),
        Engine.Input("engine", optional=True, tooltip="From Run on Ray: several windows at a time."),
    ]


def long_edit(
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
    keep_words,
    word_weights,
    word_windows="",
    cover_radius=0,
    **words,
) -> LongEdit:
    """What the values of `long_inputs` ask."""
    from ..live_core.long_settings import Pasting

    change = change_of(prompt, keep_words, word_weights, word_windows, **words)
    pasting = Pasting(dilation, blur, edge_radius, cover_radius) if paste else None
    return LongEdit(source_prompt, change, method_of(method), steps, window, null_text, pasting)
