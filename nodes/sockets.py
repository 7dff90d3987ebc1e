"""The pack's own socket types, and what may come through a socket."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

Model = io.Custom("LIVE_MODEL")
Concept = io.Custom("LIVE_CONCEPT")
Inversion = io.Custom("LIVE_INVERSION")
Records = io.Custom("LIVE_RECORDS")
MethodRow = io.Custom("LIVE_METHOD")
LocalLatents = io.Custom("LIVE_LOCAL")
Engine = io.Custom("LIVE_ENGINE")

# Socket type -> what to connect.
MAKERS = {
    "LIVE_MODEL": "Load LIVE Model, or Tune Video after it",
    "LIVE_CONCEPT": "Bind Photo to Placeholder",
    "LIVE_INVERSION": "Invert Video (DDIM)",
    "LIVE_RECORDS": "records of Edit Video",
    "LIVE_METHOD": "Method: Frames and Guidance, or a node after it",
    "LIVE_LOCAL": "Local Latent Adaptation",
    "LIVE_ENGINE": "Run on Ray",
    "CONDITIONING": "CLIP Text Encode, or another node that gives conditioning",
    "IMAGE": "pictures, from Fit Clip, Get Video Components or Load Image",
    "MASK": "a mask, from Edit Video or any node that makes masks",
    "LATENT": "latents of Edit by Instruction, or Load Latent",
    "VIDEO": "Load Video",
    "MODEL": "Load Checkpoint",
    "CLIP": "Load CLIP, since a checkpoint without a text encoder gives nothing",
    "VAE": "Load VAE, since a checkpoint without an autoencoder gives nothing",
    "CLIP_VISION": "Load CLIP Vision",
}
# Of ComfyUI's own types, whose classes other packs put others in the place of: what each must have to be read.
HAS = {
    "VIDEO": ("get_components",),
    "MODEL": ("model", "model_options", "state_dict_for_saving"),
    "CLIP": ("patcher", "tokenize"),
    "VAE": ("patcher", "get_sd"),
    "CLIP_VISION": ("model", "encode_image"),
}


def is_of(kind: str, value: object) -> bool:
    """Whether `value` can have come from a socket of that type: a link of any type fits it, and a graph may write
    anything in the place of a link."""
    import torch

    from ..live_core.concept import Concept
    from ..live_core.inversion import Inversion
    from ..live_core.local import Local
    from ..live_core.methods import Method
    from ..live_core.on_ray import OnRay
    from ..live_core.pretrained import LiveModel
    from ..live_core.records import Records

    if kind == "LIVE_CONCEPT":
        return isinstance(value, tuple) and bool(value) and all(isinstance(each, Concept) for each in value)
    classes = {
        "LIVE_MODEL": LiveModel,
        "LIVE_INVERSION": Inversion,
        "LIVE_RECORDS": Records,
        "LIVE_METHOD": Method,
        "LIVE_LOCAL": Local,
        "LIVE_ENGINE": OnRay,
        "CONDITIONING": list,
        "IMAGE": torch.Tensor,
        "MASK": torch.Tensor,
    }
    if kind == "LATENT":
        return isinstance(value, dict) and isinstance(value.get("samples"), torch.Tensor)
    if kind in classes:
        return isinstance(value, classes[kind])
    return all(hasattr(value, name) for name in HAS.get(kind, ()))
