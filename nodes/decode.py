from comfy_api.v0_0_2 import io

from . import host
from .node import Node
from .sockets import Model


class DecodeLatents(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Decode",
            display_name="Decode Latents",
            category="LIVE",
            description="Turn latents into frames, by a LIVE model's own autoencoder.",
            search_aliases=["vae decode", "join parts", "latents to images"],
            inputs=[
                Model.Input("model", tooltip="The model that made the latents."),
                io.Latent.Input("latents", tooltip="Of Edit by Instruction, or of Load Latent."),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, model, latents) -> io.NodeOutput:
        with host.on_device(model):
            return io.NodeOutput(host.to_images(model.decode_plain(latents["samples"])))
