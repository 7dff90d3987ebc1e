"""Models: from a file or a folder, or from ComfyUI's MODEL, CLIP and VAE."""

from __future__ import annotations

import comfy.model_management as management
import torch

from . import patches
from .folders import path_of, shipped_models, tokenizer_folder

PRECISIONS = ["auto", "float32", "bfloat16", "float16"]


def dtype_of(precision: str) -> torch.dtype:
    """The number format that a precision names; "auto": float16 where ComfyUI would use it, else float32."""
    if precision == "auto":
        device = management.get_torch_device()
        precision = "float16" if device.type != "cpu" and management.should_use_fp16(device) else "float32"
    return getattr(torch, precision)


def load_model(name: str, dtype, weights: str = "main"):
    """The model of that name in `model_names`, with the `weights` of `live_core.checkpoints.WEIGHTS`."""
    from ...live_core import LiveError
    from ...live_core.checkpoints import MAIN, load_checkpoint
    from ...live_core.pretrained import load_folder

    if name.endswith(".safetensors"):
        return load_checkpoint(path_of("model", "checkpoints", name), tokenizer_folder(), dtype, weights)
    if weights != MAIN:
        raise LiveError(f"weights: {weights!r}, but {name!r:.100} is a folder, which has one kind; choose {MAIN!r}")
    return load_folder(shipped_models().get(name) or path_of("model", "diffusers", name), dtype)


def take_apart(model, clip, vae, name: str) -> dict:
    """What `live_core.checkpoints.load_state_dict` needs of a MODEL, CLIP and VAE: `state`, `schedule` and
    `last_layer`. LiveError, with `name`, for another architecture, before anything is loaded.

    `state` is what ComfyUI's Save Checkpoint would write: patches such as LoRAs worked in, the originals as they are.
    """
    from ...live_core.checkpoints import UNET, architecture_of

    architecture_of(
        {UNET + key: tuple(tensor.shape) for key, tensor in model.model.diffusion_model.state_dict().items()}, name
    )
    for socket, patcher in (("model", model), ("clip", clip.patcher), ("vae", vae.patcher)):
        _check_patches(socket, patcher)
    management.load_models_gpu([model, clip.load_model()])

    def settle(tensors: dict) -> dict:
        """What did not fit on the device is patched only when asked to move, and no other operation asks."""
        return {key: tensor.to("cpu") for key, tensor in tensors.items()}

    state = settle(model.state_dict_for_saving(settle(clip.state_dict_for_saving()), vae.get_sd(), None))
    return {"state": state, "schedule": schedule_of(model), "last_layer": clip.layer_idx}


def _check_patches(socket: str, patcher) -> None:
    """LiveError for what computes beside the weights, and a note for what else LIVE does not carry over."""
    from ...live_core import LiveError
    from ...live_core.notes import note

    if names := patches.injected(patcher):
        raise LiveError(
            f"{socket}: {', '.join(names)} is computed beside the weights, and LIVE reads weights alone; put Load LoRA"
            " in the place of Load LoRA (Bypass), which works it into the weights"
        )
    if names := patches.beside_weights(patcher):
        note(
            f"{socket}: {', '.join(names)} is no change of weights, so LIVE edits without it; take it out, or see to it"
            " that the edit can do without"
        )


def schedule_of(model):
    """The noise schedule a MODEL samples with: its checkpoint's, or what Model Sampling Discrete put in its place."""
    import comfy.model_sampling as sampling

    from ...live_core import LiveError
    from ...live_core.diffusion import Schedule

    own = model.get_model_object("model_sampling")
    kinds = {sampling.EPS: "epsilon", sampling.V_PREDICTION: "v_prediction"}
    # Of its own bases alone: subclasses of these predict something else.
    prediction = next((kinds[kind] for kind in type(own).__bases__ if kind in kinds), None)
    if prediction is None or not isinstance(own, sampling.ModelSamplingDiscrete):
        names = " and ".join(kind.__name__ for kind in type(own).__bases__)
        raise LiveError(
            f"model: it samples by {names}; LIVE takes models that predict noise or v, so set Model Sampling Discrete"
            " to eps or v_prediction"
        )
    return Schedule(1 / (own.sigmas.float().cpu() ** 2 + 1), prediction)
