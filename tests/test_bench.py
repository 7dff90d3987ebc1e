"""The benches: seeded cases whose truth the judge knows, rows measured once, tables right, and each bench from end to
end.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bench.quality import __main__ as bench
from bench.quality import cases, report, rows, text
from bench.quality.variants import SHIPPED, VARIANTS
from demo.measure import measure
from live_core.frames import ALONE
from live_core.methods import METHODS
from live_core.pretrained import Tuning
from live_core.tuning import TuneSettings


def same(a, b) -> bool:
    """Whether two cases are one: everything but what is drawn from it."""
    return a == b and all(np.array_equal(x.frames(), y.frames()) for x, y in ((a.clip, b.clip), (a.truth, b.truth)))


@pytest.mark.parametrize("seeds,prefix", [("tuned", ""), ("fresh", "fresh-")])
def test_every_kind_has_its_cases_and_a_seed_gives_the_same_twice(seeds, prefix):
    every = cases.all_cases(seeds)
    assert len(every) == sum(cases.KINDS.values()) and len({case.name for case in every}) == len(every)
    assert [report.kind_of(case.name) for case in every[: len(cases.KINDS)]] == [
        prefix + kind for kind in cases.KINDS
    ]  # a part asks every question
    assert all(same(cases.make(report.kind_of(case.name), int(case.name[-1])), case) for case in every[:2])
    assert same(cases.make("two", 1), cases.make("two", 1)) and len({case.prompt for case in every}) > len(every) / 2


def test_no_seed_serves_twice():
    """Fresh cases are other clips than those that settings were chosen by, and have no photo of theirs."""
    tuned, fresh = (cases.all_cases(seeds) for seeds in cases.SEEDS)
    assert not {case.clip for case in tuned} & {case.clip for case in fresh}
    assert not {case.swaps[0].photo for case in tuned} & {case.swaps[0].photo for case in fresh}
    assert [case.name.removeprefix(cases.FRESH) for case in fresh] == [case.name for case in tuned]


def test_edits_by_words_have_cases_of_every_kind():
    for kind in text.KINDS:
        one, other = text.make(kind, 0), text.make(kind, 1)
        assert same(one, text.make(kind, 0)) and not same(one, other) and one.prompt != one.clip.caption


def test_cases_ask_their_kind_s_question():
    def run(case):
        return np.ptp(case.clip.tracks[0].x)

    assert max(run(cases.make("slow", i)) for i in range(3)) < min(run(cases.make("fast", i)) for i in range(3))
    assert cases.make("exit", 0).clip.masks(0)[-1].sum() < 0.7 * cases.make("exit", 0).clip.masks(0)[0].sum()
    radius = cases.make("scale", 0).clip.tracks[0].radius
    assert radius[-1] > 1.5 * radius[0]
    for kind in ("two", "distractor"):
        case = cases.make(kind, 0)
        assert len(case.clip.things) == 2 and len(case.swaps) == 1 and case.truth.things[1] == case.clip.things[1]
    assert len({thing.shape for thing in cases.make("distractor", 0).clip.things}) == 1
    assert (
        cases.make("outside", 0).swaps[0].target.pattern and cases.make("outside", 1).swaps[0].initial_word == "thing"
    )


@pytest.mark.parametrize("kind", cases.KINDS)
def test_the_judge_knows_the_truth(kind):
    """The centre of what is seen is that of what was drawn to within a pixel: edges of low contrast do not count as
    different.
    """
    case = cases.make(kind, 0)
    perfect, unedited = measure(case, case.truth.frames()), measure(case, case.clip.frames())
    assert perfect["object_accuracy"] == 1 and perfect["object_error"] == 0 and perfect["motion_error_px"] < 1
    assert unedited["object_accuracy"] == 0 and unedited["object_error"] > 0
    assert perfect["background_psnr_db"] == unedited["background_psnr_db"] > 60  # equal pixels: nothing else may change


@pytest.mark.parametrize("kind", text.KINDS)
def test_the_judge_of_edits_by_words_knows_the_truth(kind):
    case = text.make(kind, 0)
    perfect, unedited = (text.measure(case, clip.frames(), clip.frames()) for clip in (case.truth, case.clip))
    assert perfect["accuracy"] == 1 and perfect["background_psnr_db"] > 60 and unedited["accuracy"] == 0
    assert ("shape_iou" in perfect) == ("shape_iou" in text.measures_of(kind)) == (kind != "removal")
    assert kind == "removal" or perfect["shape_iou"] > max(0.9, unedited["shape_iou"])


def others(settings, rivals) -> list:
    """`settings` with one field changed, for each field: to what another row of the table has, else to a number not far
    off.
    """
    out = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        rival = next((getattr(r, field.name) for r in rivals if getattr(r, field.name) != value), None)
        if rival is None:
            rival = (
                not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else (value or 0.5) * 0.9
            )
        out.append(replace(settings, **{field.name: rival}))
    return out


def test_a_key_names_the_settings_and_not_the_variant():
    key = SHIPPED.key("model", 25)
    assert (
        replace(SHIPPED, name="else", claim="else", method=replace(SHIPPED.method, name="else")).key("model", 25) == key
    )
    methods = [method for method in others(replace(SHIPPED.method, name=""), METHODS.values()) if method.name == ""]
    changed = [
        SHIPPED.key("another", 25),
        SHIPPED.key("model", 26),
        replace(SHIPPED, blur=9.0).key("model", 25),
        replace(SHIPPED, dilation=9).key("model", 25),
        replace(SHIPPED, null_text=True).key("model", 25),
        replace(SHIPPED, pasted=False).key("model", 25),
        replace(SHIPPED, edge_radius=99).key("model", 25),
        replace(SHIPPED, gives_back=True).key("model", 25),
        *(
            replace(SHIPPED, tuning=tuning).key("model", 25)
            for tuning in others(SHIPPED.tuning, [TuneSettings(frame_plan=ALONE, photo_loss="square")])
        ),
        *(replace(SHIPPED, method=method).key("model", 25) for method in methods),
    ]
    assert len(changed) == 8 + len(fields(SHIPPED.tuning)) + len(fields(SHIPPED.method)) - 1 and len(
        {key, *changed}
    ) == 1 + len(changed)
    assert len({variant.key("model", 25) for variant in VARIANTS.values()}) == len(VARIANTS)


def test_a_key_knows_the_autoencoder_too():
    """The model's own fingerprint leaves it out; what is measured is what it decodes."""
    model = bench.load_folder(bench.MODEL)
    before = rows.weights_of(model)
    assert rows.weights_of(replace(model, fingerprint="another")) != before
    with torch.no_grad():
        next(model.vae.parameters()).add_(0.1)
    assert rows.weights_of(model) != before == rows.weights_of(bench.load_folder(bench.MODEL))


