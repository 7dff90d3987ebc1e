"""Edits by words alone, with true answers: every zero-shot method on colours, shapes, scenes and removals.

    python -m bench.quality.text                              # 12 cases, every method; about half an hour on one core
    python -m bench.quality.text --kinds colour --methods fatezero-attribute blended-latent --out /tmp/text

Rows already in <out>/rows.jsonl are not measured again.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from demo.measure import nearest, psnr, temporal_consistency
from demo.train import MODEL
from demo.world import COLOURS, SCENES, SHAPES, Clip, make_clip, random_thing
from live_core.editing import Edit, edit
from live_core.inversion import find_null_text, invert
from live_core.methods import (BLENDED_LATENT, DDIM, FATEZERO_ATTRIBUTE, FATEZERO_SHAPE, FATEZERO_STYLE, PROMPT_TO_PROMPT, TAV_DDIM, VID2VID_ZERO, VIDEO_P2P, Method)
from live_core.pretrained import LiveModel, load_folder
from PIL import Image, ImageDraw

from .report import interval

FIRST_SEED = 2_150_000_000
KINDS = ("colour", "shape", "scene", "removal")
# Published settings, zero-shot; "+null": with null text.
SYSTEMS: dict[str, Method] = {"fatezero": FATEZERO_ATTRIBUTE, "fatezero-shape": FATEZERO_SHAPE, "fatezero-style": FATEZERO_STYLE, "blended-latent": BLENDED_LATENT,
                              "prompt-to-prompt": PROMPT_TO_PROMPT, "video-p2p-fast": VIDEO_P2P, "video-p2p+null": VIDEO_P2P, "vid2vid-zero+null": VID2VID_ZERO,
                              "tav-ddim": TAV_DDIM, "ddim": DDIM}


@dataclass(frozen=True)
class TextCase:
    """`others`: clips that the judge may mistake the edit for. `edited_words`: what to look for in the clip's prompt."""
    name: str
    clip: Clip
    prompt: str
    truth: Clip
    others: tuple[Clip, ...]
    edited_words: str = ""

    @property
    def prompts_align(self) -> bool:
        return len(self.prompt.split()) == len(self.clip.caption.split())


def make(kind: str, index: int) -> TextCase:
    seed = FIRST_SEED + 1000 * KINDS.index(kind) + 10 * index
    rng = np.random.default_rng(seed)
    clip = make_clip(seed, 8, (random_thing(rng),))
    thing = clip.things[0]
    if kind in ("colour", "shape"):
        values = [v for v in rng.permutation(list(COLOURS if kind == "colour" else SHAPES)) if v != getattr(thing, kind)]
        changed = [clip.swap(0, replace(thing, **{kind: str(v)})) for v in values]
        return TextCase(f"{kind}-{index}", clip, changed[0].caption, changed[0], (clip, clip.without(0), *changed[1:]))
    if kind == "scene":
        scenes = [replace(clip, scene=str(s), caption=clip.caption.replace(SCENES[clip.scene].place, SCENES[str(s)].place)) for s in rng.permutation(list(SCENES)) if s != clip.scene]
        return TextCase(f"scene-{index}", clip, scenes[0].caption, scenes[0], (clip, *scenes[1:]))
    gone = clip.without(0)
    others = tuple(clip.swap(0, random_thing(rng)) for _ in range(8))
    return TextCase(f"removal-{index}", clip, f"nothing {SCENES[clip.scene].place}", gone, (clip, *others), thing.name)


def method_for(case: TextCase, method: Method) -> Method:
    """The row with the word edit that the prompts allow."""
    return method if method.word_edit == "swap" else replace(method, word_edit="replace" if case.prompts_align else "refine")


def measure(case: TextCase, frames: np.ndarray) -> dict[str, float]:
    """`accuracy`: frames in which the true answer is the nearest of all that it could be mistaken for: in the thing's window, or for
    scenes outside it. `shape_iou`: of what differs from the empty true scene with the true thing. `background_psnr_db`: against the
    true answer outside the thing."""
    truth = case.truth.frames()
    near = np.maximum(case.clip.masks(0), case.truth.masks(0) if case.truth.things else 0) > 0.01
    whole = case.name.startswith("scene")
    shown = nearest([truth, *(other.frames() for other in case.others)], frames, ~near if whole else near)
    out = {"accuracy": float(np.mean(shown)), "background_psnr_db": psnr(truth, frames, ~near), "temporal_consistency": temporal_consistency(frames)}
    if case.truth.things:
        empty, mask = case.truth.without(0).frames().astype(float), case.truth.masks(0) > 0.5
        found = np.abs(frames - empty).max(-1) > 30
        out["shape_iou"] = float(np.mean([(f & m).sum() / max((f | m).sum(), 1) for f, m in zip(found, mask)]))
    return out


