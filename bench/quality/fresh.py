"""What the rows of fresh seeds say: what ships beside what came before, by what a viewer sees.

    python -m bench.quality.fresh output/quality bench/pictures/fresh.jpg    # their picture

It has three frames each of the clip, of what is pictured of it, and of the true answer, of cases that nobody chose: the
second of every kind.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from demo.measure import VIEWED

from . import __main__ as quality
from .cases import KINDS, make
from .report import Measured, kind_of, of_kind, table
from .rows import Rows, weights_of
from .variants import PLAIN_LIVE, SHIPPED, VARIANTS

ENOUGH = 8  # cases, for an interval to be claimed
SEEN = {**VIEWED, "object_accuracy": 1, "motion_error_px": -1, "background_psnr_db": 1}
SUMMARY = {
    "recognised": "recognised ↑",
    "object_accuracy": "accuracy ↑",
    "edit_error": "edit error ↓",
    "ghost": "ghost ↓",
    "steadiness": "steadiness ↓",
    "motion_error_px": "motion, px ↓",
    "background_psnr_db": "background, dB ↑",
    "far_pixels_off": "far pixels off ↓",
}
FIRST, SHIPPED_BEFORE, SHIPS = "the first release", "LIVE as it shipped with the model before", "LIVE as it ships"
PERFECT_BEFORE, PERFECT = "a perfect edit by the model before", "a perfect edit by today's model"
DIFFERENCES = ((SHIPS, SHIPPED_BEFORE), (SHIPS, FIRST), (PERFECT, PERFECT_BEFORE))
MOVED = ("edit_error", "recognised", "object_accuracy")
EXTREMES = 6  # cases from either end
FIRST_RELEASE = "plain-composite"
PICTURED, CASE, FRAMES, SIDE, GAP = (SHIPPED.name,), 1, (0, 3, 6), 96, 8


def composite_table(rows: Measured) -> str:
    """The rows of one edit, composited in different ways: means of what a viewer sees over the cases that all have."""
    edits = [(each.tuning, each.method) for each in (PLAIN_LIVE, SHIPPED)]
    rows = {
        name: per_case
        for name, per_case in rows.items()
        if name in quality.BOUNDS or (VARIANTS[name].tuning, VARIANTS[name].method) in edits
    }
    cases = [case for case in rows[SHIPPED.name] if all(case in per_case for per_case in rows.values())]
    titles = ["variant", "cases", *(f"{name} {'↑' if better > 0 else '↓'}" for name, better in SEEN.items())]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, per_case in rows.items():
        seen = [[row[measure] for case in cases if measure in (row := per_case[case])] for measure in SEEN]
        means = (f"{np.mean(values):.3g}" if values else "–" for values in seen)
        lines.append(f"| {name} | {len(cases)} | {' | '.join(means)} |")
    return "\n".join([*lines, "", *quality.meanings(rows)])


def fresh_tables(rows: Measured) -> str:
    """The rows of cases enough for intervals: means, what ships minus each, and what ships by kind of case."""
    rows = {name: per_case for name, per_case in rows.items() if len(per_case) >= ENOUGH}
    ships = rows[SHIPPED.name]
    pairs = {
        name: [(row, per_case[case]) for case, row in ships.items() if case in per_case]
        for name, per_case in rows.items()
        if name not in (SHIPPED.name, *quality.BOUNDS)
    }
    differences = {
        name: [{measure: ours[measure] - row[measure] for measure in SEEN} for ours, row in found]
        for name, found in pairs.items()
    }
    kinds = {kind: list(of_kind(rows, kind)[SHIPPED.name].values()) for kind in dict.fromkeys(map(kind_of, ships))}
    return "\n".join(
        [
            *table("variant", SEEN, {name: list(per_case.values()) for name, per_case in rows.items()}),
            "",
            "What ships minus each, case by case (an interval without 0 is a difference):",
            "",
            *table("shipped −", SEEN, differences),
            "",
            "What ships, by kind of case:",
            "",
            *table("kind", SEEN, kinds),
            "",
            *quality.against_ceiling(rows),
            *quality.meanings(rows),
        ]
    )


def of_both(before: Measured, today: Measured) -> Measured:
    """The rows by the model before and by today's that have all cases of what ships, as a person would call them. The
    first release is itself: its model, its settings."""
    found = {
        FIRST: before.get(FIRST_RELEASE, {}),
        SHIPPED_BEFORE: before.get(SHIPPED.name, {}),
        SHIPS: today[SHIPPED.name],
        PERFECT_BEFORE: before.get(quality.CEILING, {}),
        PERFECT: today.get(quality.CEILING, {}),
    }
    cases = list(today[SHIPPED.name])
    return {
        says: {case: per_case[case] for case in cases}
        for says, per_case in found.items()
        if set(cases) <= set(per_case)
    }


def fresh_summary(before: Measured, today: Measured) -> str:
    """Means of what a viewer sees, of the rows that have all cases of what ships."""
    rows, ships = of_both(before, today), today[SHIPPED.name]
    measures = {name: title for name, title in SUMMARY.items() if all(name in row for row in ships.values())}
    lines = [f"| {len(ships)} cases | {' | '.join(measures.values())} |", "|---" * (1 + len(measures)) + "|"]
    for says, per_case in rows.items():
        means = (np.mean([row[measure] for row in per_case.values()]) for measure in measures)
        lines.append(f"| {says} | {' | '.join(f'{mean:.3g}' for mean in means)} |")
    return "\n".join(lines)


def retrained_tables(before: Measured, today: Measured) -> str:
    """Rows by today's model beside those by the one before: means, differences case by case, also to other methods by
    today's, what ships by kind, and the cases that changed most."""
    rows = of_both(before, today)
    others = {name: per_case for name, per_case in today.items() if name not in (SHIPPED.name, quality.CEILING)}
    shown = {**rows, **others}
    differences = {
        f"{ours} − {theirs}": [
            {measure: row[measure] - rows[theirs][case][measure] for measure in SEEN}
            for case, row in rows[ours].items()
        ]
        for ours, theirs in DIFFERENCES
        if {ours, theirs} <= set(rows)
    }
    differences |= {
        f"{SHIPS} − {name}": [
            {measure: rows[SHIPS][case][measure] - row[measure] for measure in SEEN}
            for case, row in per_case.items()
            if case in rows[SHIPS]
        ]
        for name, per_case in others.items()
        if name not in quality.BOUNDS
    }
    kinds = dict.fromkeys(map(kind_of, rows[SHIPS]))
    return "\n".join(
        [
            *table("variant", SEEN, {name: list(per_case.values()) for name, per_case in shown.items()}),
            "",
            "Differences, case by case (an interval without 0 is a difference):",
            "",
            *table("difference", SEEN, differences),
            "",
            "What ships, by kind of case:",
            "",
            *table("kind", SEEN, {kind: list(of_kind(rows, kind)[SHIPS].values()) for kind in kinds}),
            "",
            *quality.against_ceiling({SHIPS: today[SHIPPED.name], quality.CEILING: today.get(quality.CEILING, {})}),
            *quality.meanings(others),
            "",
            *moved(rows),
        ]
    )


