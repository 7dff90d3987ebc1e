"""Tables, bootstrap intervals, plots and contact sheets from measured rows."""
from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from demo.cases import Case
from PIL import Image, ImageDraw

from .variants import VARIANTS

UNEDITED = "unedited"
BETTER = {"object_accuracy": 1, "object_error": -1, "mask_iou": 1, "motion_error_px": -1, "background_psnr_db": 1, "background_ssim": 1, "background_psnr_before_db": 1,
          "background_ssim_before": 1, "temporal_consistency": 1, "flicker": -1, "seconds": -1}


def interval(values: np.ndarray, rng: np.random.Generator, draws: int = 5000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over cases (percentile method)."""
    means = values[rng.integers(len(values), size=(draws, len(values)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def key_of(name: str, model: str, steps: int) -> str:
    return UNEDITED if name == UNEDITED else VARIANTS[name].key(model, steps)


def read_rows(out: Path, model: str, steps: int) -> dict[str, dict[str, dict]]:
    """variant -> case -> measures, for rows of this model and these steps under the variants' present settings."""
    measured: dict[str, dict[str, dict]] = {}
    for row in map(json.loads, (out / "rows.jsonl").read_text().splitlines()):
        measured.setdefault(row["key"], {})[row["case"]] = row
    keys = {name: key_of(name, model, steps) for name in (UNEDITED, *VARIANTS)}
    return {name: measured[key] for name, key in keys.items() if key in measured}


def write_report(out: Path, model: str, steps: int, cases: dict[str, Case]) -> None:
    """RESULTS.md, results.csv, plots/ and sheets/ in `out`."""
    rows = read_rows(out, model, steps)
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "case", *BETTER])
        writer.writerows([name, case, *(f"{row.get(m, float('nan')):.5g}" for m in BETTER)] for name, per_case in rows.items() for case, row in per_case.items())
    (out / "RESULTS.md").write_text(f"Model {model}, {steps} DDIM steps. Means over cases with 95 % bootstrap intervals (5,000 draws over cases).\n\n" + tables(rows))
    plots(out / "plots", rows)
    sheets(out, rows, cases)


def tables(rows: dict[str, dict[str, dict]]) -> str:
    """Means with intervals, and each variant's difference from LIVE over the cases both have."""
    rng = np.random.default_rng(0)

    def cell(values: list[float]) -> str:
        values = np.array(values)
        low, high = interval(values, rng)
        return f"{values.mean():.3g} [{low:.3g}, {high:.3g}]"

    def table(head: str, names, of) -> list[str]:
        shown = [m for m in BETTER if m != "seconds"]
        return [f"| {head} | cases | " + " | ".join(f"{m} {'↑' if BETTER[m] > 0 else '↓'}" for m in shown) + " |", "|---" * (len(shown) + 2) + "|",
                *(f"| {name} | {len(of(name))} | " + " | ".join(cell([row[m] for row in of(name)]) for m in shown) + " |" for name in names)]

    def difference(name: str) -> list[dict]:
        shared = [case for case in rows[name] if case in rows["live"]]
        return [{m: rows["live"][case][m] - rows[name][case][m] for m in BETTER if m in rows[name][case]} for case in shared]

    lines = [*table("variant", rows, lambda name: list(rows[name].values())), ""]
    if "live" in rows and len(rows) > 1:
        lines += ["LIVE minus each variant, case by case (an interval without 0 is a difference):", "",
                  *table("live −", [name for name in rows if name != "live"], difference), ""]
    if "live" in rows:
        kinds = list(dict.fromkeys(case.rsplit("-", 1)[0] for case in rows["live"]))
        lines += ["LIVE by kind of case:", "", *table("kind", kinds, lambda kind: [row for case, row in rows["live"].items() if case.rsplit("-", 1)[0] == kind]), ""]
    lines += ["Seconds a case (tune, invert, edit; one thread a process): " + ", ".join(
        f"{name} {np.mean([row['seconds'] for row in per_case.values()]):.0f}" for name, per_case in rows.items() if name != UNEDITED) + ".", "",
        "Variants:", "", *(f"- **{name}**: {VARIANTS[name].claim or 'the shipped settings'}" for name in rows if name in VARIANTS)]
    return "\n".join(lines) + "\n"


def plots(folder: Path, rows: dict[str, dict[str, dict]]) -> None:
    """One bar chart a measure: mean and interval of every variant."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for measure in ("object_accuracy", "object_error", "motion_error_px", "background_psnr_db"):
        values = [np.array([row[measure] for row in per_case.values()]) for per_case in rows.values()]
        means, bounds = np.array([v.mean() for v in values]), np.array([interval(v, rng) for v in values])
        figure = Figure((7, 0.35 * len(rows) + 1), layout="constrained")
        axes = figure.subplots()
        axes.barh(list(rows), means, xerr=np.abs(bounds.T - means), color="#7aa6c2")
        axes.invert_yaxis()
        axes.set_xlabel(measure)
        FigureCanvasAgg(figure).print_png(folder / f"{measure}.png")


def sheets(out: Path, rows: dict[str, dict[str, dict]], cases: dict[str, Case]) -> None:
    """One contact sheet a case: a named row of frames for each variant, the true answer last."""
    (out / "sheets").mkdir(exist_ok=True)
    for case in dict.fromkeys(case for per_case in rows.values() for case in per_case):
        strips = {name: Image.open(out / "frames" / f"{case}-{rows[name][case]['key']}.png") for name in rows if case in rows[name]}
        strips["true answer"] = Image.fromarray(np.concatenate(list(cases[case].truth.frames()), 1))
        width, height = strips["true answer"].size
        sheet = Image.new("RGB", (width + 150, height * len(strips)), "white")
        for i, (name, strip) in enumerate(strips.items()):
            sheet.paste(strip, (150, i * height))
            ImageDraw.Draw(sheet).text((4, i * height + height // 2), name, fill="black")
        sheet.save(out / "sheets" / f"{case}.png")
