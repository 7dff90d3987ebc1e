"""LIVE, its ablations and the baselines on seeded cases with true answers.

    python -m bench.quality                                  # every case, every variant; hours on two cores
    python -m bench.quality --cases inside fast-0 --variants live tav-ddim-ti --out /tmp/quality

Results are kept row by row in <out>/rows.jsonl and not measured twice: a run that was stopped goes on, and several may share
a folder (`--part 0/2`, `--part 1/2`). Tables, intervals, plots and contact sheets are drawn from the rows at the end.
"""
from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from demo.cases import Case
from demo.measure import measure, psnr, touched
from demo.train import MODEL
from live_core import metrics
from live_core.compositing import composite, soften
from live_core.concept import bind
from live_core.editing import Edit, Edited, edit
from live_core.inversion import Inversion, invert
from live_core.methods import Method
from live_core.pretrained import LiveModel, load_folder
from live_core.tuning import TuneSettings, tune
from PIL import Image

from .cases import KINDS, all_cases
from .report import UNEDITED, key_of, write_report
from .variants import VARIANTS, Variant


class Bench:
    """Runs variants on one case; what two variants share (tunings, inversions, edits) is made once."""

    def __init__(self, model: LiveModel, case: Case, steps: int):
        self.model, self.case, self.steps = model, case, steps
        self.clip = torch.from_numpy(case.clip.frames()).float() / 255
        self.latents = model.encode_frames(self.clip)
        self._made: dict[tuple, tuple[object, float]] = {}

    def _once(self, key: tuple, make):
        if key not in self._made:
            started = time.monotonic()
            self._made[key] = make(), time.monotonic() - started
        return self._made[key]

    def tuned(self, settings: TuneSettings) -> tuple[LiveModel, float]:
        def make():
            concepts = ()
            for swap in self.case.swaps:
                photo = self.model.encode_frames(torch.from_numpy(swap.photo.frames()).float() / 255)
                concepts = bind(swap.placeholder, swap.initial_word, photo, self.model.tokenizer, self.model.text_encoder, concepts)
            return self.model.with_tuning(tune(self.model, self.latents, self.case.prompt, concepts, settings))
        return self._once(("tune", settings), make)

    def inverted(self, tuning: TuneSettings, method: Method) -> tuple[Inversion, float]:
        seen = replace(method, name="", cross_ratio=0, self_ratio=0, blend_threshold=None, guidance_scale=1)
        model, _ = self.tuned(tuning)
        return self._once(("invert", tuning, seen.frame_plan, seen.latent_prompt), lambda: invert(model, self.latents, self.case.prompt, method, self.steps))

    def edited(self, variant: Variant) -> tuple[tuple[torch.Tensor, Edited], float]:
        def make():
            model, _ = self.tuned(variant.tuning)
            result = edit(model, self.inverted(variant.tuning, variant.method)[0], Edit(self.case.edit_prompt), variant.method)
            return self.model.decode_frames(result.latents), result
        return self._once(("edit", variant.tuning, variant.method), make)

    def run(self, variant: Variant) -> tuple[dict, np.ndarray]:
        """The measures, and the frames (f, H, W, 3) uint8."""
        (pictures, result), edit_seconds = self.edited(variant)
        mask = soften(result.mask, variant.dilation, variant.blur)
        frames = _bytes(composite(self.clip, pictures, mask))
        before = _bytes(pictures)
        seconds = self.tuned(variant.tuning)[1] + self.inverted(variant.tuning, variant.method)[1] + edit_seconds
        return {**row(self.case, frames, before, result.mask.numpy() > 0.5), "seconds": seconds}, frames


def _bytes(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().byte().numpy()


def row(case: Case, frames: np.ndarray, before: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Measures of `frames`, and of `before` the composite where they tell something else."""
    source, true = case.clip.frames(), touched(case)
    outside = ~true

    def ssim(edited: np.ndarray) -> float:
        a, b = (torch.from_numpy(x).float() / 255 for x in (edited, source))
        return float(metrics.ssim(a, b, torch.from_numpy(outside)).mean())
    return {**measure(case, frames),
            "mask_iou": float((mask & true).sum() / (mask | true).sum()),
            "background_ssim": ssim(frames),
            "background_psnr_before_db": psnr(source, before, outside),
            "background_ssim_before": ssim(before),
            "flicker": flicker(frames, source, outside)}


def flicker(frames: np.ndarray, source: np.ndarray, where: np.ndarray) -> float:
    """How much more the edit changes from frame to frame than the source does, in levels of 255, over pixels that are in `where` in both."""
    steady = where[1:] & where[:-1]
    change = np.abs(np.diff(frames.astype(float), axis=0) - np.diff(source.astype(float), axis=0)).mean(-1)
    return float(change[steady].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="*", default=list(KINDS), help="kinds, or single cases such as fast-0")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=25, help="DDIM steps")
    parser.add_argument("--part", default="0/1", help="I/N: every Nth case from the Ith on, to share the work")
    parser.add_argument("--out", type=Path, default=Path("output/quality"))
    args = parser.parse_args()
    part, parts = map(int, args.part.split("/"))
    cases = [case for case in all_cases() if case.name in args.cases or case.name.split("-")[0] in args.cases][part::parts]
    (args.out / "frames").mkdir(parents=True, exist_ok=True)
    log = args.out / "rows.jsonl"
    model = load_folder(MODEL)
    done = {(r["case"], r["key"]) for r in map(json.loads, log.read_text().splitlines() if log.exists() else ())}
    for case in cases:
        bench = Bench(model, case, args.steps)
        for name in (UNEDITED, *args.variants):
            key = key_of(name, model.fingerprint, args.steps)
            if (case.name, key) in done:
                continue
            if name == UNEDITED:
                frames = case.clip.frames()
                measures = row(case, frames, frames, np.zeros(frames.shape[:3], bool))
            else:
                measures, frames = bench.run(VARIANTS[name])
            Image.fromarray(np.concatenate(list(frames), 1)).save(args.out / "frames" / f"{case.name}-{key}.png")
            with log.open("a") as file:
                file.write(json.dumps({"case": case.name, "key": key, "variant": name, **measures}) + "\n")
            print(f"{case.name:14} {name:24} " + "  ".join(f"{k} {v:.3f}" for k, v in measures.items()), flush=True)
    write_report(args.out, model.fingerprint, args.steps, {case.name: case for case in all_cases()})
    print(f"wrote {args.out / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
