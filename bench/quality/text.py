"""Edits by words alone, with true answers: every method on colours, shapes, scenes and removals, as they are and, where
its paper tunes, tuned.

    python -m bench.quality.text                              # 12 cases, every method; some two hours on one core
    python -m bench.quality.text --kinds colour --methods fatezero blended-latent --out /tmp/text

Rows are kept and shared as in the main bench (`--part 0/2`, `--part 1/2`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from demo.frames import to_frames, to_pictures
from demo.measure import nearest, psnr, temporal_consistency
from demo.train import MODEL
from demo.world import COLOURS, RIM, SCENES, SHAPES, Clip, make_clip, random_thing
from live_core.compositing import composite, soften
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import (
    BLENDED_LATENT,
    DDIM,
    FATEZERO_ATTRIBUTE,
    FATEZERO_SHAPE,
    FATEZERO_STYLE,
    PROMPT_TO_PROMPT,
    TAV_DDIM,
    TOKENFLOW,
    VID2VID_ZERO,
    VIDEO_P2P,
    Method,
)
from live_core.null_text import find_null_text
from live_core.pretrained import LiveModel, load_folder
from live_core.tuning import TuneSettings, tune

from .report import DRAWS, Measured, of_kind, plot, table, write_csv, write_sheets
from .rows import NULL_TEXT_STEPS, UNEDITED, Rows, add_arguments, key_of, weights_of
from .variants import NODES

FIRST_SEED = 2_150_000_000
KINDS = ("colour", "shape", "scene", "removal")
# 1: more is better.
MEASURES = {
    "accuracy": 1,
    "shape_iou": 1,
    "background_psnr_db": 1,
    "background_psnr_before_db": 1,
    "temporal_consistency": 1,
}
PLOTTED = ("accuracy", "background_psnr_db")
GUIDANCE = 3.5  # what the demo model wants; the published 7.5, of which one row is kept, burns its colours
KEPT = "attention_kept_mb"  # by `ram`, in results.csv
COMPOSITE = {"dilation": 1, "blur": 1.5}  # as the workflows ship
TUNE = NODES["LIVE_Tune"]


@dataclass(frozen=True)
class System:
    """`method`: published settings, but for guidance. `tuned`: on a model tuned to the clip. `null_text`: at most so
    many steps of null text for each DDIM step, 0 for none.
    """

    method: Method
    tuned: bool = False
    null_text: int = 0


SYSTEMS = {
    name: replace(system, method=replace(system.method, guidance_scale=GUIDANCE))
    for name, system in {
        "fatezero": System(FATEZERO_ATTRIBUTE),
        "fatezero-shape": System(FATEZERO_SHAPE),
        "fatezero-style": System(FATEZERO_STYLE),
        "blended-latent": System(BLENDED_LATENT),
        "prompt-to-prompt": System(PROMPT_TO_PROMPT),
        "video-p2p-fast": System(VIDEO_P2P),
        "video-p2p+null": System(VIDEO_P2P, null_text=NULL_TEXT_STEPS),
        "vid2vid-zero+null": System(VID2VID_ZERO, null_text=1),
        "tokenflow": System(TOKENFLOW),
        "tav-ddim": System(TAV_DDIM),
        "ddim": System(DDIM),
        "fatezero-shape+tuned": System(FATEZERO_SHAPE, tuned=True),
        "video-p2p+tuned+null": System(VIDEO_P2P, tuned=True, null_text=NULL_TEXT_STEPS),
        "tav-ddim+tuned": System(TAV_DDIM, tuned=True),
    }.items()
} | {"fatezero, guidance 7.5": System(FATEZERO_ATTRIBUTE)}


@dataclass(frozen=True)
class TextCase:
    """`others`: clips that the judge may mistake the edit for; `edited_words`: what to look for in its prompt."""

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
        values = [
            v for v in rng.permutation(list(COLOURS if kind == "colour" else SHAPES)) if v != getattr(thing, kind)
        ]
        changed = [clip.swap(0, replace(thing, **{kind: str(v)})) for v in values]
        return TextCase(f"{kind}-{index}", clip, changed[0].caption, changed[0], (clip, clip.without(0), *changed[1:]))
    if kind == "scene":
        scenes = [
            replace(clip, scene=str(s), caption=clip.caption.replace(SCENES[clip.scene].place, SCENES[str(s)].place))
            for s in rng.permutation(list(SCENES))
            if s != clip.scene
        ]
        return TextCase(f"scene-{index}", clip, scenes[0].caption, scenes[0], (clip, *scenes[1:]))
    gone = clip.without(0)
    others = tuple(clip.swap(0, random_thing(rng)) for _ in range(8))
    return TextCase(f"removal-{index}", clip, f"nothing {SCENES[clip.scene].place}", gone, (clip, *others), thing.name)


def method_for(case: TextCase, method: Method) -> Method:
    """The row with the word edit that the prompts allow."""
    return (
        method
        if method.word_edit == "swap"
        else replace(method, word_edit="replace" if case.prompts_align else "refine")
    )


def measure(case: TextCase, frames: np.ndarray, before: np.ndarray) -> dict[str, float]:
    """Of `frames`, and of the background `before` the composite.

    `accuracy`: frames in which the true answer is the nearest of all that it could be mistaken for: in the thing's
    window, or for scenes outside it. `shape_iou`: of the true thing with the pixels that are nearer to its colours than
    to the empty true scene. `background_psnr_db`: against the true answer outside the thing.
    """
    truth = case.truth.frames()
    near = np.maximum(case.clip.masks(0), case.truth.masks(0) if case.truth.things else 0) > 0.01
    whole = case.name.startswith("scene")
    shown = nearest([truth, *(other.frames() for other in case.others)], frames, ~near if whole else near)
    out = {
        "accuracy": float(np.mean(shown)),
        "background_psnr_db": psnr(truth, frames, ~near),
        "background_psnr_before_db": psnr(truth, before, ~near),
        "temporal_consistency": temporal_consistency(frames),
    }
    if case.truth.things:
        empty, mask = case.truth.without(0).frames().astype(float), case.truth.masks(0) > 0.5
        colour = np.array(COLOURS[case.truth.things[0].colour], float)
        # The nearest of the colours from fill to rim.
        shade = np.clip(frames @ colour / max(colour @ colour, 1), RIM, 1)[..., None]
        found = np.linalg.norm(frames - shade * colour, axis=-1) < np.linalg.norm(frames - empty, axis=-1)
        out["shape_iou"] = float(
            np.mean([(f & m).sum() / max((f | m).sum(), 1) for f, m in zip(found, mask, strict=True)])
        )
    return out


def run(model: LiveModel, case: TextCase, system: str, steps: int) -> tuple[dict[str, float], np.ndarray]:
    """A system's measures, and its frames (f, H, W, 3) uint8."""
    if system == UNEDITED:
        return measure(case, case.clip.frames(), case.clip.frames()), case.clip.frames()
    chosen = SYSTEMS[system]
    method = method_for(case, chosen.method)
    started = time.monotonic()
    clip = to_pictures(case.clip.frames())
    latents = model.encode_frames(clip)
    if chosen.tuned:
        settings = TuneSettings(
            clip_steps=TUNE["clip_steps"],
            photo_steps=0,
            clip_rate=TUNE["clip_rate"],
            latent_prompt=False,
            frame_plan=method.frame_plan,
            seed=TUNE["seed"],
        )
        model = model.with_tuning(tune(model, latents, case.clip.caption, (), settings))
    inversion = invert(model, latents, case.clip.caption, method, steps)
    if chosen.null_text:
        inversion = find_null_text(model, inversion, method.guidance_scale, chosen.null_text)
    result = edit(model, inversion, Edit(case.prompt, source_words=case.edited_words), method)
    pictures = model.decode_frames(result.latents)
    frames = to_frames(composite(clip, pictures, soften(result.mask, **COMPOSITE)))
    return {**measure(case, frames, to_frames(pictures)), "seconds": time.monotonic() - started}, frames


