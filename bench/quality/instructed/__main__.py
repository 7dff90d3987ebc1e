"""Edits by instruction: frame by frame, and with key frames that all frames read (VIA), on clips of fresh seeds; by the
base, and by a model that has learned one edit of one frame (VIA's test-time adaptation).

    python -m bench.quality.instructed --judge ~/demo-training-instruct                  # sixteen clips; three minutes
    python -m bench.quality.instructed --judge ~/demo-training-instruct --adapt 50 100 200 400             # an hour

`done`: the part of the frames that show what was asked for, as the judge reads them. `one choice`: the part that shows
the clip's commonest shape and colour; of a vague instruction many are right, but they must be one. `as root`: the part
that shows the shape and colour of the edit that was learned; all rows of a clip are held to the same one. `rest`: PSNR
in dB where the instruction leaves the clip alone. Edits start from another seed than those of which one is learned.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
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
from live_core.adapt_settings import AdaptSettings
from live_core.adaptation import adapt
from live_core.instruct import instruct
from live_core.instruct_settings import INSTRUCT_METHODS, Instruction, InstructMethod
from live_core.pretrained import LiveModel, load_folder
from live_core.root_pairs import RootPair, chosen, root_pairs
from live_core.tunings import Tuning
from live_core.video_unet import EDIT

FIRST_SEED = 2_600_000_000
KINDS = ("object", "colour", "any-colour", "any-object")
MEASURES = ("done", "one choice", "as root", "rest")
STEPS = 10
LEARNING_RATE = 1e-3  # of an adaptation of the demo model
SEED = 1000  # of the edits; those of which one is learned start from 0


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


def guided(method: InstructMethod) -> InstructMethod:
    return replace(method, guidance_scale=WORDS, image_guidance_scale=PICTURE)


def adapted(
    model: LiveModel, case: tuple[str, str, Clip, Clip], steps: Sequence[int]
) -> tuple[RootPair, dict[int, LiveModel]]:
    """The edit of the best score, and the model after it has learned it for each number of `steps`; all are on one way,
    for a step depends on none after it."""
    _, text, clip, _ = case
    asked, settings = Instruction(text, STEPS), AdaptSettings(max(steps, default=0), LEARNING_RATE)
    pairs = root_pairs(model, to_pictures(clip.frames()), asked, method=guided(INSTRUCT_METHODS["instruct-pix2pix"]))
    root, models = pairs[chosen(pairs, 0)], {}

    def keep(step: int, _total: int, _latents: torch.Tensor) -> None:
        if step in steps:
            now = {name: weight.detach().clone() for name, weight in model.unet.trainable(EDIT).items()}
            models[step] = replace(model, tuning=Tuning(now, None, (), text, model.fingerprint, learns=EDIT))

    adapt(model, root.before, root.after, asked, settings, keep)
    return root, models


def looks(judge: Judge, pictures: torch.Tensor) -> list[tuple[str, str]]:
    """Shape and colour of each picture (3, s, s), -1..1, as the judge reads them."""
    read = {name: judge(pictures)[name].argmax(-1).tolist() for name in ("shape", "colour")}
    return [(LABELS["shape"][s], LABELS["colour"][c]) for s, c in zip(read["shape"], read["colour"], strict=True)]


@torch.no_grad()
def measure(
    model: LiveModel, judge: Judge, method: InstructMethod, case: tuple[str, str, Clip, Clip], root: RootPair
) -> dict[str, float]:
    kind, text, clip, after = case
    frames = model.encode_frames(to_pictures(clip.frames()))
    latents = instruct(model, frames, Instruction(text, STEPS, SEED), guided(method))
    edited, learned = (x.permute(0, 3, 1, 2) * 2 - 1 for x in (model.decode_frames(latents), root.after[None]))
    asked = [Asked(kind, text, frame(clip, i), frame(after, i)) for i in range(len(clip))]
    seen, (wanted,) = looks(judge, edited), looks(judge, learned)
    return {
        "done": float(np.mean(done(judge, asked, edited))),
        "one choice": Counter(seen).most_common(1)[0][1] / len(seen),
        "as root": seen.count(wanted) / len(seen),
        "rest": float(np.mean([rest(a, picture) for a, picture in zip(asked, edited, strict=True)])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", type=Path, required=True, help="folder with the judge; trained there when absent")
    parser.add_argument("--count", type=int, default=4, help="clips of each kind")
    parser.add_argument("--adapt", type=int, nargs="*", default=[], help="learn the best edit for so many steps")
    args = parser.parse_args()
    model, (judge, _) = load_folder(MODEL.with_name("model_instruct")), train_judge(args.judge)
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    for case in cases(args.count):
        root, models = adapted(model, case, args.adapt)
        for name, method in INSTRUCT_METHODS.items():
            for steps, each in ((0, model), *models.items()):
                label = f"{name}, {steps} steps" if args.adapt else name
                rows.setdefault((case[0], label), []).append(measure(each, judge, method, case, root))
    print(f"| kind | method | clips | {' | '.join(MEASURES)} |\n{'|---' * (3 + len(MEASURES))}|")
    for (kind, name), found in sorted(rows.items()):
        means = (f"{np.mean([row[m] for row in found]):.3g}" for m in MEASURES)
        print(f"| {kind} | {name} | {len(found)} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
