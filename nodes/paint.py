from comfy_api.v0_0_2 import io

from ..live_core.paint_settings import BY_EXAMPLE, BY_WORDS, Painting
from . import host
from .fields import input_of
from .node import Node
from .sockets import Model

FRAMES = io.Image.Input("images", tooltip="The clip's frames.")
MASK = io.Mask.Input(
    "mask",
    tooltip=(
        "White (0.5 or more) where it is to be painted: one frame, or one for each of the clip's. Draw it larger than"
        " what goes: what is left of it is seen."
    ),
)


def _settings(row: Painting) -> list[io.Input]:
    """The settings of a painting as inputs, with the values of `row`."""
    return [
        input_of(row, "guidance_scale"),
        input_of(row, "steps"),
        input_of(row, "seed", control_after_generate=io.ControlAfterGenerate.fixed),
        input_of(row, "window"),
    ]


def _painted(paint, model, images, mask, *asked, **settings) -> io.NodeOutput:
    """What `paint` of `live_core.paint` makes of a clip."""
    painting = Painting(**settings)
    windows = -(-len(images) // painting.window)
    with host.on_device(model):
        latents = paint(
            model, images, mask, *asked, painting=painting, callback=host.Progress(model, painting.steps * windows)
        )
        return io.NodeOutput(host.to_images(model.decode_frames(latents)))


class PaintByExample(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_PaintByExample",
            display_name="Paint by Example",
            category="LIVE",
            description=(
                "Paint what a photo shows into a clip, frame by frame, where a mask is white, with a Paint-by-Example"
                " model: no prompt, no inversion, no tuning. Frames know nothing of one another, so it flickers: a"
                " baseline for LIVE."
            ),
            search_aliases=["paint by example", "PbE", "exemplar", "reference image", "inpaint with image"],
            inputs=[
                Model.Input(
                    "model",
                    tooltip="A Paint-by-Example model, from Load LIVE Model; ComfyUI's own loaders know none.",
                ),
                FRAMES,
                MASK,
                io.Image.Input(
                    "photo",
                    tooltip=(
                        "One picture of what is to be painted, cut close: its shorter side is scaled to what CLIP sees,"
                        " and the middle counts."
                    ),
                ),
                *_settings(BY_EXAMPLE),
            ],
            outputs=[io.Image.Output(display_name="images")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model, images, mask, photo, **settings) -> io.NodeOutput:
        from ..live_core.bases import PAINT_BY_EXAMPLE
        from ..live_core.paint import paint_photo

        model.check_base(PAINT_BY_EXAMPLE, "Paint by Example")
        remedy = "put it on a background first (Image Composite Masked)"
        host.check_opaque(cls.hidden.prompt, cls.hidden.unique_id, "photo", remedy)
        return _painted(paint_photo, model, images, mask, photo, **settings)


class Inpaint(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Inpaint",
            display_name="Inpaint Clip",
            category="LIVE",
            description=(
                "Paint what a prompt says into a clip, frame by frame, where a mask is white, with an inpainting model."
                " Frames know nothing of one another, so it flickers."
            ),
            search_aliases=["inpainting", "fill", "remove object", "replace object"],
            inputs=[
                Model.Input("model", tooltip="An inpainting model of Stable Diffusion 1.5 or 2."),
                FRAMES,
                MASK,
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What the whole picture shows once it is painted: 'a blue star on a meadow'.",
                ),
                io.String.Input(
                    "negative_prompt",
                    multiline=True,
                    dynamic_prompts=True,
                    optional=True,
                    default="",
                    tooltip="What guidance leads away from.",
                ),
                *_settings(BY_WORDS),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, model, images, mask, prompt, negative_prompt="", **settings) -> io.NodeOutput:
        from ..live_core.bases import INPAINTING
        from ..live_core.paint import paint_words

        model.check_base(INPAINTING, "Inpaint Clip")
        return _painted(paint_words, model, images, mask, prompt, negative_prompt, **settings)