def moved(rows: Measured) -> list[str]:
    """The cases whose edit error changed most since the model before, the worst first."""
    ours, theirs = rows[SHIPS], rows.get(SHIPPED_BEFORE, {})
    cases = sorted(theirs, key=lambda case: theirs[case]["edit_error"] - ours[case]["edit_error"])
    cases = list(dict.fromkeys([*cases[:EXTREMES], *cases[-EXTREMES:]]))
    titles = [f"{name} {'↑' if SEEN[name] > 0 else '↓'}" for name in MOVED]
    lines = [
        f"The cases whose edit error changed most, the worst first ({SHIPPED_BEFORE}, then {SHIPS}):",
        "",
        f"| case | {' | '.join(titles)} |",
        "|---" * (1 + len(MOVED)) + "|",
    ]
    for case in cases:
        cells = (f"{theirs[case][name]:.3g} to {ours[case][name]:.3g}" for name in MOVED)
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return lines if cases else []


def picture(log: Rows, keys: dict[str, str]) -> Image.Image:
    """A row a kind of case; `keys`: of the rows of `PICTURED`, by their names."""
    found = log.of(keys)
    strips = []
    for kind in KINDS:
        case = make(f"fresh-{kind}", CASE)
        edits = [log.strip(found[name][case.name])[0] for name in PICTURED]
        clips = [case.clip.frames(), *(np.stack(np.split(e, len(case.clip), 1)) for e in edits), case.truth.frames()]
        strips.append([np.concatenate(list(frames[list(FRAMES)]), 1) for frames in clips])
    width, height = len(FRAMES) * SIDE, SIDE
    sheet = Image.new("RGB", (len(strips[0]) * (width + GAP) - GAP, len(strips) * (height + GAP) - GAP), "white")
    for row, clips in enumerate(strips):
        for column, strip in enumerate(clips):
            small = Image.fromarray(strip).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (width + GAP), row * (height + GAP)))
    return sheet


def main(folder: Path, path: Path, steps: int = 25) -> None:
    weights = weights_of(quality.load_folder(quality.MODEL))
    keys = {name: VARIANTS[name].key(weights, steps) for name in PICTURED}
    picture(Rows(folder), keys).save(path, quality=90, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
