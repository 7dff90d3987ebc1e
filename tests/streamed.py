"""What the nodes that stream are tested with: a graph from file to file, and small files."""

from pathlib import Path

import numpy as np
import videos
from test_footage import UNEVEN


def graph_of(node: str, model: str, asked: dict, changes: dict) -> dict:
    """A clip of eight frames, 64x48 of its 130x98 pixels; `changes`: node -> inputs."""
    nodes = {
        "model": ("LIVE_LoadModel", {"model": model, "precision": "float32"}),
        "load": ("LoadVideo", {"file": "streamed.mp4"}),
        "edit": (node, {"model": ["model", 0], "video": ["load", 0], "longest_side": 64, **asked}),
        "save": ("SaveVideo", {"video": ["edit", 0], "filename_prefix": "s", "format": "auto", "codec": "auto"}),
    }
    made = {name: {"class_type": kind, "inputs": dict(inputs)} for name, (kind, inputs) in nodes.items()}
    for name, inputs in changes.items():
        made.setdefault(name, {"inputs": {}})
        made[name]["inputs"] |= inputs
    return made


def write_files(folder: Path, masked: int) -> None:
    """The clip, one at an even rate, and masks: a square in so many frames, and of fewer frames than the clip."""
    drawn = videos.pictures(8, 130, 98)
    videos.write(folder / "streamed.mp4", drawn, moments=UNEVEN, tone=1.0)
    videos.write(folder / "even.mp4", drawn)
    square = np.zeros((8, 98, 130, 3), np.uint8)
    square[:masked, 32:64, 40:90] = 255
    videos.write(folder / "mask.mp4", square)
    videos.write(folder / "short.mp4", square[:5])
