"""What a clip of any length takes to be edited from file to file: memory and time, by its frames.

    $COMFYUI_PYTHON -m bench.streaming 32 96 1440 [--method live] [--steps 1] [--window 16]

Each count is a process of its own: the demo clip, 128x128, to and fro, edited by the demo model for instructions, or,
by another method than VIA, by the demo model, which is not tuned.

On one CPU core, one step, windows of 16 and four key frames: 32 frames held 669 MB at most and took 0.120 s of the core
each, 96 frames 688 MB and 0.120 s, 1,440 frames 698 MB and 0.115 s. By method live 32 frames held 728 MB and took
0.142 s each, 1,440 frames 746 MB and 0.127 s; by fatezero-attribute 32 held 677 MB and took 0.124 s, 1,440 held 679 MB
and took 0.115 s.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VIA = "via"
CLIP = ROOT / "demo" / "cases" / "ball-to-star" / "clip.mp4"


def write_clip(path: Path, frames: int) -> None:
    import av

    with av.open(str(CLIP)) as source, av.open(str(path), "w") as out:
        shown = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        stream = out.add_stream("libx264", rate=24)
        stream.height, stream.width, _ = shown[0].shape
        stream.pix_fmt = "yuv420p"
        for picture in itertools.islice(itertools.cycle([*shown, *shown[-2:0:-1]]), frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode())


def peak() -> float:
    """MB that this process has held at most; Linux alone tells it of a process without that which started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def edited_by(method: str, frames: int, steps: int, size: int) -> tuple:
    """A model, the windows of a clip, what edits one, and what tells this edit from another."""
    from live_core import instruct_stream, long_stream
    from live_core.change import Edit
    from live_core.instruct_settings import Instruction
    from live_core.long_settings import LongEdit
    from live_core.methods import METHODS
    from live_core.pretrained import load_folder

    if method == VIA:
        model = load_folder(ROOT / "demo" / "model_instruct")
        told = instruct_stream.InstructedWindows(Instruction("turn the red ball into a blue star", steps))
        return model, told.windows(model, frames, size), partial(instruct_stream.edit_task, asked=told), told.key(model)
    model = load_folder(ROOT / "demo" / "model")
    prompt, change = "a red ball moving on the meadow", Edit("a blue ball moving on the meadow")
    asked = long_stream.PromptedWindows(LongEdit(prompt, change, METHODS[method], steps, size), frames)
    return model, asked.windows(model), partial(long_stream.edit_task, asked=asked), asked.key(model)


def measure(frames: int, method: str, steps: int, size: int) -> dict:
    import torch

    from live_core.engine import Here
    from live_core.footage import File
    from live_core.streaming import Job, stream

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, frames)
        clip = File(lambda: str(path))
        model, windows, edit, key = edited_by(method, len(clip), steps, size)
        began = time.time(), time.process_time()
        run = partial(Here().map, edit, model, progress=lambda *done: None)
        stream(Job(clip, windows, key), run, Path(folder) / "parts", Path(folder) / "out.mp4")
        wall, cpu = time.time() - began[0], time.process_time() - began[1]
    return {
        "method": method,
        "frames": frames,
        "MB": round(peak()),
        "seconds": round(wall),
        "CPU seconds a frame": round(cpu / frames, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=int, nargs="+")
    parser.add_argument("--method", default=VIA, help=f"{VIA}, or one of those by prompts, such as live")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.frames[0], args.method, args.steps, args.window)), flush=True)
        return
    for frames in args.frames:
        asked = ["--method", args.method, "--steps", str(args.steps), "--window", str(args.window), "--here"]
        subprocess.run([sys.executable, "-m", "bench.streaming", str(frames), *asked], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
