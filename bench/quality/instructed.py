"""Edits by instruction: frame by frame, and with key frames that all frames read (VIA), on clips of fresh seeds.

    python -m bench.quality.instructed --judge ~/demo-training-instruct          # sixteen clips; three minutes

`done`: the part of the frames that show what was asked for, as the judge reads them. `one choice`: the part that shows
the clip's commonest shape and colour; of a vague instruction many are right, but they must be one. `rest`: PSNR in dB
where the instruction leaves the clip alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from demo.frames import to_pictures
from demo.instructions import instruct as ask
from demo.train import MODEL
from demo.training.instructed import PICTURE, WORDS, Asked, done, rest
from demo.training.judge import LABELS, Judge, train_judge
from demo.world import Clip, make_clip
from live_core.instruct import instruct
from live_core.instruct_settings import INSTRUCT_METHODS, Instruction, InstructMethod
from live_core.pretrained import LiveModel, load_folder

FIRST_SEED = 2_600_000_000
KINDS = ("object", "colour", "any-colour", "any-object")
MEASURES = ("done", "one choice", "rest")
STEPS = 10


def cases(count: int) -> list[tuple[str, str, Clip, Clip]]:
    """(kind, instruction, clip, a right answer), `count` of each kind."""
    found = []
    for index in range(count):
        for k, kind in enumerate(KINDS):
            seed = FIRST_SEED + 1000 * k + index
            clip = make_clip(seed)
            text, after = ask(clip, kind, np.random.default_rng(seed))
            found.append((kind, text, clip, after))
    return found


def frame(clip: Clip, i: int) -> Clip:
    """One frame of a clip, as a clip."""
    tracks = (type(t)(*((values[i],) for values in (t.x, t.y, t.radius, t.angle))) for t in clip.tracks)
    return replace(clip, tracks=tuple(tracks), phase=(clip.phase[i],))


@torch.no_grad()
def measure(
    model: LiveModel, judge: Judge, method: InstructMethod, case: tuple[str, str, Clip, Clip]
) -> dict[str, float]:
    kind, text, clip, after = case
    method = replace(method, guidance_scale=WORDS, image_guidance_scale=PICTURE)
    latents = instruct(model, model.encode_frames(to_pictures(clip.frames())), Instruction(text, STEPS), method)
    edited = model.decode_frames(latents).permute(0, 3, 1, 2) * 2 - 1
    asked = [Asked(kind, text, frame(clip, i), frame(after, i)) for i in range(len(clip))]
    read = judge(edited)
    seen = [tuple(LABELS[name][int(read[name][i].argmax())] for name in ("shape", "colour")) for i in range(len(clip))]
    return {
        "done": float(np.mean(done(judge, asked, edited))),
        "one choice": Counter(seen).most_common(1)[0][1] / len(seen),
        "rest": float(np.mean([rest(a, picture) for a, picture in zip(asked, edited, strict=True)])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", type=Path, required=True, help="folder with the judge; trained there when absent")
    parser.add_argument("--count", type=int, default=4, help="clips of each kind")
    args = parser.parse_args()
    model, (judge, _) = load_folder(MODEL.with_name("model_instruct")), train_judge(args.judge)
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for case in cases(args.count):
        for name, method in INSTRUCT_METHODS.items():
            rows.setdefault((case[0], name), []).append(measure(model, judge, method, case))
    print(f"| kind | method | clips | {' | '.join(MEASURES)} |\n{'|---' * (3 + len(MEASURES))}|")
    for (kind, name), found in sorted(rows.items()):
        means = (f"{np.mean([row[m] for row in found]):.3g}" for m in MEASURES)
        print(f"| {kind} | {name} | {len(found)} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
