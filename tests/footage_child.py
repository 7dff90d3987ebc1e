"""Run by test_footage.py with ComfyUI's Python: whether a file's pictures are those that ComfyUI reads, to the bit.
Prints a JSON object, file -> null or what differs.

python footage_child.py <pack folder> <ComfyUI folder> <file> ...
"""

import importlib.util
import json
import sys
from fractions import Fraction
from pathlib import Path

PACK, COMFYUI = map(Path, sys.argv[1:3])
FILES, sys.argv = sys.argv[3:], [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402  ComfyUI reads sys.argv when told to, before its other modules are imported

comfy.options.enable_args_parsing()
import torch  # noqa: E402
from comfy_api.latest._input_impl.video_types import VideoFromFile  # noqa: E402


def live_core(module: str):
    spec = importlib.util.spec_from_file_location(
        "live_core", PACK / "live_core" / "__init__.py", submodule_search_locations=[str(PACK / "live_core")]
    )
    sys.modules["live_core"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["live_core"])
    return importlib.import_module(f"live_core.{module}")


def differs(footage, file: str) -> str | None:
    for start, duration in ((0.0, 0.0), (0.25, 0.5)):
        theirs = VideoFromFile(file, start_time=start, duration=duration)
        parts = theirs.get_components()
        if not len(parts.images):  # of a file whose time begins later
            continue
        clip = footage.File(theirs.get_stream_source, start, duration)
        ours = torch.stack([picture for _, picture in clip.pictures(range(len(clip)))])
        if ours.shape != parts.images.shape:
            return f"from {start}: shapes {tuple(ours.shape)} and {tuple(parts.images.shape)}"
        if not torch.equal(ours, parts.images):
            return f"from {start}: {(ours - parts.images).abs().max():g}"
        if Fraction(clip.rate) != parts.frame_rate:
            return f"rates {clip.rate} and {parts.frame_rate}"
    return None


if __name__ == "__main__":
    footage = live_core("footage")
    print(json.dumps({Path(file).name: differs(footage, file) for file in FILES}))