def run(model: LiveModel, case: TextCase, system: str, steps: int) -> tuple[dict, np.ndarray]:
    method = method_for(case, SYSTEMS[system])
    started = time.monotonic()
    inversion = invert(model, model.encode_frames(torch.from_numpy(case.clip.frames()).float() / 255), case.clip.caption, method, steps)
    if system.endswith("+null"):
        inversion = find_null_text(model, inversion, method.guidance_scale, 5)
    result = edit(model, inversion, Edit(case.prompt, source_words=case.edited_words), method)
    frames = (model.decode_frames(result.latents) * 255).round().byte().numpy()
    return {**measure(case, frames), "seconds": time.monotonic() - started}, frames


def attention_megabytes(model: LiveModel, case: TextCase, method: Method, steps: int) -> float:
    """What "ram" keeps of the source's attention for this method; "recompute" keeps 0."""
    if not (method.cross_ratio or method.self_ratio or method.blend_threshold):
        return 0.0
    return invert(model, model.encode_frames(torch.from_numpy(case.clip.frames()).float() / 255), case.clip.caption, method, steps, "ram").store.nbytes() / 1e6


def table(rows: list[dict], memory: dict[str, float]) -> str:
    rng, lines = np.random.default_rng(0), []
    for kind in KINDS:
        names = [m for m in ("accuracy", "shape_iou", "background_psnr_db", "temporal_consistency") if kind != "removal" or m != "shape_iou"]
        lines += [f"### {kind}", "", "| system | cases | " + " | ".join(f"{n} ↑" for n in names) + " | seconds | attention kept by `ram`, MB |", "|---" * (len(names) + 4) + "|"]
        for system in SYSTEMS:
            own = [r for r in rows if r["system"] == system and r["case"].startswith(kind)]
            if own:
                values = {n: np.array([r[n] for r in own]) for n in names}
                cells = [f"{v.mean():.3g} [{interval(v, rng)[0]:.3g}, {interval(v, rng)[1]:.3g}]" for v in values.values()]
                lines.append(f"| {system} | {len(own)} | " + " | ".join(cells) + f" | {np.mean([r['seconds'] for r in own]):.0f} | {memory.get(system, float('nan')):.1f} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--methods", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--count", type=int, default=3, help="cases of each kind")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("output/quality-text"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model, log = load_folder(MODEL), args.out / "rows.jsonl"
    rows = {(r["case"], r["key"]): r for r in map(json.loads, log.read_text().splitlines() if log.exists() else ())}
    cases = [make(kind, i) for kind in args.kinds for i in range(args.count)]
    keys = {s: hashlib.sha256(repr((model.fingerprint, args.steps, s, SYSTEMS[s])).encode()).hexdigest()[:12] for s in args.methods}
    for case in cases:
        for system, key in keys.items():
            if (case.name, key) not in rows:
                measures, frames = run(model, case, system, args.steps)
                Image.fromarray(np.concatenate(list(frames), 1)).save(args.out / f"{case.name}-{key}.png")
                rows[case.name, key] = {"case": case.name, "key": key, "system": system, **measures}
                with log.open("a") as file:
                    file.write(json.dumps(rows[case.name, key]) + "\n")
                print(f"{case.name:12} {system:20} " + "  ".join(f"{k} {v:.3f}" for k, v in measures.items()), flush=True)
        strips = {"source": case.clip.frames(), **{s: args.out / f"{case.name}-{key}.png" for s, key in keys.items()}, "true answer": case.truth.frames()}
        sheet = Image.new("RGB", (150 + 8 * 128, 128 * len(strips)), "white")
        for i, (name, strip) in enumerate(strips.items()):
            sheet.paste(Image.open(strip) if isinstance(strip, Path) else Image.fromarray(np.concatenate(list(strip), 1)), (150, 128 * i))
            ImageDraw.Draw(sheet).text((4, 128 * i + 60), name, fill="black")
        sheet.save(args.out / f"sheet-{case.name}.png")
    memory = {s: attention_megabytes(model, cases[0], SYSTEMS[s], args.steps) for s in args.methods}
    chosen = [row for (name, key), row in rows.items() if key in keys.values() and name in {case.name for case in cases}]
    (args.out / "TABLE.md").write_text(f"Model {model.fingerprint}, {args.steps} DDIM steps, 8 frames of 128x128, nothing trained.\n\n" + table(chosen, memory))
    print(f"wrote {args.out / 'TABLE.md'}")


if __name__ == "__main__":
    main()
