from comfy_api.v0_0_2 import io

from . import host
from .node import Node
from .sockets import Concept, Model


class BindConcept(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_BindConcept",
            display_name="Bind Photo to Placeholder",
            category="LIVE",
            description=(
                "Bind the thing in a photo to a placeholder token. Tune Video then learns the token's embedding from"
                " the photo (textual inversion)."
            ),
            search_aliases=["textual inversion", "embedding", "reference image"],
            inputs=[
                Model.Input("model", tooltip="From Load LIVE Model."),
                io.Image.Input(
                    "photo", tooltip="One picture of the thing. It is scaled and cropped to the clip's size."
                ),
                io.Image.Input("images", tooltip="The clip's frames, for their size."),
                io.String.Input(
                    "placeholder",
                    default="<thing*>",
                    tooltip=(
                        "A new token that stands for the thing in prompts: one string without spaces that the model"
                        " does not know."
                    ),
                ),
                io.String.Input(
                    "initial_word",
                    default="thing",
                    tooltip="The word whose meaning the token starts from: one common word for what the photo shows.",
                ),
                Concept.Input(
                    "concept",
                    optional=True,
                    tooltip=(
                        "From another Bind Photo to Placeholder: to put several things into one clip, bind them one"
                        " after another."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "What counts in the photo: white is learned, black is not. Load Image's mask is the other way"
                        " round, white where the photo is transparent, so put Invert Mask between them. Without a mask"
                        " the whole photo counts."
                    ),
                ),
            ],
            outputs=[Concept.Output(display_name="concept")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model, photo, images, placeholder, initial_word, concept=(), mask=None) -> io.NodeOutput:
        from ..live_core.concept import bind
        from ..live_core.pictures import cut_out

        if mask is None:
            remedy = "connect Load Image's mask to Invert Mask, and that to mask"
            host.check_opaque(cls.hidden.prompt, cls.hidden.unique_id, "photo", remedy)
        model.check_clip(images)
        photo, counts = cut_out(photo, mask, images.shape[1], images.shape[2])
        with host.on_device(model):
            reference = model.encode_frames(photo, "photo").cpu()
            return io.NodeOutput(
                bind(
                    placeholder,
                    initial_word,
                    reference,
                    model.tokenizer,
                    model.text_encoder,
                    concept,
                    counts,
                    model.fingerprint,
                )
            )
