from comfy_api.v0_0_2 import io

from ..live_core.bind_settings import BindSettings
from . import host
from .fields import input_of
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
                    "photo",
                    tooltip=(
                        "One picture of the thing, or several in a batch: all are learned, and the first is the one"
                        " that an edit may show as its latent prompt. They are scaled and cropped to the clip's size."
                    ),
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
                        " the whole photo counts. Several photos have one each."
                    ),
                ),
                *(input_of(BindSettings, name) for name in ("vectors", "crops", "flips")),
            ],
            outputs=[Concept.Output(display_name="concept")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, model, photo, images, placeholder, initial_word, concept=(), mask=None, vectors=1, crops=0, flips=False
    ) -> io.NodeOutput:
        from ..live_core.concept import bind
        from ..live_core.pictures import cut_out
        from ..live_core.views import with_crops

        if mask is None:
            remedy = "connect Load Image's mask to Invert Mask, and that to mask"
            host.check_opaque(cls.hidden.prompt, cls.hidden.unique_id, "photo", remedy)
        asked = BindSettings(vectors, crops, flips)
        model.check_clip(images)
        photos, counts = cut_out(photo, mask, images.shape[1], images.shape[2])
        views, counts = with_crops(photos, counts, asked.crops, asked.flips)
        with host.on_device(model):
            latents = model.encode_frames(views, "photo").cpu()
            return io.NodeOutput(
                bind(
                    placeholder,
                    initial_word,
                    latents,
                    model.tokenizer,
                    model.text_encoder,
                    concept,
                    counts,
                    model.fingerprint,
                    asked.vectors,
                )
            )