def made_up(measures, values: dict[str, list[float]], kind: str = "inside") -> dict:
    """variant -> case -> row: every measure has the value."""
    return {
        name: {f"{kind}-{i}": {**dict.fromkeys(measures, value), "seconds": 60.0} for i, value in enumerate(per_case)}
        for name, per_case in values.items()
    }


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_intervals_hold_the_mean_and_narrow_with_more_cases():
    rng = np.random.default_rng(0)
    few, many = rng.normal(size=10), rng.normal(size=1000)
    widths = []
    for values in (few, many):
        low, high = report.interval(values, rng)
        assert low < values.mean() < high
        widths.append((high - low) / (2 * 1.96 * values.std() / len(values) ** 0.5))
    assert widths == pytest.approx([1, 1], abs=0.1)  # the normal approximation, which the bootstrap of a mean tends to
    assert report.interval(np.full(4, 3.0), rng) == (3.0, 3.0)


def test_the_main_table_says_what_the_rows_say():
    measured = made_up(bench.MEASURES, {"live": [3.0, 5.0], "tav-ddim-ti": [1.0, 2.0, 9.0], "blur-0": [4.0]})
    measured["live"]["slow-0"] = dict(measured["live"]["inside-0"], object_error=7.0)
    lines = bench.tables(measured).splitlines()
    tables = [
        [cells(line) for line in block.splitlines()]
        for block in "\n".join(lines).split("\n\n")
        if block.startswith("|")
    ]
    variants, differences, kinds = tables
    assert variants[0][:4] == ["variant", "cases", "object_accuracy ↑", "object_error ↓"]
    assert [row[:3] for row in variants[2:]] == [
        ["live", "3", "3.67 [3, 5]"],
        ["tav-ddim-ti", "3", "4 [1, 9]"],
        ["blur-0", "1", "4 [4, 4]"],
    ]
    assert [row[:3] for row in differences[2:]] == [
        ["tav-ddim-ti", "2", "2.5 [2, 3]"],
        ["blur-0", "1", "-1 [-1, -1]"],
    ]  # over shared cases alone
    assert [row[:2] for row in kinds[2:]] == [["inside", "2"], ["slow", "1"]] and kinds[3][3] == "7 [7, 7]"
    assert "where the ceiling itself" not in "\n".join(lines)
    assert (
        "Cases with object_accuracy 0.8, motion_error_px 6, background_psnr_db 30 or better, all at once: live 0 of 3,"
        " tav-ddim-ti 0 of 3" in "\n".join(lines)
    )
    assert "Seconds a case (tune, invert, edit; one thread a process): live 60, tav-ddim-ti 60" in "\n".join(lines)


