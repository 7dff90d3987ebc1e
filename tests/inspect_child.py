"""Run by test_inspect.py with ComfyUI's Python: how much memory Show Attention takes for many rows of a clip. Prints
one JSON object.

python inspect_child.py <pack folder> <ComfyUI folder>
"""

import json
import sys
from pathlib import Path

from packages import load_package

PACK, COMFYUI = map(Path, sys.argv[1:3])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import torch  # noqa: E402


def peak() -> float:
    """Megabytes, of this process alone: getrusage's are also those of the process that started it."""
    return (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        / 1024
    )


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    load_package("live_pack", PACK)
    from live_pack import nodes
    from live_pack.live_core.prompts import Prompt
    from live_pack.live_core.records import Records, Side

    words = tuple("abcdefgh")
    side = Side(
        Prompt(" ".join(words), (), words, tuple((i,) for i in range(1, 9))),
        torch.rand(50, 8, 256, 9).half(),
        None,
        tuple(range(50)),
    )
    records, clip = Records("made-up", 50, 0, (16, 16), None, side, {}), torch.rand(8, 512, 512, 3)
    which = {"which": "steps", "words": "", "side": "edit", "first": 0.0, "last": 1.0, "rows": 5}
    # What is loaded once.
    nodes.Inspect.execute(records=records, images=clip[:, :16, :16].clone(), which={**which, "words": "a", "rows": 1})
    before = peak()
    output = nodes.Inspect.execute(records=records, images=clip, which=which)
    sheet, images, mask = (list(x.shape) for x in output.result)
    print(
        json.dumps(
            {"megabytes": peak() - before, "sheet": sheet, "images": images, "mask": mask, "notes": output.ui["text"]}
        )
    )


if __name__ == "__main__":
    main()
