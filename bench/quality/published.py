"""The published report: the tables of bench/RESULTS.md and bench/APPENDIX.md, made of the rows in bench/*.csv.

    python -m bench.quality.published                       # from the rows that are there
    python -m bench.quality.published --photos output/quality/results.csv --fresh output/quality/results-fresh.csv
    python -m bench.quality.published --words output/quality-text/results.csv
    python -m bench.quality.published --fresh-retrained output/quality/rows.jsonl    # fresh seeds by today's model
    python -m bench.quality.published --photos-anew output/quality/results.csv    # on fewer cases
    python -m bench.quality.published --instructed output/quality-instructed/results.csv

Rows that were measured anew take the place of their variant's old ones; a file is a bench's results.csv, or the
rows.jsonl that it is made of. What stands between `<!-- name -->` and `<!-- /name -->` on the two pages is written
here, all else by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import __main__ as quality
from . import text
from .cases import set_of
from .claims import CLAIMS, EMPTY, FINDINGS, OLD, RETRAINED, SETTINGS, TARGETS, Finding, Target
from .fresh import ENOUGH, composite_table, fresh_summary, fresh_tables, retrained_tables
from .instructed import tables as by_instruction
from .report import DRAWS, Measured, read_csv, write_csv

Cells = dict[tuple[str, str, str], str]
FOLDER = Path(__file__).resolve().parents[1]
RESULTS, APPENDIX = "RESULTS.md", "APPENDIX.md"
TABLES = ("photos", "fresh", RETRAINED, "words", "photos-anew", "words-anew", "instructed")
FRESH = ("fresh", RETRAINED)  # tables of fresh seeds
UNTIMED = (RETRAINED,)  # measured by many processes at once, so that a time says nothing
TITLES = {
    "object_accuracy": "accuracy ↑",
    "object_error": "object error ↓",
    "motion_error_px": "motion, px ↓",
    "background_psnr_db": "background, dB ↑",
}
JUDGED = tuple(TITLES)
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


def marks_of(table: str, row: str) -> str:
    return "".join(MARKS[i] for i, old in enumerate(OLD) if old.table == table and row in old.rows)


def with_marks(says: str, table: str, row: str) -> str:
    return f"{says} {marks_of(table, row)}".strip()


def name_of(cell: str) -> str:
    """A row's name, without marks."""
    return cell.strip().rstrip(MARKS).strip()


def marked(table: str, lines: str) -> str:
    """The tables in `lines` with a mark at each old row's name, and below them what the marks mean. Marks that were
    there before go."""
    lines = re.sub(rf"(\n+[{MARKS}] .*)+$", "", lines.strip())

    def mark(line: re.Match) -> str:
        name = name_of(line[1])
        return f"| {with_marks(name, table, name)} |"

    lines = re.sub(r"^\| ([^|]+) \|", mark, lines, flags=re.MULTILINE).strip()
    return f"{lines}\n\n{footnotes(lines)}".strip()


def with_empty(table: str, lines: str) -> str:
    """`lines` with a row of dashes in their first table for each of this table's that has no measurement, and why,
    below what the other rows are."""
    for empty in (each for each in EMPTY if each.table == table and f"| {each.row} |" not in lines):
        head, rows, rest = re.match(r"(?s)(.*?)((?:^\|[^\n]*\n)+)(.*)", lines, re.MULTILINE).groups()
        columns = rows.splitlines()[0].count("|") - 3
        rows += f"| {empty.row} | 0 |{' – |' * columns}\n"
        lines = f"{head}{rows}{rest.rstrip()}\n- **{empty.row}**: {empty.why}"
    return lines


def footnotes(lines: str) -> str:
    """What the marks in `lines` mean."""
    return "\n\n".join(f"{MARKS[i]} {old.why}" for i, old in enumerate(OLD) if MARKS[i] in lines)


def cells_of(lines: str) -> Cells:
    """(table, row, column) -> cell, without marks. A table is named by the heading right above it, else by its first
    column; of two of one name the first counts."""
    found: Cells = {}
    for block in re.split(r"^(?=### )", lines, flags=re.MULTILINE):
        heading = re.match(r"### (.*)", block)
        for table in re.findall(r"(?:^\|.*\n?)+", block, flags=re.MULTILINE):
            head, _, *rows = (line.strip("|").split("|") for line in table.splitlines())
            for row in rows:
                for i in range(1, len(row)):
                    key = (heading[1] if heading else head[0].strip()), name_of(row[0]), head[i].strip(" ↑↓")
                    found.setdefault(key, row[i].strip())
    return found


