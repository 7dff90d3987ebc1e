from comfy_api.v0_0_2 import io

from . import host
from .node import Node
from .sockets import Concept, Model


class BindConcept(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_BindConcept", display_name="Bind Photo to Placeholder", category="LIVE",
            description="Bind the thing in a photo to a placeholder token. Tune Video then learns the token's embedding from the photo (textual inversion).",
            search_aliases=["textual inversion", "embedding", "reference image"],
            inputs=[Model.Input("model", tooltip="From Load LIVE Model."),
                    io.Image.Input("photo", tooltip="One picture of the thing, without transparency. It is scaled and cropped to the clip's size."),
                    io.Image.Input("images", tooltip="The clip's frames, for their size."),
                    io.String.Input("placeholder", default="<thing*>", tooltip="A new token that stands for the thing in prompts: one string without spaces that the model does not know."),
                    io.String.Input("initial_word", default="thing", tooltip="The word whose meaning the token starts from: one common word for what the photo shows."),
                    Concept.Input("concept", optional=True, tooltip="From another Bind Photo to Placeholder: to put several things into one clip, bind them one after another.")],
            outputs=[Concept.Output(display_name="concept")])

    @classmethod
    def execute(cls, model, photo, images, placeholder, initial_word, concept=()) -> io.NodeOutput:
        from ..live_core.concept import bind, check_photo, fit_photo
        check_photo(photo)
        with host.on_device(model):
            reference = model.encode_frames(fit_photo(photo, images.shape[1], images.shape[2])).cpu()
            return io.NodeOutput(bind(placeholder, initial_word, reference, model.tokenizer, model.text_encoder, concept))
