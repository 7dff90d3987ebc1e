"""Run by test_host.py with ComfyUI's Python: which number format a device gets, what a preview may cost, and what
MODELs of other architectures are told. Prints one JSON object.

    python device_child.py <pack folder> <ComfyUI folder>
"""

import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from packages import load_package

PACK, COMFYUI = map(Path, sys.argv[1:3])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import torch  # noqa: E402


def said_of(host, refusal: type[Exception], shapes: dict[str, tuple[int, ...]]) -> str:
    """Of a MODEL with these tensors, which is never loaded."""
    network = SimpleNamespace(
        state_dict=lambda: {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    )
    try:
        host.take_apart(SimpleNamespace(model=SimpleNamespace(diffusion_model=network)), object(), object(), "MODEL")
    except refusal as error:
        return str(error)


def shown(host, error: BaseException, latents: torch.Tensor) -> str:
    """How a step ends whose preview ends with `error`."""

    def fail(_):
        raise error

    try:
        host.Progress(SimpleNamespace(decode_frames=fail), 1)(1, 1, latents)
    except BaseException as ended:
        return type(ended).__name__
    return "went on"


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    load_package("live_pack", PACK)
    from live_pack.live_core import LiveError
    from live_pack.live_core.checkpoints import CONTEXT_KEY, UNET
    from live_pack.nodes import host

    first = {"input_blocks.0.0.weight": (320, 5, 3, 3), CONTEXT_KEY.removeprefix(UNET): (320, 768)}
    others = [
        said_of(host, LiveError, shapes)
        for shapes in ({"double_blocks.0.img_attn.qkv.weight": (9, 3)}, {"label_emb.0.0.weight": (4, 4)}, first)
    ]

    clip = torch.zeros(2, 4, 8, 8)
    choose = {}
    for device, half in (("cpu", True), ("cuda", True), ("cuda", False)):
        host.management.get_torch_device = partial(torch.device, device)
        host.management.should_use_fp16 = lambda _, half=half: half
        choose[f"{device}, {half}"] = str(host.dtype_of("auto"))

    previews = [
        shown(host, error, clip)
        for error in (
            RuntimeError("CUDA error: out of memory"),
            torch.linalg.LinAlgError("no solution"),
            LiveError("images: not finite"),
            host.management.InterruptProcessingException(),
        )
    ]
    print(
        json.dumps(
            {
                "auto": choose,
                "previews": previews,
                "others": others,
            }
        )
    )


if __name__ == "__main__":
    main()
