"""LIVE, its ablations and the baselines on seeded cases with true answers.

    python -m bench.quality                     # every case, every variant; hours on two cores
    python -m bench.quality --cases inside fast-0 --variants live tav-ddim-ti --out /tmp/quality
    python -m bench.quality --seeds fresh       # the same on seeds by which nothing was chosen, reported apart
    python -m bench.quality --seeds sweep --count 1 --variants live shipped agree own-place new-noise
    python -m bench.quality.published           # into the report that is published

Results are kept row by row in <out>/rows.jsonl and not measured twice: a run that was stopped goes on, and several may
share a folder (`--part 0/2`, `--part 1/2`). Tables, intervals, plots and contact sheets are drawn from the rows at the
end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import numpy as np
import torch

from demo.cases import Case
from demo.frames import to_frames, to_pictures
from demo.measure import VIEWED, measure, psnr, touched
from demo.measure.ceiling import ceiling
from demo.train import MODEL
from live_core import metrics
from live_core.compositing import composite, soften
from live_core.cutout import cut_out
from live_core.editing import Edit, Edited, edit
from live_core.inversion import Inversion, invert
from live_core.methods import Method
from live_core.null_text import find_null_text
from live_core.pretrained import LiveModel, load_folder
from live_core.refining import changed, cover, follow_edges
from live_core.steadying import steady
from live_core.tuning import TuneSettings, tune

from .binding import Binding, bound
from .cases import KINDS, SEEDS, all_cases, bare, make, set_of
from .report import DRAWS, Measured, kind_of, of_kind, plot, table, write_csv, write_sheets
from .rows import UNEDITED, Rows, add_arguments, key_of, weights_of
from .variants import SHIPPED, VARIANTS, Variant

CEILING = "ceiling"
# Rows that are no edit.
BOUNDS = {
    UNEDITED: "the clip as it is",
    CEILING: (
        "the true answer through the autoencoder and the shipped composite, in its true mask: what a perfect edit"
        " measures"
    ),
}

# 1: more is better; -1: less is.
MEASURES = {
    "object_accuracy": 1,
    "object_error": -1,
    "mask_iou": 1,
    "motion_error_px": -1,
    "background_psnr_db": 1,
    "background_ssim": 1,
    "background_psnr_before_db": 1,
    "background_ssim_before": 1,
    "temporal_consistency": 1,
    "flicker": -1,
    **VIEWED,
}
# What a shipped case is to reach, all at once.
TARGETS = {"object_accuracy": 0.8, "motion_error_px": 6, "background_psnr_db": 30}
PLOTTED = (
    "object_accuracy",
    "edit_error",
    "ghost",
    "gated_total",
    "object_error",
    "motion_error_px",
    "background_psnr_db",
)
AGAINST_CEILING = ("edit_error", "steadiness", "edge")  # what a perfect edit by this model does not have perfect either


class Bench:
    """Runs variants on one case; what two variants share (tunings, inversions, edits) is made once."""

    def __init__(self, model: LiveModel, case: Case, steps: int):
        self.model, self.case, self.steps = model, case, steps
        self.clip = to_pictures(case.clip.frames())
        self.latents = model.encode_frames(self.clip)
        self._made: dict[tuple, tuple[object, float]] = {}

    def _once(self, key: tuple, make):
        if key not in self._made:
            started = time.monotonic()
            self._made[key] = make(), time.monotonic() - started
        return self._made[key]

    def tuned(self, settings: TuneSettings, binding: Binding) -> tuple[LiveModel, float]:
        def make():
            concepts = bound(self.model, self.case, binding)
            return self.model.with_tuning(tune(self.model, self.latents, self.case.prompt, concepts, settings))

        return self._once(("tune", settings, binding), make)

    def inverted(self, tuning: TuneSettings, binding: Binding, method: Method) -> tuple[Inversion, float]:
        model, _ = self.tuned(tuning, binding)
        return self._once(
            ("invert", tuning, binding, method.inverted_for),
            lambda: invert(model, self.latents, self.case.prompt, method, self.steps),
        )

    def edited(self, variant: Variant) -> tuple[tuple[torch.Tensor, Edited], float]:
        model, _ = self.tuned(variant.tuning, variant.binding)
        inversion, _ = self.inverted(variant.tuning, variant.binding, variant.method)

        def make():
            start = (
                find_null_text(model, inversion, variant.method.guidance_scale, variant.null_text)
                if variant.null_text
                else inversion
            )
            result = edit(model, start, Edit(self.case.edit_prompt), variant.method)
            return self.model.decode_frames(result.latents), result

        return self._once(("edit", variant.tuning, variant.binding, variant.method, variant.null_text), make)

    def soft(self, variant: Variant, pictures: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The composite's mask (f, H, W), 0..1."""
        if not variant.pasted:
            return torch.ones_like(mask)
        followed = follow_edges(mask, self.clip, pictures, variant.edge_radius)
        soft = soften(cover(followed, self.clip, pictures, variant.cover_radius), variant.dilation, variant.blur)
        return (
            soft * changed(self.clip, pictures, self.model.decode_frames(self.latents)) if variant.gives_back else soft
        )

    def run(self, name: str) -> tuple[dict[str, float], np.ndarray]:
        """A variant's measures, and its frames (f, H, W, 3) uint8."""
        if name == UNEDITED:
            frames = self.case.clip.frames()
            return row(self.case, frames, frames, np.zeros(frames.shape[:3], bool)), frames
        if name == CEILING:
            frames, before = ceiling(self.case, self.model, self.case.clip.frames(), SHIPPED.dilation, SHIPPED.blur)
            return row(self.case, frames, before, touched(self.case)), frames
        variant = VARIANTS[name]
        (pictures, result), edit_seconds = self.edited(variant)
        shown, mask = pictures, result.mask
        if variant.cut_out:
            shown, mask = cut_out(pictures, self.clip, mask, variant.steady_reach, variant.resize)
        else:
            shown = steady(pictures, self.clip, mask, variant.steady_reach)
        frames = to_frames(composite(self.clip, shown, self.soft(variant, shown, mask)))
        spent = (
            self.tuned(variant.tuning, variant.binding)[1],
            self.inverted(variant.tuning, variant.binding, variant.method)[1],
            edit_seconds,
        )
        return {**row(self.case, frames, to_frames(pictures), result.mask.numpy() > 0.5), "seconds": sum(spent)}, frames


