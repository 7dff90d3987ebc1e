"""Devices and memory: where a run computes, and where its pictures go."""

from __future__ import annotations

from contextlib import contextmanager

import comfy.model_management as management
import torch


@contextmanager
def on_device(model):
    """The model's networks on ComfyUI's device for the length of a run.

    They go back afterwards: ComfyUI cannot move weights that only its cache of node outputs holds. And they move
    outside inference mode, in which ComfyUI runs nodes: weights that moved under it can never be trained.
    """
    from comfy.model_patcher import ModelPatcher

    from ...live_core.memory import with_less

    networks = model.networks
    patcher = ModelPatcher(networks, management.get_torch_device(), management.unet_offload_device())

    def move() -> None:
        # All that is free is for activations.
        management.load_models_gpu([patcher], memory_required=1e30, force_full_load=True)
        networks.to(management.get_torch_device())  # with --novram nothing has moved yet

    try:
        with torch.inference_mode(False), torch.no_grad():
            with_less("the model's weights", [("", move)])
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            patcher.detach()
        management.soft_empty_cache()


def to_images(frames):
    """Pictures on the device that ComfyUI passes between nodes; in main memory where that has no room, since they are
    done.
    """
    from ...live_core.memory import with_less

    ways = [("", lambda: frames.to(management.intermediate_device())), ("in main memory", frames.cpu)]
    return with_less("the result", ways)
