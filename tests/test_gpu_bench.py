"""The command for a machine with a card, on one without: it refuses in words, and its parts run on the CPU."""

import csv
import re
from dataclasses import replace

import pytest
import torch

from bench import gpu
from bench.networks import SIZES

NO_CARD = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")


@NO_CARD
def test_without_a_card_it_says_so(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        gpu.main(["--csv", str(tmp_path / "gpu.csv")])
    assert "--device: 'cuda'" in str(stopped.value) and "--device cpu" in str(stopped.value)
    assert not (tmp_path / "gpu.csv").exists()


def test_the_same_code_on_a_cpu(tmp_path, capsys, monkeypatch):
    """No figure of a card, but every line of the code that makes them."""
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], side=8, frames=2))
    monkeypatch.setattr(gpu, "TURNS", 1)
    file = tmp_path / "gpu.csv"
    gpu.main(["--device", "cpu", "--size", "tiny", "--steps", "1", "--no-compile", "--csv", str(file)])
    with file.open(newline="") as lines:
        figures = {line["what"]: line["value"] for line in csv.DictReader(lines)}
    stages = ("tuning, 1 + 1 steps", "tuning, 1 + 1 steps, held at most", "inversion, 1 steps", "edit, 1 steps")
    assert all(float(figures[stage]) > 0 for stage in stages)
    assert float(figures["forward, channels last"]) > 0
    loops = ("tuning", "tuning by the photo", "inversion", "edit")
    assert [figures[f"a step of {loop} asks besides"] for loop in loops] == ["0"] * 4
    told = capsys.readouterr().out
    assert "no card: a trial of the code" in told and all(f"| {what} |" in told for what in figures)


def test_the_page_says_what_was_measured():
    with gpu.FILE.open(newline="", encoding="utf-8") as lines:
        rows = {f"| {row['what']} | {row['value']} {row['unit']}".rstrip() + " |" for row in csv.DictReader(lines)}
    page = (gpu.FILE.parent / "SPEED.md").read_text(encoding="utf-8")
    table = page.split("<!-- gpu -->")[1].split("<!-- end of gpu -->")[0]
    said = re.findall(r"^\| .* \|$", table, flags=re.MULTILINE)[1:]
    assert said and set(said) <= rows


def test_a_part_that_fails_is_told_and_the_rest_goes_on(monkeypatch):
    def fail(*_):
        raise RuntimeError("no compiler here\nand more")

    for name in ("questions", "edits", "tunings"):
        monkeypatch.setattr(gpu, name, lambda *_: iter(()))
    monkeypatch.setattr(gpu, "forwards", fail)
    monkeypatch.setattr(torch, "compile", fail)
    bench = gpu.Bench(SIZES["tiny"], torch.device("cpu"), torch.float32, 1)
    told = [(figure.what, figure.value) for figure in gpu.measured(bench)]
    assert told == [(what, "failed: RuntimeError: no compiler here") for what in ("forward", "forward, compiled")]


def test_compiled_it_is_the_same_and_the_model_is_left_as_it_was(monkeypatch):
    bench = gpu.Bench(SIZES["tiny"], torch.device("cpu"), torch.float32)
    model = gpu.model_of(bench.size)
    compilations = []
    monkeypatch.setattr(torch, "compile", lambda forward: compilations.append(forward) or forward)
    figures = {figure.what: figure.value for figure in gpu.compiled(bench, model)}
    assert len(compilations) == 1 and figures["forward, compiled, greatest difference"] == 0
    assert "forward" not in vars(model.unet.unet)


def test_questions_are_counted_by_who_asks():
    """What PyTorch warns of on a card, told by this test in its place."""
    import warnings

    bench = gpu.Bench(SIZES["tiny"], torch.device("cpu"), torch.float32)
    with gpu.asked_of_host(bench, "warn") as counts:
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert counts == {"test_gpu_bench.py": 2}