def numbers(cell: str) -> list[float]:
    """Mean and interval of a cell."""
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", cell)]


def claims_table(rows: dict[str, Measured], photos: str, words: str) -> str:
    """What the papers say of LIVE, and what was asked of the pack, held to the rows and to the tables of them."""
    lines = ["| claim | measure | cases | figure | 95 % interval | met? |", "|---" * 6 + "|"]
    return "\n".join([*lines, *_papers(cells_of(photos)), *_asked(rows, cells_of(words))])


def _papers(cells: Cells) -> Iterator[str]:
    for claim in CLAIMS:
        for measure in claim.measures:
            cell, cases = (cells["live −", claim.rival, column] for column in (measure, "cases"))
            figure, low, high = numbers(cell)
            better = quality.MEASURES[measure] * (-1 if claim.of_rival else 1)
            met = "not shown" if holds_zero(cell) else "yes" if figure * better > 0 else "**no, the reverse**"
            says = with_marks(claim.says, "photos", claim.rival) if measure == claim.measures[0] else ""
            yield f"| {says} | {TITLES[measure]} | {cases} | {figure:+.3g} | {low:.3g} to {high:.3g} | {met} |"


def _asked(rows: dict[str, Measured], cells: Cells) -> Iterator[str]:
    for target in TARGETS:
        if target.table == "words":
            count = int(cells[target.cases, target.row, "cases"])
            figure, low, high = numbers(cells[target.cases, target.row, target.measure])
        else:
            count, figure, low, high = mean_of(target, rows)
        met = "yes" if (figure >= target.bound if target.at_least else figure <= target.bound) else "**no**"
        bound = f"{target.of} at {'least' if target.at_least else 'most'} {target.bound:g}{target.unit}"
        within = f"{low:.3g} to {high:.3g}" if count >= ENOUGH else "too few"
        says = with_marks(target.says, target.table, target.row)
        yield f"| {says} | {bound} | {count} | {figure:.3g} | {within} | {met} |"


def finding_table(finding: Finding, photos: str) -> str:
    """The means that a finding is about, of the tables `photos`."""
    cells = cells_of(photos)
    lines = [f"| | {' | '.join(TITLES[measure] for measure in JUDGED)} |", "|---" * (1 + len(JUDGED)) + "|"]
    for says, row in finding.rows:
        means = (f"{numbers(cells[finding.table, row, measure])[0]:.3g}" for measure in JUDGED)
        measured = "live" if finding.table == "kind" else row
        lines.append(f"| {with_marks(says, 'photos', measured)} | {' | '.join(means)} |")
    return "\n".join(lines)


