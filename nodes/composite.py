from comfy_api.v0_0_2 import io

from ..live_core.long_settings import Pasting
from . import host
from .fields import input_of
from .node import LATER, Node
from .sockets import Model


class Composite(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Composite",
            display_name="Composite with Gaussian Blur",
            category="LIVE",
            description="Paste the edit over the clip's own pixels through a mask with blurred edges.",
            search_aliases=["paste", "mask blur", "blend"],
            # The first picture is what a bypassed node hands on.
            inputs=[
                io.Image.Input("edited", tooltip="The edited frames, of the same size and number."),
                io.Image.Input("images", tooltip="The clip's own frames."),
                io.Mask.Input(
                    "mask",
                    tooltip=(
                        "Where the edit shows: from Edit Video or any mask maker; one frame, or one for each of the"
                        " clip's."
                    ),
                ),
                *paste_inputs(**LATER),
                io.Float.Input(
                    "steady_reach",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.5,
                    advanced=True,
                    tooltip=(
                        "For things that keep their shape. First the edited frames agree on each thing in the mask,"
                        " along the track of the clip's own: each shows the median of its neighbours, and those count"
                        " up to about so many frames away. Things must be apart in some frames. 16: a clip as short as"
                        " the demo's agrees as a whole. Less for a thing that changes as it moves. 0: frames as they"
                        " are."
                    ),
                    **LATER,
                ),
                io.Boolean.Input(
                    "cut_out",
                    default=False,
                    advanced=True,
                    tooltip=(
                        "Goes further than steady_reach, which must be above 0: each thing in the mask is cut out along"
                        " its own outline, in the frame that shows it best, and laid over the clip's own background."
                        " Where the old thing stood, that is taken from frames in which it stands elsewhere, if the"
                        " clip stands still. For things that keep their shape and whose colours tell them from what is"
                        " around; where they do not, frames agree by steady_reach alone, and the node says so."
                    ),
                    **LATER,
                ),
                io.Float.Input(
                    "resize",
                    default=0.25,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    advanced=True,
                    tooltip=(
                        "With cut_out: a thing is made as wide as the old one was, but larger or smaller by no more"
                        " than this part of its size. 0: as large as it was edited."
                    ),
                    **LATER,
                ),
                io.Image.Input(
                    "reconstruction",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "The clip from Clip through Autoencoder. What the edit changed by no more than the autoencoder"
                        " errs is then the clip's own, within the mask too: for a mask much wider than the change, or"
                        " for none."
                    ),
                ),
            ],
            outputs=[io.Image.Output(display_name="images"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(
        cls,
        images,
        edited,
        mask,
        dilation,
        blur,
        edge_radius=0,
        reconstruction=None,
        cover_radius=0,
        steady_reach=0.0,
        cut_out=False,
        resize=0.25,
    ) -> io.NodeOutput:
        from ..live_core import cutout
        from ..live_core.compositing import check_mask, check_pair, composite, soften
        from ..live_core.refining import changed, cover, follow_edges
        from ..live_core.steadying import steady

        check_pair(edited, images)
        check_mask(mask, images)
        if cut_out:
            edited, mask = cutout.cut_out(edited, images, mask, steady_reach, resize)
        else:
            edited = steady(edited, images, mask, steady_reach)
        followed = follow_edges(mask, images, edited, edge_radius)
        soft = soften(cover(followed, images, edited, cover_radius), dilation, blur)
        if reconstruction is not None:
            soft = soft * changed(images, edited, reconstruction)
        return io.NodeOutput(host.to_images(composite(images, edited, soft)), host.to_images(soft))


def paste_inputs(**later) -> list[io.Input]:
    """How a mask is made ready for pasting; `later` declares what 0.1 had not."""
    return [
        input_of(Pasting, "dilation"),
        input_of(Pasting, "blur"),
        input_of(Pasting, "edge_radius", **later),
        input_of(Pasting, "cover_radius"),
    ]


class Reconstruct(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Reconstruct",
            display_name="Clip through Autoencoder",
            category="LIVE",
            description=(
                "The clip encoded and decoded again, nothing edited: what an edit by this model looks like where it"
                " changed nothing. For Composite's reconstruction."
            ),
            search_aliases=["vae encode decode", "reconstruction", "round trip"],
            inputs=[
                Model.Input("model", tooltip="The model of the edit."),
                io.Image.Input("images", tooltip="The clip's frames."),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, model, images) -> io.NodeOutput:
        with host.on_device(model):
            return io.NodeOutput(host.to_images(model.decode_frames(model.encode_frames(images))))
