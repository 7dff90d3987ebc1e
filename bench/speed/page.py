"""Figures that were measured, in a file, on a page and in a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from .rows import OF_RATE, ROWS, TIMES, Figure

BENCH = Path(__file__).resolve().parents[1]
FILE, PAGE, PICTURE = BENCH / "speed.csv", BENCH / "SPEED.md", BENCH / "pictures" / "speed.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
COLOURS = {TIMES: "#4477aa", OF_RATE: "#228833"}
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

    def in_order(self) -> Iterator[tuple[str, str, list[Figure]]]:
        """Row, size and figures, in the order of `ROWS`."""
        for row in ROWS:
            yield from ((row, size, figures) for (known, size), figures in self.figures.items() if known == row)

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


def _said(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def table(kept: Kept) -> str:
    """What each row is, and its figures, in Markdown."""
    parts = []
    for row, size, figures in kept.in_order():
        said = " ".join((ROWS[row].__doc__ or "").split())
        lines = [f"| {each.what} | {_said(each.value)} {each.unit} |".replace("  |", " |") for each in figures]
        parts.append(f"### {row[0].upper()}{row[1:]}, size `{size}`\n\n{said}\n")
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
        (f"{row}, {size}: {each.what}", each.value, COLOURS[each.unit])
        for row, size, figures in kept.in_order()
        for each in figures
        if each.unit in COLOURS
    ]
    height, left, wide, top = 22, 560, 260, 52
    most = max([1.0, *(value for _, value, _ in bars)])
    lines = [
        f'<text x="{left - 8}" y="20" text-anchor="end" fill="{COLOURS[TIMES]}">time, less is better</text>',
        f'<text x="{left + 8}" y="20" fill="{COLOURS[OF_RATE]}">part of the processor\'s rate, more is better</text>',
    ]
    for i, (name, value, colour) in enumerate(bars):
        y, length = top + i * height, value / most * wide
        lines += [
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{height - 8}" fill="{colour}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{value:.2f}</text>',
        ]
    one, bottom = left + wide / most, top + len(bars) * height
    lines.append(f'<line x1="{one:.1f}" y1="48" x2="{one:.1f}" y2="{bottom}" stroke="#cc3311" stroke-dasharray="3 3"/>')
    lines.append(f'<text x="{one:.1f}" y="42" text-anchor="middle" fill="#cc3311">1</text>')
    whole, tall = left + wide + 60, bottom + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {tall}" font-family="sans-serif"'
            f' font-size="12"><rect width="{whole}" height="{tall}" fill="white"/>',
            *lines,
            "</svg>\n",
        ]
    )
