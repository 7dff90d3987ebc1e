from comfy_api.v0_0_2 import io

from . import host
from .node import Node


class Composite(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Composite", display_name="Composite with Gaussian Blur", category="LIVE",
            description="Paste the edit over the clip's own pixels through a mask with blurred edges.",
            search_aliases=["paste", "mask blur", "blend"],
            # The first picture is what a bypassed node hands on.
            inputs=[io.Image.Input("edited", tooltip="The edited frames, of the same size and number."),
                    io.Image.Input("images", tooltip="The clip's own frames."),
                    io.Mask.Input("mask", tooltip="Where the edit shows: from Edit Video or any mask maker; one frame, or one for each of the clip's."),
                    io.Int.Input("dilation", default=4, min=0, max=512, tooltip="Pixels by which the mask grows on every side."),
                    io.Float.Input("blur", default=3.0, min=0.0, max=200.0, step=0.1, tooltip="Sigma of the Gaussian blur of the mask's edge, in pixels.")],
            outputs=[io.Image.Output(display_name="images"), io.Mask.Output(display_name="mask")])

    @classmethod
    def execute(cls, images, edited, mask, dilation, blur) -> io.NodeOutput:
        from ..live_core.compositing import check_mask, check_pair, composite, soften
        check_pair(edited, images)
        check_mask(mask, images)
        soft = soften(mask, dilation, blur)
        return io.NodeOutput(host.to_images(composite(images, edited, soft)), host.to_images(soft))
