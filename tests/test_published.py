"""The published report: its pages say what the rows in bench/*.csv say, and which of those are old."""

import json
import re

import numpy as np
import pytest

from bench.quality import __main__ as bench
from bench.quality import cases, claims, fresh, published, report, text
from bench.quality.rows import Rows
from demo.measure import VIEWED


def rows_of(measures, values: dict[str, list[float]], kind: str = "inside") -> dict:
    """variant -> case -> row: every measure has the value."""
    return {
        name: {f"{kind}-{i}": {**dict.fromkeys(measures, value), "seconds": 60.0} for i, value in enumerate(per_case)}
        for name, per_case in values.items()
    }


def last_cell(line: str) -> str:
    return line.strip("|").split("|")[-1].strip()


def test_the_report_says_what_the_shipped_rows_say():
    """bench/*.csv have the rows, bench/RESULTS.md and bench/APPENDIX.md what follows from them."""
    rows, pages = published.read_rows(), published.read_pages()
    assert all(
        set(row) >= set(bench.MEASURES) - set(VIEWED)
        for per_case in rows["photos"].values()
        for row in per_case.values()
    )
    assert list(rows["photos"]["live"]) == sorted(case.name for case in cases.all_cases())
    assert set(rows["fresh"]["live"]) <= {case.name for case in cases.all_cases("fresh")}
    assert published.filled(pages, rows) == pages


def test_the_report_shows_its_pictures_and_all_of_them():
    folder = published.FOLDER
    pages = [*published.read_pages().values(), (folder / "SPEED.md").read_text()]
    shown = {name for page in pages for name in re.findall(r"!\[[^]]*\]\((pictures/[^)]+)\)", page)}
    assert shown == {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()}


def test_old_rows_are_there_and_marked():
    rows, pages = published.read_rows(), published.read_pages()
    words = {row for _, row, _ in published.cells_of(published.between(pages[published.APPENDIX], "words"))}
    there = {table: set(rows.get(table, words)) for table in published.TABLES}
    assert {(old.table, row) for old in claims.OLD for row in old.rows if row not in there[old.table]} == set()
    for i, old in enumerate(claims.OLD):
        block = published.between(pages[published.APPENDIX], old.table)
        assert old.why in block and old.why in published.between(pages[published.RESULTS], "old")
        marked = re.findall(rf"^\| ([^|]*?) [{published.MARKS}]*{published.MARKS[i]}", block, flags=re.MULTILINE)
        assert set(marked) == set(old.rows)


def test_a_row_that_is_empty_is_there_by_name_and_says_why():
    page = published.read_pages()[published.APPENDIX]
    for empty in claims.EMPTY:
        lines = published.between(page, empty.table)
        cells = {cell for (_, row, column), cell in published.cells_of(lines).items() if row == empty.row}
        assert cells == {"0", "–"} and f"- **{empty.row}**: {empty.why}\n" in lines
        assert published.with_empty(empty.table, lines) == lines


def test_a_row_measured_anew_loses_its_mark(monkeypatch):
    pages = published.read_pages()
    monkeypatch.setattr(published, "OLD", ())
    page = published.filled(pages, published.read_rows())[published.APPENDIX]
    assert not set(published.MARKS) & set(published.between(page, "photos") + published.between(page, "words"))


def test_claims_follow_the_rows():
    """Where the rows are changed about, so is what is said of them."""
    rows, pages = published.read_rows(), published.read_pages()
    photos = dict(rows["photos"], live=rows["photos"]["tav-ddim-ti"], **{"tav-ddim-ti": rows["photos"]["live"]})
    said, other = (
        published.between(published.filled(pages, {**rows, "photos": table})[published.RESULTS], "claims").splitlines()
        for table in (rows["photos"], photos)
    )
    assert [last_cell(line) for line in said[2:6]] == ["yes"] * 4
    assert [last_cell(line) for line in other[2:6]] == ["**no, the reverse**"] * 4
    guidance = next(i for i, line in enumerate(said) if "beats the reverse" in line)
    assert last_cell(said[guidance]) == "**no, the reverse**"  # the rival is what the paper says is better
    ghost = next(line for line in said if "ghost" in line).split("|")
    ships, first = rows[claims.RETRAINED]["shipped"], rows["fresh"]["plain-composite"]
    assert list(ships) == list(first)
    ratio = np.mean([row["ghost"] for row in ships.values()]) / np.mean([row["ghost"] for row in first.values()])
    assert float(ghost[4]) == pytest.approx(ratio, rel=0.01)


