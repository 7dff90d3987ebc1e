"""Run by test_straight.py with ComfyUI's Python: where a model's networks are, before, between and after runs.

ComfyUI is told to compute on `cpu:0`, and keeps models on `cpu`: two devices to it, and to PyTorch one. So all that
ComfyUI does for a card is done, and a network's number format shows where it is: float64 on the first. Prints one JSON
object, of what was found in each step.

    python residence_child.py <pack folder> <ComfyUI folder>
"""

import gc
import json
import pickle
import sys
import weakref
from pathlib import Path

from packages import load_package

PACK, COMFYUI = map(Path, sys.argv[1:3])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.model_management as management  # noqa: E402
import torch  # noqa: E402
from comfy.model_patcher import ModelPatcher  # noqa: E402

DEVICE = torch.device("cpu", 0)
moves: list[tuple[bool, bool]] = []  # whether to the device; whether in inference mode


def move(self, device):
    to_device = torch.device(device) == DEVICE
    moves.append((to_device, torch.is_inference_mode_enabled()))
    return torch.nn.Module.to(self, device, torch.float64 if to_device else torch.float32)


management.get_torch_device = lambda: DEVICE
torch.nn.ModuleList.to = move  # what stands for a network in ComfyUI's list
load_package("live_pack", PACK)
from live_pack.live_core.inversion import invert  # noqa: E402
from live_pack.live_core.methods import DDIM  # noqa: E402
from live_pack.live_core.null_text import find_null_text  # noqa: E402
from live_pack.live_core.pretrained import LiveModel, load_folder  # noqa: E402
from live_pack.live_core.tuning import TuneSettings, tune  # noqa: E402
from live_pack.live_core.workers import receive, send  # noqa: E402
from live_pack.nodes import host  # noqa: E402

CLIP = torch.zeros(2, 4, 8, 8)


def where(model: LiveModel) -> str:
    formats = {weight.dtype for weight in model.networks.parameters()}
    return "torn" if len(formats) > 1 else "on the device" if torch.float64 in formats else "off it"


def run(model: LiveModel) -> str:
    """One node's: where the networks are in it."""
    with host.on_device(model):
        return where(model)


def moved() -> list[int]:
    """How many networks moved in and out since this was asked last; an error if one did in inference mode."""
    assert not any(inference for _, inference in moves)
    counts = [sum(to is way for to, _ in moves) for way in (True, False)]
    moves.clear()
    return counts


def runs_in_a_row(model):
    return [run(model) for _ in range(4)], moved()


def a_tuned_model(model):
    with host.on_device(model):
        tuning = tune(model, CLIP, "a red ball", (), TuneSettings(clip_steps=1, photo_steps=0))
    return run(model.with_tuning(tuning)), len(tuning.tensors), len(management.current_loaded_models), moved()


def room_for_another(model):
    """ComfyUI's own model, that needs all of it; then ours again."""
    other = ModelPatcher(torch.nn.Linear(1, 1), DEVICE, torch.device("cpu"))
    management.load_models_gpu([other], memory_required=1e30)
    evicted = where(model), moved()
    return evicted, run(model), moved(), len(management.current_loaded_models)


def a_little_room(model):
    """A byte for another: no network goes in part."""
    free = management.get_free_memory
    management.get_free_memory = lambda device=None, torch_free_too=False: (0, 0) if torch_free_too else 0
    management.free_memory(1, DEVICE)
    management.get_free_memory = free
    evicted = where(model), moved()
    return evicted, run(model), moved()


def unloaded(model):
    """By the page's "Unload Models"; then a descent through weights that ComfyUI moved."""
    management.unload_all_models()
    evicted = where(model), moved()
    with host.on_device(model):
        null = find_null_text(model, invert(model, CLIP, "a red ball", DDIM, 1), 2.0, 1).null_text
    return evicted, len(null), moved()


def interrupted(model):
    try:
        with host.on_device(model):
            raise management.InterruptProcessingException
    except management.InterruptProcessingException:
        return run(model), moved()


def no_room(model):
    """For the second network; then there is."""

    def crowded(network, device):
        if torch.device(device) == DEVICE and moves:
            raise torch.OutOfMemoryError("no room")
        return move(network, device)

    management.unload_all_models()
    moves.clear()
    torch.nn.ModuleList.to = crowded
    try:
        run(model)
    except torch.OutOfMemoryError as error:
        said = str(error)
    torch.nn.ModuleList.to = move
    after = where(model)
    management.unload_all_models()  # as ComfyUI does when a node ran out of memory
    return said, after, where(model), run(model)


def novram(model):
    """What ComfyUI then asks for: a tenth of a byte."""
    management.unload_all_models()
    loaded = management.LoadedModel(model.unet.resident)
    loaded.model_load(0.1)
    return str(model.unet.dtype), loaded.model_offloaded_memory()


def copied(model):
    """As a worker on another machine is sent it."""
    run(model)
    there = receive(pickle.loads(pickle.dumps(send(model))), "cpu")
    before = [vars(network).get("resident") for network in there.networks]
    return before, run(there), len(management.current_loaded_models)


STEPS = (
    runs_in_a_row,
    a_tuned_model,
    room_for_another,
    a_little_room,
    unloaded,
    interrupted,
    no_room,
    novram,
    copied,
)


def collected() -> list[bool]:
    """Whether networks that nobody holds are gone, and ComfyUI's list is empty."""
    model = load_folder(PACK / "demo" / "model")
    run(model)
    networks = [weakref.ref(network) for network in model.networks]
    del model
    gc.collect()
    return [*(network() is None for network in networks), not management.current_loaded_models]


def main() -> None:
    with torch.inference_mode():  # as ComfyUI runs nodes
        model = load_folder(PACK / "demo" / "model")
        found = {step.__name__: step(model) for step in STEPS}
        del model
        found["collected"] = collected()
    print(json.dumps(found))


main()
