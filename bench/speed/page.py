"""Figures that were measured, in a file, on a page and in a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from .rows import ROWS, Figure

BENCH = Path(__file__).resolve().parents[1]
FILE, PAGE, PICTURE = BENCH / "speed.csv", BENCH / "SPEED.md", BENCH / "pictures" / "speed.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
COLUMNS = ("row", "size", "what", "value", "unit")


@dataclass
class Kept:
    """The figures of a row at a size."""

    figures: dict[tuple[str, str], list[Figure]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Those in a file; none where there is none."""
        kept = cls()
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                for line in csv.DictReader(file):
                    figure = Figure(line["what"], float(line["value"]), line["unit"])
                    kept.figures.setdefault((line["row"], line["size"]), []).append(figure)
        return kept

    def has(self, row: str, size: str) -> bool:
        return (row, size) in self.figures

    def put(self, row: str, size: str, figures: Iterable[Figure]) -> None:
        self.figures[row, size] = list(figures)

    def write(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(COLUMNS)
            for (row, size), figures in self.figures.items():
                out.writerows([row, size, each.what, f"{each.value:.4g}", each.unit] for each in figures)


def table(kept: Kept) -> str:
    """What each row is, and its figures, in Markdown."""
    parts = []
    for row, measure in ROWS.items():
        for size in [size for known, size in kept.figures if known == row]:
            said = " ".join((measure.__doc__ or "").split())
            lines = [f"| {each.what} | {each.value:.3g} {each.unit} |" for each in kept.figures[row, size]]
            parts.append(f"### {row.capitalize()}, size `{size}`\n\n{said}\n")
            parts.append("\n".join(["| what | measured |", "|---|---:|", *lines]) + "\n")
    return "\n".join(parts)


def write_page(kept: Kept, path: Path) -> None:
    """The table into the page, between its marks; what else the page says stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{table(kept)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def draw(kept: Kept) -> str:
    """An SVG: all ratios as bars, beside what they are ratios to, 1."""
    bars = [
        (f"{row}, {size}: {each.what}", each.value)
        for (row, size), figures in kept.figures.items()
        for each in figures
        if each.unit == "times"
    ]
    height, left, wide = 22, 560, 260
    most = max([1.0, *(value for _, value in bars)])
    lines = []
    for i, (name, value) in enumerate(bars):
        y, length = 30 + i * height, value / most * wide
        lines += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{height - 8}" fill="#4477aa"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{value:.2f}</text>',
        ]
    one, bottom = left + wide / most, 30 + len(bars) * height
    lines.append(f'<line x1="{one:.1f}" y1="26" x2="{one:.1f}" y2="{bottom}" stroke="#cc3311" stroke-dasharray="3 3"/>')
    lines.append(f'<text x="{one:.1f}" y="20" text-anchor="middle" fill="#cc3311">1</text>')
    whole, tall = left + wide + 60, bottom + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {tall}" font-family="sans-serif"'
            f' font-size="12"><rect width="{whole}" height="{tall}" fill="white"/>',
            *lines,
            "</svg>\n",
        ]
    )