@pytest.mark.parametrize("worse", bench.TARGETS)
def test_targets_are_met_all_at_once(worse):
    assert bench.meets_targets(bench.TARGETS)
    assert not bench.meets_targets({**bench.TARGETS, worse: bench.TARGETS[worse] - 0.01 * bench.MEASURES[worse]})


def test_rows_older_than_a_measure_have_a_dash_there_and_a_measure_of_no_row_no_column():
    measured = made_up(bench.MEASURES, {"ceiling": [0.5], "live": [3.0], "blur-0": [4.0]})
    for row in (measured["ceiling"]["inside-0"], measured["live"]["inside-0"], measured["blur-0"]["inside-0"]):
        del row["residue"]
    del measured["blur-0"]["inside-0"]["ghost"]
    said = bench.tables(measured)
    rows = {cells(line)[0]: cells(line) for line in said.split("\n\n")[0].splitlines()}
    assert (
        "residue" not in said
        and rows["blur-0"][rows["variant"].index("ghost ↓")] == "–" != rows["live"][rows["variant"].index("ghost ↓")]
    )
    assert "steadiness, times the ceiling's: live 6.00, blur-0 8.00." in said


def test_a_csv_has_nothing_where_a_row_has_no_measure(tmp_path):
    report.write_csv(
        tmp_path / "rows.csv", {"live": {"inside-0": {"edit_error": 0.25}}}, {"edit_error": -1, "ghost": -1}
    )
    assert (tmp_path / "rows.csv").read_text().splitlines() == ["variant,case,edit_error,ghost", "live,inside-0,0.25,"]


def test_cases_that_no_edit_could_show_are_told_apart():
    measured = made_up(
        bench.MEASURES, {"ceiling": [50.0, 50.0, 50.0], "live": [3.0, 5.0, 9.0], "tav-ddim-ti": [1.0, 1.0, 1.0]}
    )
    for case, px in (("inside-0", 1.0), ("inside-1", 7.0), ("inside-2", 6.0)):
        measured["ceiling"][case]["motion_error_px"] = px
    tables = [block for block in bench.tables(measured).split("\n\n") if block.startswith("|")]
    every, some = ([cells(line)[:3] for line in block.splitlines() if "tav" in line] for block in tables[1:3])
    assert every == [["tav-ddim-ti", "3", "4.67 [2, 8]"]] and some == [["tav-ddim-ti", "2", "5 [2, 8]"]]
    assert "without inside-1, where the ceiling itself" in bench.tables(measured)