def row(case: Case, frames: np.ndarray, before: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Measures of `frames`, and of `before` the composite where they tell something else."""
    source, true = case.clip.frames(), touched(case)
    outside = ~true

    def ssim(edited: np.ndarray) -> float:
        a, b = to_pictures(edited), to_pictures(source)
        return float(metrics.ssim(a, b, torch.from_numpy(outside)).mean())

    return {
        **measure(case, frames),
        "mask_iou": float((mask & true).sum() / (mask | true).sum()),
        "background_ssim": ssim(frames),
        "background_psnr_before_db": psnr(source, before, outside),
        "background_ssim_before": ssim(before),
        "flicker": flicker(frames, source, outside),
    }


def flicker(frames: np.ndarray, source: np.ndarray, where: np.ndarray) -> float:
    """How much more the edit changes from frame to frame than the source does, in levels of 255, over pixels that are
    in `where` in both.
    """
    steady = where[1:] & where[:-1]
    change = np.abs(np.diff(frames.astype(float), axis=0) - np.diff(source.astype(float), axis=0)).mean(-1)
    return float(change[steady].mean())


def tables(rows: Measured) -> str:
    """Means with intervals; each variant's difference from LIVE over the cases both have, and over those of them that
    the measures can tell; LIVE by kind of case."""

    def differences(cases: Iterable[str]) -> list[str]:
        pairs = {
            name: [(rows["live"][case], per_case[case]) for case in cases if case in per_case and case in rows["live"]]
            for name, per_case in rows.items()
            if name != "live"
        }
        return table(
            "live −",
            MEASURES,
            {
                name: [{m: live[m] - other[m] for m in MEASURES if m in live and m in other} for live, other in found]
                for name, found in pairs.items()
                if found
            },
        )

    lines = [*table("variant", MEASURES, {name: list(per_case.values()) for name, per_case in rows.items()}), ""]
    if "live" in rows:
        lines += [
            "LIVE minus each variant, case by case (an interval without 0 is a difference):",
            "",
            *differences(rows["live"]),
            "",
        ]
        if missed := [case for case, row in rows.get(CEILING, {}).items() if not meets_targets(row)]:
            lines += [
                f"The same without {', '.join(missed)}, where the ceiling itself does not have {_targets()}:",
                "",
                *differences([case for case in rows["live"] if case not in missed]),
                "",
            ]
        kinds = dict.fromkeys(map(kind_of, rows["live"]))
        lines += [
            "LIVE by kind of case:",
            "",
            *table("kind", MEASURES, {kind: list(of_kind(rows, kind)["live"].values()) for kind in kinds}),
            "",
        ]
    timed = {
        name: np.mean([row["seconds"] for row in per_case.values()])
        for name, per_case in rows.items()
        if all("seconds" in row for row in per_case.values())
    }
    if timed:
        lines += [
            "Seconds a case (tune, invert, edit; one thread a process): "
            + ", ".join(f"{name} {mean:.0f}" for name, mean in timed.items())
            + ".",
            "",
        ]
    lines += against_ceiling(rows)
    lines += [
        f"Cases with {_targets()}, all at once: "
        + ", ".join(
            f"{name} {sum(map(meets_targets, per_case.values()))} of {len(per_case)}" for name, per_case in rows.items()
        )
        + ".",
        "",
        *meanings(rows),
    ]
    return "\n".join(lines) + "\n"


def meanings(rows: Measured) -> list[str]:
    """What each variant is."""
    said = {name: BOUNDS.get(name) or VARIANTS[name].claim or "the shipped settings" for name in rows}
    return ["Variants:", "", *(f"- **{name}**: {what}" for name, what in said.items())]


def against_ceiling(rows: Measured) -> list[str]:
    """Means as multiples of the ceiling's, over the cases that both have."""
    lines = []
    for quantity in AGAINST_CEILING:
        top = {case: row[quantity] for case, row in rows.get(CEILING, {}).items() if quantity in row}
        pairs = {
            name: [(row[quantity], top[case]) for case, row in per_case.items() if quantity in row and case in top]
            for name, per_case in rows.items()
        }
        if found := [
            f"{name} {np.mean(found, 0)[0] / np.mean(found, 0)[1]:.2f}"
            for name, found in pairs.items()
            if found and name not in BOUNDS
        ]:
            lines += [f"{quantity}, times the ceiling's: {', '.join(found)}.", ""]
    return lines


def _targets() -> str:
    return ", ".join(f"{name} {target}" for name, target in TARGETS.items()) + " or better"


def meets_targets(row: dict[str, float]) -> bool:
    """Whether a row's measures are all as good as `TARGETS`."""
    return all(MEASURES[name] * row[name] >= MEASURES[name] * target for name, target in TARGETS.items())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--cases", nargs="*", default=list(KINDS), help="kinds, or single cases such as fast-0, of the chosen seeds"
    )
    parser.add_argument(
        "--seeds",
        choices=list(SEEDS),
        default="tuned",
        help="tuned: those that settings were chosen by; fresh: those that nothing was chosen by; sweep: to try new"
        " settings on",
    )
    parser.add_argument("--count", type=int, help="at most so many cases of each kind")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    add_arguments(parser, "output/quality")
    args = parser.parse_args(arguments)
    cases = [
        case
        for case in all_cases(args.seeds)
        if {(name := bare(case.name)), kind_of(name)} & set(args.cases)
        and (args.count is None or int(name.rsplit("-")[-1]) < args.count)
    ]
    if not cases:
        parser.error(f"--cases {' '.join(args.cases)}: there is none such; choose from {', '.join(KINDS)}, or fast-0")
    log, model = Rows(args.out), load_folder(MODEL)
    weights = weights_of(model)
    keys = {
        UNEDITED: UNEDITED,
        CEILING: key_of(weights, SHIPPED.blur, SHIPPED.dilation),
        **{name: variant.key(weights, args.steps) for name, variant in VARIANTS.items()},
    }
    log.measure(
        cases[args.part],
        {name: keys[name] for name in (UNEDITED, CEILING, *args.variants)},
        lambda case: Bench(model, case, args.steps).run,
    )
    rows = {
        name: {case: row for case, row in per_case.items() if set_of(case) == args.seeds}
        for name, per_case in log.of(keys).items()
    }
    rows = {name: per_case for name, per_case in rows.items() if per_case}
    suffix = "" if args.seeds == "tuned" else f"-{args.seeds}"
    report = args.out / f"RESULTS{suffix}.md"
    report.write_text(
        f"Model {model.fingerprint}, {args.steps} DDIM steps, {args.seeds} seeds. Means over cases with 95 % bootstrap"
        f" intervals ({DRAWS:,} draws over cases).\n\n" + tables(rows)
    )
    write_csv(args.out / f"results{suffix}.csv", rows, {**MEASURES, "seconds": -1})
    for quantity in PLOTTED:
        plot(args.out / "plots" / f"{quantity}{suffix}.png", quantity, rows)
    write_sheets(log, rows, make)
    print(f"wrote {report}")


if __name__ == "__main__":
    main()
