"""What the whole of LIVE takes on a card: Stable Diffusion 1.5's size with random weights, half precision, 8 x 512².

    python -m bench.gpu                                  # needs a card with CUDA; a table, and bench/gpu.csv
    python -m bench.gpu --device cpu --size tiny --steps 2   # the same lines of code without one: no figure of a card

Nothing is downloaded. Measured, the quickest first, each figure told and kept at once: the forward beside the rate of a
plain matrix product on the same card, as it is and with channels last; what the loops ask of the host, which has a card
wait: a forward may ask nothing (`set_sync_debug_mode("error")`), a step of a loop one thing, whether it went well;
inversion and edit of 50 steps; 500 + 500 steps of tuning, and the most each holds; last the forward compiled. A part
that fails is told in words, and the rest goes on.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from live_core.attention import AttentionPlan
from live_core.concept import Concept, bind
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.methods import METHODS
from live_core.pretrained import LiveModel
from live_core.tuning import TuneSettings, tune

from .clocks import in_turns, part_of_peak, peak_memory, product, seconds
from .networks import EDITED, PROMPT, SIZES, Inputs, Size, inputs_of, model_of

FILE = Path(__file__).resolve().parent / "gpu.csv"
TURNS = 5
LIVE = METHODS["live"]
# What a step may ask of the host, and where: whether its latents, or its gradients, are finite.
MAY_ASK = ("checks.py", "learning.py")


@dataclass(frozen=True)
class Figure:
    what: str
    value: float | str  # words where it could not be measured
    unit: str = ""


@dataclass(frozen=True)
class Bench:
    """On what is measured, and how long."""

    size: Size
    device: torch.device
    dtype: torch.dtype
    steps: int | None = None  # of every stage, None for those of the papers
    compiles: bool = True

    @property
    def on_a_card(self) -> bool:
        return self.device.type == "cuda"

    def steps_of(self, papers: int) -> int:
        return papers if self.steps is None else self.steps

    def peak(self) -> float:
        """GB that were held at most, since `forget_peak` on a card, since the process began without one."""
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if self.on_a_card else peak_memory() / 1e3

    def forget_peak(self) -> None:
        if self.on_a_card:
            torch.cuda.reset_peak_memory_stats(self.device)


def clip_and_concepts(bench: Bench, model: LiveModel) -> tuple[torch.Tensor, tuple[Concept, ...]]:
    """A clip's latents (f, c, h, w), and a concept whose photo is its first frame."""
    size = bench.size
    clip = torch.randn(size.frames, 4, size.side, size.side, generator=torch.Generator().manual_seed(0))
    return clip, bind("<thing*>", "thing", clip[:1].clone(), model.tokenizer, model.text_encoder)


def edits(bench: Bench, model: LiveModel) -> Iterator[Figure]:
    """Inversion and edit of a tuned model, one after the other, as a graph has them."""
    steps, made = bench.steps_of(50), []
    clip, concepts = clip_and_concepts(bench, model)
    # What it takes does not depend on what was learned, so one step of each does.
    tuned = model.with_tuning(tune(model, clip, PROMPT, concepts, TuneSettings(1, 1)))

    def run(stage: Callable[[], object]) -> float:
        return seconds(lambda: made.append(stage()), bench.device)

    bench.forget_peak()
    yield Figure(f"inversion, {steps} steps", run(partial(invert, tuned, clip, PROMPT, LIVE, steps)), "s")
    asked = Edit("a <thing*> moving on the meadow")
    yield Figure(f"edit, {steps} steps", run(partial(edit, tuned, made[-1], asked, LIVE)), "s")
    yield Figure("inversion and edit, held at most", bench.peak(), "GB")