def test_the_tables_of_edits_by_words_have_a_kind_each():
    measured = made_up(text.MEASURES, {"unedited": [0.0, 0.0], "fatezero": [1.0, 3.0], "ddim": [2.0, 2.0]}, "colour")
    del measured["unedited"]["colour-0"]["seconds"], measured["unedited"]["colour-1"]["seconds"]
    measured["fatezero"]["removal-0"] = {**measured["fatezero"]["colour-0"], "seconds": 7.0}
    said = text.tables(measured, {"fatezero": 12.34, "ddim": 0.0})
    colour, removal = (block.split("\n\n")[1].splitlines() for block in said.split("### ")[1:])
    assert [cells(line) for line in colour[2:]] == [
        ["unedited", "2", *["0 [0, 0]"] * 5, "–", "–"],
        ["fatezero", "2", *["2 [1, 3]"] * 5, "60", "12.3"],
        ["ddim", "2", *["2 [2, 2]"] * 5, "60", "0.0"],
    ]
    assert cells(removal[0]) == [
        "system",
        "cases",
        "accuracy ↑",
        "background_psnr_db ↑",
        "background_psnr_before_db ↑",
        "temporal_consistency ↑",
        "seconds",
        "attention kept by `ram`, MB",
    ]
    assert [cells(line)[:2] for line in removal[2:]] == [["fatezero", "1"]]


def test_parts_share_the_cases():
    parts = [rows.part(f"{i}/3") for i in range(3)]
    assert sorted(n for share in parts for n in range(10)[share]) == list(range(10)) and rows.part("0/1") == slice(
        0, None, 1
    )
    for wrong in ("2/2", "-1/2", "1", "a/b"):
        with pytest.raises(ValueError):
            rows.part(wrong)


@pytest.fixture
def small_model(demo_model, monkeypatch):
    """Both benches on the model that is loaded already."""
    for module in (bench, text):
        monkeypatch.setattr(module, "load_folder", lambda _: demo_model)
    return demo_model


def test_the_bench_runs_and_measures_nothing_twice(small_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "PLOTTED", bench.PLOTTED[:1])
    for name in ("live", "blur-4"):
        monkeypatch.setitem(
            VARIANTS, name, replace(VARIANTS[name], tuning=replace(VARIANTS[name].tuning, clip_steps=1, photo_steps=1))
        )
    command = ["--cases", "inside-0", "--variants", "live", "blur-4", "--steps", "2", "--out", str(tmp_path)]
    bench.main(command)
    first = rows.Rows(tmp_path).read()
    assert [(row["case"], row["variant"]) for row in first] == [
        ("inside-0", name) for name in ("unedited", "ceiling", "live", "blur-4")
    ]
    unedited, ceiling, live, _ = first
    assert (
        all(np.isfinite(row[m]) for row in first for m in bench.MEASURES) and unedited["flicker"] == 0 < live["flicker"]
    )
    assert bench.meets_targets(ceiling) and ceiling["mask_iou"] == 1 and not bench.meets_targets(unedited)
    assert rows.Rows(tmp_path).strip(first[0]).shape == (1, 128, 8 * 128, 3)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert {"RESULTS.md", "results.csv", "sheets/inside-0.png", *(f"plots/{m}.png" for m in bench.PLOTTED)} <= made
    said = capsys.readouterr().out
    bench.main(command)
    assert (
        rows.Rows(tmp_path).read() == first and "object_error" in said and "object_error" not in capsys.readouterr().out
    )
    assert (
        unedited["edit_error"] == 1 and 0 < ceiling["edit_error"] < 0.5 and ceiling["ghost"] < 0.1 < unedited["ghost"]
    )


def test_fresh_seeds_are_reported_apart(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "PLOTTED", bench.PLOTTED[:1])
    bench.main(["--cases", "inside-0", "--variants", "--out", str(tmp_path)])
    bench.main(["--cases", "inside", "slow", "--count", "1", "--seeds", "fresh", "--variants", "--out", str(tmp_path)])
    assert [row["case"] for row in rows.Rows(tmp_path).read()] == [
        name for name in ("inside-0", "fresh-inside-0", "fresh-slow-0") for _ in range(2)
    ]
    for suffix, count in (("", 1), ("-fresh", 2)):
        said = (tmp_path / f"RESULTS{suffix}.md").read_text()
        assert f"| ceiling | {count} |" in said and ("fresh seeds" in said) == bool(suffix)
        rows_of = report.read_csv(tmp_path / f"results{suffix}.csv")
        assert {case.startswith("fresh-") for per_case in rows_of.values() for case in per_case} == {bool(suffix)}
    assert (tmp_path / "sheets" / "fresh-slow-0.png").exists()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.endswith("-ti")])
