"""Tables, bootstrap intervals, plots and contact sheets from measured rows: variant -> case -> row. Cases are named
<kind>-<index>.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from demo.frames import contact_sheet

from .rows import Rows

Measured = dict[str, dict[str, dict]]
DRAWS = 5000


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over cases (percentile method)."""
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def kind_of(case: str) -> str:
    return case.rsplit("-", 1)[0]


def of_kind(rows: Measured, kind: str) -> Measured:
    """The variants that have cases of this kind, with those alone."""
    chosen = {
        name: {case: row for case, row in per_case.items() if kind_of(case) == kind} for name, per_case in rows.items()
    }
    return {name: per_case for name, per_case in chosen.items() if per_case}


def table(
    head: str, measures: dict[str, int], groups: dict[str, list[dict]], more: dict[str, dict[str, str]] | None = None
) -> list[str]:
    """Lines of Markdown, a group of rows each: how many, then mean and interval of every measure. `measures`: 1 where
    more is better, -1 where less is. `more`: further columns, title -> group -> cell. A measure that no row has gets no
    column; rows made before there was one, a dash.
    """
    rng, more = np.random.default_rng(0), more or {}
    measures = {
        name: better
        for name, better in measures.items()
        if any(name in row for group in groups.values() for row in group)
    }

    def cell(values: list[float]) -> str:
        if not values:
            return "–"
        low, high = interval(np.array(values), rng)
        return f"{np.mean(values):.3g} [{low:.3g}, {high:.3g}]"

    titles = [head, "cases", *(f"{name} {'↑' if better > 0 else '↓'}" for name, better in measures.items()), *more]
    lines = [
        [
            name,
            str(len(group)),
            *(cell([row[m] for row in group if m in row]) for m in measures),
            *(column.get(name, "–") for column in more.values()),
        ]
        for name, group in groups.items()
    ]
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *(f"| {' | '.join(line)} |" for line in lines)]


def write_csv(path: Path, rows: Measured, measures: dict[str, int]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "case", *measures])
        writer.writerows(
            [name, case, *(f"{row[m]:.7g}" if m in row else "" for m in measures)]
            for name, per_case in rows.items()
            for case, row in per_case.items()
        )


def read_csv(path: Path) -> Measured:
    """What `write_csv` wrote."""
    rows: Measured = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            name, case = line.pop("variant"), line.pop("case")
            rows.setdefault(name, {})[case] = {measure: float(value) for measure, value in line.items() if value}
    return rows


def plot(path: Path, measure: str, rows: Measured) -> None:
    """A bar a variant that has the measure: mean and interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    found = {name: [row[measure] for row in per_case.values() if measure in row] for name, per_case in rows.items()}
    found = {name: np.array(values) for name, values in found.items() if values}
    if not found:
        return
    values = list(found.values())
    means, bounds = np.array([v.mean() for v in values]), np.array([interval(v, rng) for v in values])
    figure = Figure((7, 0.35 * len(found) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(found), means, xerr=np.abs(bounds.T - means), color="#7aa6c2")
    axes.invert_yaxis()
    axes.set_xlabel(measure)
    FigureCanvasAgg(figure).print_png(path)


def write_sheets(log: Rows, rows: Measured, make: Callable) -> None:
    """sheets/<case>.png: each variant's frames, and last the true answer of `make(kind, index)`."""
    (log.folder / "sheets").mkdir(exist_ok=True)
    for case in dict.fromkeys(case for per_case in rows.values() for case in per_case):
        strips = {name: log.strip(per_case[case]) for name, per_case in rows.items() if case in per_case}
        kind, index = case.rsplit("-", 1)
        contact_sheet({**strips, "true answer": make(kind, int(index)).truth.frames()}).save(
            log.folder / "sheets" / f"{case}.png"
        )