def tunings(bench: Bench, model: LiveModel) -> Iterator[Figure]:
    """A short tuning, which tells most if there is no time for the next, and a whole one."""
    clip, concepts = clip_and_concepts(bench, model)
    whole = bench.steps_of(500)
    for steps in sorted({max(whole // 20, 1), whole}):
        name = f"tuning, {steps} + {steps} steps"
        compute = partial(tune, model, clip, PROMPT, concepts, TuneSettings(steps, steps))
        bench.forget_peak()
        yield Figure(name, seconds(compute, bench.device), "s")
        yield Figure(f"{name}, held at most", bench.peak(), "GB")


def plan_inputs(bench: Bench, model: LiveModel) -> Inputs:
    """Of one stream under LIVE's plan."""
    return inputs_of(bench.size, AttentionPlan(LIVE.frame_plan), model.unet)


@torch.no_grad()
def forwards(bench: Bench, model: LiveModel) -> Iterator[Figure]:
    """One stream under LIVE's plan, as it is and in another layout, beside a product of matrices."""
    inputs, stock = plan_inputs(bench, model), model.unet.unet
    side = 8192 if bench.on_a_card else 128

    def measured(name: str) -> Iterator[Figure]:
        part, taken = part_of_peak(partial(inputs.predict, model.unet), TURNS, side, bench.dtype, bench.device)
        yield Figure(f"forward, {name}", taken * 1000, "ms")
        yield Figure(f"forward, {name}, part of a matrix product's rate", part)

    (taken,) = in_turns([product(side, bench.dtype, bench.device)], TURNS, bench.device)
    yield Figure(f"a product of matrices of {side} rows", 2 * side**3 / statistics.median(taken) / 1e12, "TFLOP/s")
    yield from measured("as it is")
    try:
        stock.to(memory_format=torch.channels_last)
        yield from measured("channels last")
    finally:
        stock.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def compiled(bench: Bench, model: LiveModel) -> Iterator[Figure]:
    """The same by `torch.compile`: it needs a compiler, and a graph that it understands."""
    inputs, stock = plan_inputs(bench, model), model.unet.unet.forward
    compute = partial(inputs.predict, model.unet)
    eager = compute()
    try:
        model.unet.unet.forward = torch.compile(stock)
        for _ in range(2):  # what one forward changes has the next compiled again
            yield Figure("compiling the forward", seconds(compute, bench.device), "s")
        taken = [seconds(compute, bench.device) for _ in range(TURNS)]
        yield Figure("forward, compiled", statistics.median(taken) * 1000, "ms")
        yield Figure("forward, compiled, greatest difference", (compute() - eager).abs().max().item())
    finally:
        vars(model.unet.unet).pop("forward", None)  # the class's own again


@contextmanager
def asked_of_host(bench: Bench, mode: str) -> Iterator[Counter[str]]:
    """Counts what has a card wait for the host within the `with` block, by the file that asks; in mode "error" it is an
    error. Without a card nothing does."""
    counts: Counter[str] = Counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            if bench.on_a_card:
                torch.cuda.set_sync_debug_mode(mode)
            yield counts
        finally:
            if bench.on_a_card:
                torch.cuda.set_sync_debug_mode("default")
            counts.update(Path(each.filename).name for each in told if "synchronizing" in str(each.message))


def questions(bench: Bench, model: LiveModel) -> Iterator[Figure]:
    """What loops ask of the host: a forward nothing, a step of a loop what `MAY_ASK` says."""
    inputs = plan_inputs(bench, model)
    with torch.no_grad():
        inputs.predict(model.unet)  # numbers to index with are put on the card once
        try:
            with asked_of_host(bench, "error"):
                inputs.predict(model.unet)
            yield Figure("a forward asks of the host", 0)
        except RuntimeError as error:
            yield Figure("a forward asks of the host", failed(error))
    counts = {steps: in_loops(bench, model, steps) for steps in (2, 4)}  # the difference is that of two steps
    for loop in counts[4]:
        step = {file: (counts[4][loop][file] - counts[2][loop][file]) / 2 for file in counts[4][loop]}
        beside = {file: count for file, count in step.items() if file not in MAY_ASK and count}
        yield Figure(f"a step of {loop} asks of the host", sum(step.values()))
        yield Figure(f"a step of {loop} asks besides", ", ".join(f"{beside[file]:g} {file}" for file in beside) or 0)


def in_loops(bench: Bench, model: LiveModel, steps: int) -> dict[str, Counter[str]]:
    """What each loop asks in so many steps."""
    found = {}
    clip, concepts = clip_and_concepts(bench, model)
    with asked_of_host(bench, "warn") as found["tuning"]:
        tune(model, clip, PROMPT, (), TuneSettings(steps, 0))
    with asked_of_host(bench, "warn") as found["tuning by the photo"]:
        tune(model, clip, PROMPT, concepts, TuneSettings(0, steps))
    with asked_of_host(bench, "warn") as found["inversion"]:
        inversion = invert(model, clip, PROMPT, LIVE, steps)
    with asked_of_host(bench, "warn") as found["edit"]:
        edit(model, inversion, Edit(EDITED), LIVE)
    return found


def measured(bench: Bench) -> Iterator[Figure]:
    model = model_of(bench.size, bench.dtype, bench.device)
    parts = {
        "forward": forwards,
        "what is asked of the host": questions,
        "inversion and edit": edits,
        "tuning": tunings,
    }
    for name, part in {**parts, **({"forward, compiled": compiled} if bench.compiles else {})}.items():
        try:
            yield from part(bench, model)
        except Exception as error:  # whatever a card or a compiler raises: the others may do
            yield Figure(name, failed(error))


def failed(error: Exception) -> str:
    """What is told of it, in one line."""
    return f"failed: {type(error).__name__}: {next(iter(str(error).splitlines()), ''):.120}"


def refusal(device: str) -> str:
    """Why this machine cannot, "" where it can."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        return (
            "--device: 'cuda', and PyTorch sees no card with CUDA here, so there is nothing to measure; run it on a"
            " machine with one, or give --device cpu --size tiny --steps 2 to try the code alone"
        )
    return ""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="sd15")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), help="float16 on a card, else float32")
    parser.add_argument("--steps", type=int, help="of every stage, in place of 500 + 500 and 50")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--csv", type=Path, default=FILE)
    args = parser.parse_args(arguments)
    if reason := refusal(args.device):
        sys.exit(reason)
    if args.steps is not None and args.steps < 1:
        parser.error(f"--steps: {args.steps}; give 1 or more")
    device = torch.device(args.device)
    dtype = getattr(torch, args.dtype or ("float16" if device.type == "cuda" else "float32"))
    bench = Bench(SIZES[args.size], device, dtype, args.steps, not args.no_compile)
    name = torch.cuda.get_device_name(device) if bench.on_a_card else "no card: a trial of the code"
    print(
        f"{name}, PyTorch {torch.__version__}, size {args.size}, {dtype}\n\n| what | measured |\n|---|---:|", flush=True
    )
    with args.csv.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["device", "size", "what", "value", "unit"])
        for each in measured(bench):
            value = each.value if isinstance(each.value, str) else f"{each.value:.4g}"
            out.writerow([name, args.size, each.what, value, each.unit])
            file.flush()
            print(f"| {each.what} | {value} {each.unit} |", flush=True)


if __name__ == "__main__":
    main()