def attention_megabytes(model: LiveModel, case: TextCase, method: Method, steps: int) -> float:
    """What "ram" keeps of the source's attention for this method's part of the steps; "recompute" keeps 0."""
    if method.source == "path" or not (method.cross_ratio or method.self_ratio or method.blend_threshold):
        return 0.0
    kept = max(method.cross_ratio, method.self_ratio)
    return (
        invert(
            model,
            model.encode_frames(to_pictures(case.clip.frames())),
            case.clip.caption,
            method,
            steps,
            "ram",
            kept_steps=kept,
        ).store.nbytes()
        / 1e6
    )


def tables(rows: Measured, memory: dict[str, float]) -> str:
    """A table a kind; `memory`: system -> megabytes."""
    lines = []
    for kind in KINDS:
        if chosen := {name: list(per_case.values()) for name, per_case in of_kind(rows, kind).items()}:
            seconds = {
                name: f"{np.mean([row['seconds'] for row in group]):.0f}"
                for name, group in chosen.items()
                if name != UNEDITED
            }
            more = {
                "seconds": seconds,
                "attention kept by `ram`, MB": {name: f"{size:.1f}" for name, size in memory.items()},
            }
            lines += [f"### {kind}", "", *table("system", measures_of(kind), chosen, more), ""]
    return "\n".join(lines)


def measures_of(kind: str) -> dict[str, int]:
    """What has gone has no shape."""
    return {name: better for name, better in MEASURES.items() if kind != "removal" or name != "shape_iou"}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--methods", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--count", type=int, default=3, help="cases of each kind")
    add_arguments(parser, "output/quality-text")
    args = parser.parse_args(arguments)
    cases = [make(kind, i) for kind in args.kinds for i in range(args.count)]
    log, model = Rows(args.out), load_folder(MODEL)
    weights = weights_of(model)
    keys = {
        UNEDITED: UNEDITED,
        **{name: key_of(weights, args.steps, name, system.method) for name, system in SYSTEMS.items()},
    }
    log.measure(
        cases[args.part],
        {name: keys[name] for name in (UNEDITED, *args.methods)},
        lambda case: lambda system: run(model, case, system, args.steps),
    )
    rows = log.of(keys)
    memory = {
        name: attention_megabytes(model, cases[0], SYSTEMS[name].method, args.steps)
        for name in rows
        if name != UNEDITED
    }
    (args.out / "RESULTS.md").write_text(
        f"Model {model.fingerprint}, {args.steps} DDIM steps, 8 frames of 128x128, nothing trained. Means over cases"
        f" with 95 % bootstrap intervals ({DRAWS:,} draws over cases).\n\n" + tables(rows, memory)
    )
    with_memory = {
        name: {case: {**row, **({KEPT: memory[name]} if name in memory else {})} for case, row in per_case.items()}
        for name, per_case in rows.items()
    }
    write_csv(args.out / "results.csv", with_memory, {**MEASURES, "seconds": -1, KEPT: -1})
    for kind in KINDS:
        for name in PLOTTED if of_kind(rows, kind) else ():
            plot(args.out / "plots" / f"{kind}-{name}.png", name, of_kind(rows, kind))
    write_sheets(log, rows, make)
    print(f"wrote {args.out / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
