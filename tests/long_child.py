"""Peak memory of an edit of 32 frames and then of 96, in bytes, as JSON."""

import json
import resource
import sys

import conftest  # noqa: F401  registers the packages
import torch
from conftest import ROOT

from demo.world import Thing, make_clip
from live_core.change import Edit
from live_core.long_clips import edit_long
from live_core.long_settings import LongEdit, Pasting
from live_core.methods import METHODS
from live_core.pretrained import load_folder


def main() -> None:
    model = load_folder(ROOT / "demo" / "model")
    clip = make_clip(7, 96, (Thing("ball", "red"),), height=64, width=64)
    images = torch.from_numpy(clip.frames()).float() / 255
    change = Edit(clip.caption.replace("red", "blue"))
    asked = LongEdit(clip.caption, change, METHODS[sys.argv[1]], steps=1, window=8, pasting=Pasting())
    peaks = []
    for frames in (32, 96):
        for _ in edit_long(model, lambda places: images[list(places)], frames, asked):
            pass
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