def test_what_ships_is_held_to_today_s_model():
    found = {(each.row, each.beside): (each.table, each.beside_in) for each in claims.TARGETS if each.table != "words"}
    assert found == {
        ("shipped", "plain-composite"): (claims.RETRAINED, "fresh"),
        ("shipped", "ceiling"): (claims.RETRAINED, ""),
        ("shipped", ""): (claims.RETRAINED, ""),
        ("shipped", "tav-ddim-ti"): (claims.RETRAINED, ""),
    }


def test_rows_measured_anew_come_into_the_report(tmp_path, monkeypatch):
    copied(tmp_path, monkeypatch)
    anew = rows_of(bench.MEASURES, {"blur-4": [0.75, 0.75]})
    report.write_csv(tmp_path / "results.csv", anew, {**bench.MEASURES, "seconds": -1})
    measured = rows_of(
        text.MEASURES, {"unedited": [0.0] * 8, "fatezero": [0.5] * 8, "blended-latent": [0.25] * 8}, "colour"
    )
    measured["fatezero"] |= rows_of(text.MEASURES, {"fatezero": [0.5] * 8}, "removal")["fatezero"]
    measured["fatezero"] = {case: {**row, text.KEPT: 12.34} for case, row in measured["fatezero"].items()}
    report.write_csv(tmp_path / "words-anew.csv", measured, {**text.MEASURES, "seconds": -1, text.KEPT: -1})
    before = published.read_rows()["photos"]
    published.main(["--photos", str(tmp_path / "results.csv"), "--words", str(tmp_path / "words-anew.csv")])
    rows, pages = published.read_rows(), published.read_pages()
    assert rows["photos"]["blur-4"] == anew["blur-4"] and rows["photos"]["live"] == before["live"]
    assert "| blur-4 ¹ | 2 | 0.75 [0.75, 0.75] |" in pages[published.APPENDIX]
    name = published.with_marks("fatezero", "words", "fatezero")
    assert f"| {name} | 8 | 0.5 [0.5, 0.5] |" in pages[published.APPENDIX]
    assert " | 60 | 12.3 |" in pages[published.APPENDIX]
    says = published.with_marks("FateZero changes a colour", "words", "fatezero")
    assert f"| {says} | accuracy at least 0.8 | 8 | 0.5 | 0.5 to 0.5 | **no** |" in pages[published.RESULTS]
    assert published.filled(pages, rows) == pages


def test_rows_of_few_fresh_cases_are_told_from_those_of_many():
    many, few = [0.5] * 9, [0.25] * 3
    rows = rows_of(bench.MEASURES, {"unedited": many, "shipped": many, "tav-ddim-ti": [1.0] * 8, "edges-0": few})
    said, composites = fresh.fresh_tables(rows), fresh.composite_table(rows)
    assert "| tav-ddim-ti | 8 | 1 [1, 1] |" in said and "| tav-ddim-ti | 8 | -0.5 [-0.5, -0.5] |" in said
    assert "edges-0" not in said and "| unedited | 9 | -0" not in said
    assert "| edges-0 | 3 | 0.25 |" in composites and "| shipped | 3 | 0.5 |" in composites
    assert "tav-ddim-ti" not in composites  # another edit, not another composite


