"""Figures that need a process of their own; prints them as one line of JSON.

python -m bench.speed.child memory 96
"""

from __future__ import annotations

import argparse
import json
import os

import torch

from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.long_clips import edit_long
from live_core.long_settings import LongEdit
from live_core.methods import METHODS
from live_core.pretrained import load_folder
from live_core.tuning import TuneSettings, tune

from ..clocks import peak_memory
from ..networks import DEMO, EDITED, PROMPT

WINDOW = 16
TAV = METHODS["tav-ddim"]


def by_frames(frames: int) -> list[tuple[str, float, str]]:
    model, method = load_folder(DEMO), METHODS["live"]
    clip = torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    inversion = invert(model, clip, PROMPT, method, 2)
    clocked: list[os.times_result] = []
    edit(model, inversion, Edit(EDITED), method, lambda *_: clocked.append(os.times()))
    user, system = ((clocked[1][i] - clocked[0][i]) / frames * 1000 for i in (0, 1))
    return [
        (f"{frames} frames: an edit's step, a frame", user + system, "ms"),
        (f"{frames} frames: of that the system's", system, "ms"),
    ]


def memory(frames: int) -> list[tuple[str, float, str]]:
    """In the order of what is asked of memory, since the most that a process has held never falls."""
    model = load_folder(DEMO)
    images = torch.rand(frames, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    found = [("loaded", peak_memory())]
    clip = torch.cat([model.encode_frames(part) for part in images.split(WINDOW)])
    tune(model, clip, PROMPT, (), TuneSettings(1, 0, latent_prompt=False, frame_plan=TAV.frame_plan, window=WINDOW))
    found.append(("tuned in windows", peak_memory()))
    asked = LongEdit(PROMPT, Edit(EDITED), TAV, steps=1, window=WINDOW)
    for _ in edit_long(model, lambda places: images[list(places)], frames, asked):
        pass
    found.append(("edited in windows", peak_memory()))
    inversion = invert(model, clip, PROMPT, TAV, 1)
    found.append(("inverted whole", peak_memory()))
    edited = edit(model, inversion, Edit(EDITED), TAV)
    found.append(("edited whole", peak_memory()))
    model.decode_frames(edited.latents)
    found.append(("decoded", peak_memory()))
    return [(f"{frames} frames: {stage}", held, "MB") for stage, held in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("frames", "memory"))
    parser.add_argument("frames", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"frames": by_frames, "memory": memory}[args.kind](args.frames)))


if __name__ == "__main__":
    main()
