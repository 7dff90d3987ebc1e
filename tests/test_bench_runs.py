"""The benches run: on a few cases, what was measured is not measured again, what they cost is told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.quality import __main__ as bench
from bench.quality import cases, report, rows, text
from bench.quality.variants import SHIPPED, VARIANTS
from live_core.pretrained import Tuning


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
    fast = replace(
        variant,
        tuning=replace(variant.tuning, clip_steps=min(variant.tuning.clip_steps, 1), photo_steps=1),
        null_text=min(variant.null_text, 1),
    )
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
    latents = demo_model.encode_frames(bench.to_pictures(case.clip.frames()))
    mask = torch.ones(len(case.clip.frames()), 128, 128)
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
    for nothing_kept in ("ddim", "tokenflow"):
        assert text.attention_megabytes(demo_model, case, text.SYSTEMS[nothing_kept].method, 4) == 0