def test_today_s_model_stands_beside_the_one_before():
    before = rows_of(bench.MEASURES, {"plain-composite": [0.5] * 9, "shipped": [1.0] * 9, "ceiling": [0.5] * 8})
    today = rows_of(bench.MEASURES, {"unedited": [0.0] * 9, "shipped": [0.25] * 9, "ceiling": [0.125] * 9})
    summary = fresh.fresh_summary(before, today).splitlines()
    assert summary[0].startswith("| 9 cases |")
    assert {line.split(" | ")[0]: line.split(" | ")[1] for line in summary[2:]} == {
        f"| {fresh.FIRST}": "0.5",
        f"| {fresh.SHIPPED_BEFORE}": "1",
        f"| {fresh.SHIPS}": "0.25",
        f"| {fresh.PERFECT}": "0.125",  # the ceiling before lacks a case
    }
    said = fresh.retrained_tables(before, today)
    assert f"| {fresh.SHIPS} − {fresh.SHIPPED_BEFORE} | 9 | -0.75 [-0.75, -0.75] |" in said
    assert f"| {fresh.SHIPS} − {fresh.FIRST} | 9 | -0.25 [-0.25, -0.25] |" in said
    assert "| unedited | 9 | 0 [0, 0] |" in said and "| inside | 9 | 0.25 [0.25, 0.25] |" in said
    assert f"steadiness, times the ceiling's: {fresh.SHIPS} 2.00." in said


def test_the_cases_that_changed_most_come_worst_first():
    values = [i / 20 for i in range(20)]
    before, today = (rows_of(bench.MEASURES, {"shipped": each}) for each in ([0.5] * 20, values))
    changed = [line.split(" | ")[0].strip("| ") for line in fresh.moved(fresh.of_both(before, today))[4:]]
    assert changed == [f"inside-{i}" for i in (*range(19, 13, -1), *range(5, -1, -1))]


def copied(tmp_path, monkeypatch) -> None:
    for path in published.FOLDER.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(published, "FOLDER", tmp_path)


def test_rows_by_today_s_model_come_in_as_a_bench_writes_them(tmp_path, monkeypatch):
    copied(tmp_path, monkeypatch)
    before = published.read_rows()
    log = Rows(tmp_path / "quality")
    ships = before[claims.RETRAINED]["shipped"]
    anew = {case: {**row, "edit_error": 0.125} for case, row in ships.items()}
    measured = [case for case in cases.all_cases("fresh") if case.name in ships]
    anew["sweep-fast-0"] = {"ghost": 0.5}  # of the same folder, for another table
    picture = np.zeros((2, 4, 4, 3), np.uint8)
    log.measure(
        [*measured[::-1], cases.make("sweep-fast", 0)],
        {"shipped": "k"},
        lambda case: lambda name: ({**anew[case.name], "seconds": 9.0}, picture),
    )
    del anew["sweep-fast-0"]
    published.main(["--fresh-retrained", str(log.file)])
    rows, pages = published.read_rows(), published.read_pages()
    assert rows[claims.RETRAINED] == {**before[claims.RETRAINED], "shipped": anew}  # no seconds, the others' rows stay
    assert rows["fresh"] == before["fresh"]
    summary = published.between(pages[published.RESULTS], "fresh-rows")
    assert next(line for line in summary.splitlines() if fresh.SHIPS in line).split(" | ")[3] == "0.125"
    assert published.filled(pages, rows) == pages


def test_rows_of_two_models_are_not_mixed(tmp_path):
    lines = [{"case": "fresh-fast-0", "key": key, "variant": "shipped", "ghost": 0.5} for key in ("a", "b")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(SystemExit, match="shipped has rows of a and of b"):
        published.read_anew(tmp_path / "rows.jsonl", claims.RETRAINED)


def test_the_picture_of_fresh_seeds_has_every_kind(tmp_path):
    keys = {name: name for name in fresh.PICTURED}
    log = Rows(tmp_path)
    shade = 200
    frames = np.full((8, 128, 128, 3), shade, np.uint8)
    log.measure(
        [cases.make(f"fresh-{kind}", fresh.CASE) for kind in cases.KINDS],
        keys,
        lambda case: lambda name: ({"ghost": 0.0}, frames),
    )
    picture = np.asarray(fresh.picture(log, keys))
    rows = [row * (fresh.SIDE + fresh.GAP) + fresh.SIDE // 2 for row in range(len(cases.KINDS))]
    column = len(fresh.FRAMES) * fresh.SIDE + fresh.GAP + fresh.SIDE
    assert picture[rows, column].tolist() == [[shade] * 3] * len(rows)
    assert len(picture) == rows[-1] + fresh.SIDE // 2