def test_a_baseline_learns_the_photo_and_pastes_nothing(name, demo_model, monkeypatch):
    """The photo's steps are LIVE's own; clip steps only where the method's paper tunes, seeing what the method sees;
    what comes out is its own picture.
    """
    variant, case = VARIANTS[name], cases.make("inside", 0)
    assert variant.tuning.photo_steps == SHIPPED.tuning.photo_steps and not variant.tuning.latent_prompt
    assert variant.tuning.frame_plan == variant.method.frame_plan
    monkeypatch.setattr(bench, "NULL_TEXT_STEPS", 1)
    fast = replace(variant, tuning=replace(variant.tuning, clip_steps=min(variant.tuning.clip_steps, 1), photo_steps=1))
    monkeypatch.setitem(VARIANTS, name, fast)
    runner = bench.Bench(demo_model, case, 2)
    row, frames = runner.run(name)
    (pictures, _), _ = runner.edited(fast)
    assert np.array_equal(frames, bench.to_frames(pictures)) and all(np.isfinite(row[m]) for m in bench.MEASURES)


def test_seconds_are_those_of_a_variant_s_own_steps_whoever_ran_them_first(demo_model, monkeypatch):
    clock = [0.0]

    def takes(seconds: float, result):
        def run(*_):
            clock[0] += seconds
            return result

        return run

    case = cases.make("inside", 0)
    latents, mask = (
        demo_model.encode_frames(bench.to_pictures(case.clip.frames())),
        torch.ones(len(case.clip.frames()), 128, 128),
    )
    monkeypatch.setattr(bench.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(bench, "tune", takes(4.0, Tuning({}, None, (), case.prompt, demo_model.fingerprint)))
    monkeypatch.setattr(bench, "invert", takes(2.0, None))
    monkeypatch.setattr(bench, "edit", takes(1.0, bench.Edited(latents, mask, None)))
    runner = bench.Bench(demo_model, case, 2)
    assert [runner.run(name)[0]["seconds"] for name in ("live", "blur-0", "no-injection", "sequential")] == [
        7.0
    ] * 4 and clock[0] == 15


def test_the_bench_of_edits_by_words_runs_in_parts(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "PLOTTED", text.PLOTTED[:1])
    command = [
        "--kinds",
        "colour",
        "removal",
        "--methods",
        "blended-latent",
        "--count",
        "1",
        "--steps",
        "2",
        "--out",
        str(tmp_path),
    ]
    text.main([*command, "--part", "0/2"])
    assert {row["case"] for row in rows.Rows(tmp_path).read()} == {"colour-0"} and "### removal" not in (
        tmp_path / "RESULTS.md"
    ).read_text()
    text.main([*command, "--part", "1/2"])
    said = (tmp_path / "RESULTS.md").read_text()
    assert len(rows.Rows(tmp_path).read()) == 2 * 2 and all(
        said.count(f"| {name} | 1 |") == 2 for name in ("unedited", "blended-latent")
    )
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert {
        "sheets/colour-0.png",
        "sheets/removal-0.png",
        *(f"plots/{kind}-{m}.png" for kind in ("colour", "removal") for m in text.PLOTTED),
    } <= made


def test_the_memory_of_a_method_is_what_its_part_of_the_steps_keeps(demo_model):
    case, method = text.make("colour", 0), text.SYSTEMS["fatezero"].method
    clip = demo_model.encode_frames(text.to_pictures(case.clip.frames()))
    whole, part, maps = (
        text.invert(demo_model, clip, case.clip.caption, method, 4, "ram", kept_steps=kept).store.nbytes() / 1e6
        for kept in (1.0, 0.75, 0.0)
    )
    assert text.attention_megabytes(demo_model, case, method, 4) == pytest.approx(part) and 0 < maps < part < whole
    assert text.attention_megabytes(demo_model, case, text.SYSTEMS["blended-latent"].method, 4) == pytest.approx(
        maps, rel=0.05
    )
    assert text.attention_megabytes(demo_model, case, text.SYSTEMS["ddim"].method, 4) == 0