def settings_table(photos: str) -> str:
    """What ships beside its alternatives, of the differences among the tables `photos`."""
    cells = cells_of(photos)
    lines = [
        f"| setting | shipped | alternative | {' | '.join(TITLES[m] for m in JUDGED)} |",
        "|---" * (3 + len(JUDGED)) + "|",
    ]
    for *said, row in SETTINGS:
        found = (cells["live −", row, measure] for measure in JUDGED)
        shown = (f"{cell}{' n. s.' if holds_zero(cell) else ''}" for cell in found)
        lines.append(f"| {' | '.join(said[:2])} | {with_marks(said[2], 'photos', row)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def holds_zero(cell: str) -> bool:
    _, low, high = numbers(cell)
    return low <= 0 <= high


def mean_of(target: Target, rows: dict[str, Measured]) -> tuple[int, float, float, float]:
    """How many cases, the mean or its multiple of another row's, and the interval's bounds."""
    ours = rows[target.table][target.row]
    theirs = rows[target.beside_in or target.table][target.beside] if target.beside else ours
    cases = [case for case in ours if case in theirs and re.search(target.cases, case)]
    values = np.array([ours[case][target.measure] for case in cases])
    beside = np.array([theirs[case][target.measure] if target.beside else 1.0 for case in cases])
    drawn = np.random.default_rng(0).integers(len(cases), size=(DRAWS, len(cases)))
    ours_drawn, theirs_drawn = values[drawn].mean(1), beside[drawn].mean(1)
    # By cases in which the other has nothing at all the multiple has no bound.
    ratios = np.divide(ours_drawn, theirs_drawn, out=np.full(DRAWS, np.inf), where=theirs_drawn != 0)
    low, high = np.percentile(ratios, [2.5, 97.5], method="nearest")
    return len(cases), float(values.mean() / beside.mean()), float(low), float(high)


def words_tables(rows: Measured) -> str:
    memory = {name: max(row.get(text.KEPT, 0.0) for row in per_case.values()) for name, per_case in rows.items()}
    return text.tables(rows, {name: size for name, size in memory.items() if name != text.UNEDITED})


def between(page: str, name: str) -> str:
    """What stands between the marks of `name` on a page."""
    return page.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- /{name} -->")[0]


def filled(pages: dict[str, str], rows: dict[str, Measured]) -> dict[str, str]:
    """The pages with their tables as `rows` has them; tables without rows stay, but for their marks."""
    pages = dict(pages)

    def put(page: str, name: str, made: str) -> None:
        pages[page] = pages[page].replace(
            f"<!-- {name} -->\n{between(pages[page], name)}\n<!-- /{name} -->",
            f"<!-- {name} -->\n{made}\n<!-- /{name} -->",
        )

    made = {
        "photos": quality.tables,
        "composite": composite_table,
        "fresh": fresh_tables,
        RETRAINED: lambda today: retrained_tables(rows["fresh"], today),
        "words": words_tables,
        "photos-anew": quality.tables,
        "words-anew": words_tables,
        "instructed": by_instruction.tables,
    }
    rows = {**rows, "composite": rows["fresh"]} if "fresh" in rows else rows
    for name, draw in made.items():
        lines = draw(rows[name]) if name in rows else between(pages[APPENDIX], name)
        put(APPENDIX, name, marked(name, with_empty(name, lines)))
    photos, words = (between(pages[APPENDIX], name) for name in ("photos", "words"))
    put(APPENDIX, "settings", settings_table(photos))
    claims = claims_table(rows, photos, words)
    put(RESULTS, "claims", claims)
    for finding in FINDINGS:
        put(RESULTS, finding.name, finding_table(finding, photos))
    put(RESULTS, "old", footnotes(photos + words))
    if {"fresh", RETRAINED} <= set(rows):
        put(RESULTS, "fresh-rows", fresh_summary(rows["fresh"], rows[RETRAINED]))
    if "instructed" in rows:
        put(RESULTS, "instructed-claims", by_instruction.claims_table(rows["instructed"]))
        put(RESULTS, "instructed-rows", by_instruction.summary_table(rows["instructed"]))
    return pages


def read_rows() -> dict[str, Measured]:
    """Table -> rows, of the tables that have a file."""
    return {table: read_csv(path) for table in TABLES if (path := FOLDER / f"{table}.csv").exists()}


def read_pages() -> dict[str, str]:
    return {name: (FOLDER / name).read_text() for name in (RESULTS, APPENDIX)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for table in TABLES:
        parser.add_argument(f"--{table}", dest=table, type=Path, metavar="FILE", help="rows that were measured anew")
    args = vars(parser.parse_args(arguments))
    rows = read_rows()
    for table in TABLES:
        if anew := args[table]:
            rows[table] = {**rows.get(table, {}), **read_anew(anew, table)}
            write_csv(FOLDER / f"{table}.csv", rows[table], dict.fromkeys(measures_in(rows[table]), 1))
    for name, page in filled(read_pages(), rows).items():
        (FOLDER / name).write_text(page)
        print(f"wrote bench/{name}")


def read_anew(path: Path, table: str) -> Measured:
    """Rows for `table`, of a bench's results.csv or its rows.jsonl: of a table of fresh seeds those alone, without
    their seconds where these say nothing."""
    rows = read_csv(path) if path.suffix == ".csv" else read_lines(path)
    return {
        name: {
            case: {measure: value for measure, value in row.items() if measure != "seconds" or table not in UNTIMED}
            for case, row in per_case.items()
            if table not in FRESH or set_of(case) == "fresh"
        }
        for name, per_case in rows.items()
    }


def read_lines(path: Path) -> Measured:
    """What `Rows` wrote. Exits where a variant was measured in two ways: rows of two models, or of two settings, are
    not to be mixed."""
    rows: Measured = {}
    keys: dict[str, str] = {}
    for row in sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["case"]):
        name, case, key = (row.pop(fact) for fact in ("variant", "case", "key"))
        if keys.setdefault(name, key) != key:
            raise SystemExit(f"{path}: {name} has rows of {keys[name]} and of {key}; keep those of one")
        rows.setdefault(name, {})[case] = row
    return rows


def measures_in(rows: Measured) -> list[str]:
    return list(dict.fromkeys(measure for per_case in rows.values() for row in per_case.values() for measure in row))


if __name__ == "__main__":
    main()
