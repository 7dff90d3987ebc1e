"""A CLIP of ComfyUI's CLIP_VISION and CLIP sockets."""

from __future__ import annotations

import re

import torch


class ComfyClip:
    """The CLIP whose halves come from a CLIP_VISION and a CLIP socket, read as `live_core.metrics.CLIP` is. Without
    `text` it reads pictures only.

    Both halves must end in one space. ComfyUI fills a projection that its file lacks with zeros or with what the memory
    held, its older versions with the identity, and says nothing, since its samplers need none: those are refused with a
    LiveError, as is what is no CLIP.
    """

    def __init__(self, vision, text=None):
        from ...live_core import LiveError

        self.vision, self.clip = vision, text
        if vision.model_type != "clip_vision_model":
            raise LiveError(
                f"clip_vision: a {vision.model_type} is no CLIP; connect Load CLIP Vision with CLIP's own image"
                " encoder, ViT-L, ViT-H or ViT-bigG"
            )
        projection = vision.model.visual_projection.weight
        if not _is_filled(projection):
            raise LiveError(
                "clip_vision: its file has no visual_projection; connect Load CLIP Vision with a whole CLIP model, such"
                " as openai/clip-vit-large-patch14"
            )
        if text is None:
            return
        towers = (getattr(text.cond_stage_model, name, None) for name in ("clip_g", "clip_h", "clip_l"))
        tower = next((tower for tower in towers if tower), None)
        if tower is None:
            raise LiveError(
                "clip: this text encoder is no CLIP; connect Load CLIP with the text encoder of the CLIP whose image"
                " encoder clip_vision is"
            )
        self.projection = tower.transformer.text_projection.weight
        if not (_is_filled(self.projection) and _files_have_projection(text)):
            raise LiveError(
                "clip: this text encoder has no text_projection (Stable Diffusion 1.x checkpoints keep none), without"
                " which a score means nothing; connect Load CLIP with a whole CLIP model, such as"
                " openai/clip-vit-large-patch14's model.safetensors, or nothing, for Tem-Con alone"
            )
        if len(self.projection) != len(projection):
            raise LiveError(
                f"clip: its texts have {len(self.projection)} numbers and clip_vision's pictures {len(projection)};"
                " connect the two halves of one CLIP model: 768 is ViT-L, 1024 ViT-H, 1280 ViT-bigG"
            )

    def images(self, frames):
        """(f, d), each of length 1, for frames (f, H, W, 3): shorter side scaled to CLIP's size, then the middle."""
        from ...live_core.memory import in_parts
        from ...live_core.metrics import FRAMES_AT_ONCE

        encoded = in_parts(
            "CLIP",
            lambda part: self.vision.encode_image(frames[part])["image_embeds"].float(),
            len(frames),
            FRAMES_AT_ONCE,
        )
        return torch.nn.functional.normalize(encoded, dim=-1)

    def text(self, prompt: str):
        """(d,) of length 1. ComfyUI projects the texts of some models and not of others; so none, and the projection by
        hand.
        """
        from ...live_core import LiveError
        from ...live_core.metrics import note_cut

        tokens = self.clip.tokenize(re.sub(r"([()])", r"\\\1", prompt))  # its parentheses are signs; they weigh nothing
        for chunks in tokens.values():
            if len(chunks) > 1:  # the first of them is what ComfyUI pools
                note_cut(prompt, len(chunks[0]))
        _, pooled = self.clip.encode_from_tokens(tokens, return_pooled="unprojected")
        if pooled.shape[-1] != self.projection.shape[1]:
            raise LiveError(
                "clip: this text encoder joins several models; connect Load CLIP with the one whose image encoder"
                " clip_vision is"
            )
        projected = pooled.float() @ self.projection.to(pooled.device, torch.float32).T
        return torch.nn.functional.normalize(projected, dim=-1)[0]


def _is_filled(projection) -> bool:
    """Whether a weight can have come with its file."""
    weight = projection.float()
    square = weight.shape[0] == weight.shape[1]
    return bool(weight.isfinite().all() and weight.any(1).all()) and not (
        square and torch.equal(weight, torch.eye(len(weight)).to(weight))
    )


def _files_have_projection(clip) -> bool:
    """Whether a file that the text encoder was loaded from has a projection; True where ComfyUI kept no note of
    .safetensors files.
    """
    from safetensors import safe_open

    note = clip.patcher.cached_patcher_init  # (a loader of ComfyUI, its arguments): first the file or files
    paths = note[1][0] if note and note[1] else ()
    files = [path for path in ([paths] if isinstance(paths, str) else paths) if path.endswith(".safetensors")]
    return not files or any(
        name.endswith(("text_projection", "text_projection.weight"))
        for path in files
        for name in safe_open(path, "pt").keys()
    )
