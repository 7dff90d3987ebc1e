"""Calls of the headless client, and the graphs it is given."""

import subprocess
import sys

from conftest import ROOT
from graphs import FEW

SETS = [f"--set={target}={value}" for target, value in FEW.items()]


def client(*arguments, server=None, **options):
    there = [] if server is None else ["--server", getattr(server, "url", server), "--quiet"]
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "headless.py"), "run", *map(str, arguments), *there],
        capture_output=True,
        text=True,
        **options,
    )


def fitting(frames: int = 24) -> dict:
    """A graph for one's own clip, which needs no model."""
    return {
        "1": ("LoadVideo", {"file": "live_demo_clip.mp4"}),
        "2": ("LIVE_FitClip", {"video": ["1", 0], "frames": frames}),
        "3": ("CreateVideo", {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}),
        "4": ("SaveVideo", {"video": ["3", 0], "filename_prefix": "fitted", "format": "mp4", "codec": "h264"}),
    }
