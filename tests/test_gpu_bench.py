"""The command for a machine with a card, on one without: it refuses in words, and its parts run on the CPU."""

import csv
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
    stages = ("tuning, 1 + 1 steps", "tuning, held at most", "inversion, 1 steps", "edit, 1 steps")
    assert all(float(figures[stage]) > 0 for stage in stages)
    assert float(figures["forward, channels last"]) > 0
    assert [figures[f"a step of {loop} asks besides"] for loop in ("tuning", "inversion", "edit")] == ["0"] * 3
    told = capsys.readouterr().out
    assert "no card: a trial of the code" in told and all(f"| {what} |" in told for what in figures)


def test_a_compiler_that_fails_is_told_and_leaves_the_model(monkeypatch):
    bench = gpu.Bench(SIZES["tiny"], torch.device("cpu"), torch.float32, 1)
    model = gpu.model_of(bench.size)
    inputs = gpu.inputs_of(bench.size, gpu.AttentionPlan(gpu.LIVE.frame_plan), model.unet)

    def fail(_forward):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", fail)
    with torch.no_grad():
        before = inputs.predict(model.unet)
        (figure,) = gpu.compiled(bench, model, inputs)
        assert figure.value == "failed: RuntimeError: no compiler here"
        assert torch.equal(inputs.predict(model.unet), before)


def test_questions_are_counted_by_who_asks():
    """What PyTorch warns of on a card, told by this test in its place."""
    import warnings

    bench = gpu.Bench(SIZES["tiny"], torch.device("cpu"), torch.float32)
    with gpu.asked_of_host(bench, "warn") as counts:
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert counts == {"test_gpu_bench.py": 2}
