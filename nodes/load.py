from comfy_api.v0_0_2 import io

from . import host
from .node import LATER, Node
from .sockets import Model

WORDS = ("prompt", "edit_prompt", "initial_word")  # of a demo case
FIRST_WORDS = 4  # the first output that gives them


class LoadModel(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_LoadModel",
            display_name="Load LIVE Model",
            category="LIVE",
            description=(
                "Load a Stable Diffusion 1.x or 2.x model as a video model: the small demo model that ships with this"
                " pack, a folder of models/diffusers, or a file of models/checkpoints. Text-to-image, InstructPix2Pix,"
                " inpainting and Paint-by-Example models are told apart."
            ),
            search_aliases=["inflate", "tune-a-video", "stable diffusion video", "instruct pix2pix"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=host.model_names(),
                    tooltip=(
                        "The shipped demo model, a folder of models/diffusers, or a .safetensors file of"
                        " models/checkpoints: Stable Diffusion 1.x or 2.x."
                    ),
                ),
                _precision_input(),
                io.Combo.Input(
                    "weights",
                    options=["main", "ema"],
                    default="main",
                    advanced=True,
                    **LATER,
                    tooltip=(
                        "Which of the U-Net's weights a file that holds both gives: those that ComfyUI's own loader"
                        " takes, or their moving average over training (EMA). The others take no memory."
                    ),
                ),
            ],
            outputs=[Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, precision, weights="main") -> io.NodeOutput:
        from dataclasses import replace

        loaded = host.load_model(model, host.dtype_of(precision), weights)
        return io.NodeOutput(replace(loaded, embeddings=host.embedding_files))


class FromComfy(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_FromComfy",
            display_name="LIVE Model from MODEL, CLIP, VAE",
            category="LIVE",
            description=(
                "Make a LIVE model of what ComfyUI's own loaders give, with LoRAs worked in. Stable Diffusion 1.x or"
                " 2.x: text-to-image, InstructPix2Pix or inpainting."
            ),
            search_aliases=["inflate", "lora", "load checkpoint"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Checkpoint, with any LoRAs on it."),
                io.Clip.Input("clip", tooltip="The text encoder, with the same LoRAs."),
                io.Vae.Input("vae", tooltip="The autoencoder."),
                _precision_input(),
            ],
            outputs=[Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model, clip, vae, precision) -> io.NodeOutput:
        from dataclasses import replace

        from ..live_core.checkpoints import load_state_dict

        name = "MODEL, CLIP, VAE"
        parts = host.take_apart(model, clip, vae, name)
        loaded = load_state_dict(
            **parts, tokenizer_folder=host.tokenizer_folder(), name=name, dtype=host.dtype_of(precision)
        )
        return io.NodeOutput(replace(loaded, embeddings=host.embedding_files))


class DemoClip(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_DemoClip",
            display_name="LIVE Demo Clip and Photo",
            category="LIVE/demo",
            description=(
                "A clip, a photo and their words that ship with this pack. For your own, link Load Video in the place"
                " of its video and Load Image in the place of its photo."
            ),
            inputs=[
                io.Combo.Input("case", options=host.demo_cases(), tooltip="Which shipped clip, photo and words."),
                io.Int.Input(
                    "frames",
                    default=8,
                    min=1,
                    max=4096,
                    **LATER,
                    tooltip="The clip has 8. For more it runs back to its first frame, forth again, and so on.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Image.Output(display_name="photo"),
                io.Float.Output(display_name="fps"),
                io.Video.Output(display_name="video"),
                *(io.String.Output(display_name=name) for name in WORDS),
            ],
        )

    @classmethod
    def execute(cls, case, frames=8) -> io.NodeOutput:
        from dataclasses import replace

        import numpy as np
        import torch
        from comfy_api.v0_0_2 import InputImpl
        from PIL import Image

        folder = host.PACK / "demo" / "cases" / case
        video = InputImpl.VideoFromFile(str(folder / "clip.mp4"))
        clip = video.get_components()
        if frames != len(clip.images):
            clip = replace(clip, images=clip.images[back_and_forth(len(clip.images), frames)])
            video = InputImpl.VideoFromComponents(clip)
        photo = torch.from_numpy(np.asarray(Image.open(folder / "photo.png").convert("RGB"), np.float32) / 255)[None]
        words = (demo_words(case, output) for output in range(FIRST_WORDS, FIRST_WORDS + len(WORDS)))
        return io.NodeOutput(clip.images, photo, float(clip.frame_rate), video, *words)


def back_and_forth(length: int, frames: int) -> list[int]:
    """So many frames of a clip of that length, which runs to its end, back to its beginning, and so on.

    >>> back_and_forth(3, 8)
    [0, 1, 2, 1, 0, 1, 2, 1]
    """
    there_and_back = [*range(length), *range(length - 2, 0, -1)]
    return [there_and_back[i % len(there_and_back)] for i in range(frames)]


def demo_words(case: object, output: int) -> str | None:
    """The text that Demo Clip gives of a case by an output's number; None where it gives none."""
    import json

    if case not in host.demo_cases() or not 0 <= output - FIRST_WORDS < len(WORDS):
        return None
    return json.loads((host.PACK / "demo" / "cases" / case / "case.json").read_text())[WORDS[output - FIRST_WORDS]]


def _precision_input() -> io.Input:
    return io.Combo.Input(
        "precision",
        options=host.PRECISIONS,
        default="auto",
        advanced=True,
        tooltip=(
            "Number format of the U-Net and the text encoder. auto: float16 on a GPU that computes in it, which halves"
            " the memory; float32 on a CPU."
        ),
    )
