"""Devices and memory: where a run computes, and where its pictures go."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import comfy.model_management as management
import torch
from comfy.model_patcher import ModelPatcher


class Resident(ModelPatcher):
    """A network that ComfyUI may load and evict as it needs the room, as it does its own, whole or not at all.

    It moves outside inference mode, in which ComfyUI runs nodes and what they evict: weights that moved under it can
    never be trained.
    """

    @torch.inference_mode(False)
    @torch.no_grad()
    def partially_load(self, device_to, extra_memory=0, force_patch_weights=False):
        """Whole also with --novram, which asks for nothing of it."""
        return super().partially_load(device_to, 1e32, force_patch_weights)

    def partially_unload(self, device_to, memory_to_free=0, force_patch_weights=False):
        """Nothing: ComfyUI then detaches all of it."""
        return 0

    @torch.inference_mode(False)
    @torch.no_grad()
    def detach(self, unpatch_all=True):
        return super().detach(unpatch_all)

    def __reduce__(self):
        """None: a copy of its network, here or on another machine, is not in ComfyUI's list."""
        return type(None), ()


def _resident(network: torch.nn.Module) -> Resident:
    """The network's only one, whichever models share it.

    It hangs on the network, since ComfyUI knows it by a weak reference: both are collected together, and until they are
    ComfyUI can evict them.
    """
    if vars(network).get("resident") is None:
        inside = torch.nn.ModuleList([network])  # a patcher sets `device`, which diffusers' networks do not let it
        network.resident = Resident(inside, management.get_torch_device(), management.unet_offload_device())
    return network.resident


@contextmanager
def on_device(model, memory="auto"):
    """The model's networks on ComfyUI's device for the length of a run, with all that is free left to activations:
    `memory`, of `economy.CHOICES`, says how they use it.

    They stay there for the next run, until ComfyUI loads what needs the room, or is told to free its models. What moves
    when can be seen on any device. That a card has the room again once they are evicted, only one can show.
    """
    from ...live_core.economy import room
    from ...live_core.memory import with_less

    networks = [_resident(network) for network in model.networks]
    load = partial(management.load_models_gpu, networks, memory_required=1e30)
    with_less("the model's weights", [("", load)])
    try:
        with room(_free, memory):
            yield
    finally:
        management.soft_empty_cache()


def _free():
    """Bytes that a run may take on ComfyUI's device."""
    return management.get_free_memory(management.get_torch_device()) - management.extra_reserved_memory()


def to_images(frames):
    """Pictures on the device that ComfyUI passes between nodes; in main memory where that has no room, since they are
    done.
    """
    from ...live_core.memory import with_less

    ways = [("", lambda: frames.to(management.intermediate_device())), ("in main memory", frames.cpu)]
    return with_less("the result", ways)
