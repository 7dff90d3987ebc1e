"""Edits by instruction: VIA, VIA without each of its parts, and what came before it, on clips of fresh seeds.

    python -m bench.quality.instructed --judge ~/demo-training-instruct             # everything; hours on one core
    python -m bench.quality.instructed --judge ~/demo-training-instruct --count 1 --stages frames
    python -m bench.quality.published                                               # into the report

Rows are kept one by one, and not measured twice: a run that was stopped goes on. After every stage, and at the end, all
that is measured goes to <out>/results.csv. The judge is trained in its folder when it is not there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.train import MODEL
from demo.training.judge import train_judge
from live_core.pretrained import fingerprint_of, load_folder

from ..report import write_csv
from ..rows import UNEDITED, Rows, key_of, weights_of
from .cases import COUNT, all_cases
from .measures import MEASURES
from .rows import ADAPTED, ATTENTION, GROUPS, LEARNED, OTHERS, PARTS, RAMPS, ROWS, STEADIED, UNTIL, WORDS_ROWS
from .subject import CEILING, LEARNING_RATE, SEARCH, SEED, STEPS, WORDS_STEPS, Models, Subject

FEW = 12  # cases of an ablation: two of every kind


@dataclass(frozen=True)
class Stage:
    """Rows that are measured together, case by case, on the first `cases`; weights are kept after so many steps as
    `adapted` says."""

    rows: tuple[str, ...]
    cases: int = 6 * COUNT
    adapted: tuple[int, ...] = ()


STAGES = {
    "frames": Stage((UNEDITED, CEILING, *ATTENTION)),
    "parts": Stage((*PARTS, *STEADIED), adapted=(ADAPTED,)),
    "others": Stage(tuple(OTHERS)),
    "words": Stage(tuple(WORDS_ROWS)),
    "ablations": Stage((*GROUPS, *UNTIL, *RAMPS), FEW),
    "learned": Stage(tuple(LEARNED), FEW, tuple(row.adapted for row in LEARNED.values())),
}


def keys_of(models: Models) -> dict[str, str]:
    """Names what each row's measurement depends on."""
    judge = fingerprint_of(models.judge.state_dict())
    asked = (weights_of(models.instructed), judge, STEPS, SEED, SEARCH, LEARNING_RATE)
    told = (weights_of(models.told), judge, WORDS_STEPS)
    return {
        UNEDITED: key_of(UNEDITED, judge),
        CEILING: key_of(CEILING, asked[0], judge),
        **{name: key_of(*asked, name, row) for name, row in ROWS.items()},
        **{name: key_of(*asked, name, row, ROWS[row.of]) for name, row in STEADIED.items()},
        **{name: key_of(*told, name, row) for name, row in WORDS_ROWS.items()},
    }


def run(models: Models, out: Path, stages: Sequence[str], count: int) -> None:
    """Measure what is missing of these stages, of so many cases of each kind, and write all that is there."""
    log, keys, cases = Rows(out), keys_of(models), all_cases(count)
    for stage in map(STAGES.__getitem__, stages):
        wanted = {name: keys[name] for name in stage.rows}
        log.measure(cases[: stage.cases], wanted, lambda case, stage=stage: Subject(models, case, stage.adapted).run)
        write_csv(out / "results.csv", log.of(keys), {**MEASURES, "seconds": -1})
    print(f"wrote {out / 'results.csv'}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", type=Path, required=True, help="folder with the judge; trained there when absent")
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--count", type=int, default=COUNT, help="cases of each kind")
    parser.add_argument("--out", type=Path, default=Path("output/quality-instructed"))
    args = parser.parse_args(arguments)
    judge, _ = train_judge(args.judge)
    models = Models(load_folder(MODEL.with_name("model_instruct")), load_folder(MODEL), judge)
    run(models, args.out, args.stages, args.count)


if __name__ == "__main__":
    main()
