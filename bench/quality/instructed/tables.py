"""What the rows by instruction say: the claims, held to them, and the tables of the two pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from demo.instructions import VAGUE

from ..report import DRAWS, Measured, kind_of, table
from ..rows import UNEDITED
from .cases import KINDS, MOTIONS, make
from .measures import MEASURES
from .rows import ADAPTED, ATTENTION, GROUPS, LEARNED, OTHERS, PARTS, RAMPS, ROWS, STEADIED, UNTIL, WORDS_ROWS
from .subject import CEILING

MAIN = ("via", *(name for name in PARTS if name != "via"), *STEADIED, *ATTENTION, *OTHERS, *WORDS_ROWS)
BOUNDS = {
    UNEDITED: "the clip as it is",
    CEILING: "a right answer through the autoencoder: what a perfect edit by this model measures",
}
TITLES = {
    "followed": "followed ↑",
    "one_choice": "one choice, vague ↑",
    "steadiness": "steadiness ↓",
    "rest_psnr_db": "rest, dB ↑",
}
NAMES = {
    CEILING: "a perfect edit by this model",
    "per-frame": "frame by frame (InstructPix2Pix)",
    "first-frame": "every frame reads the first",
    "previous-frame": "every frame reads the one before",
    "swap": "gather-and-swap alone",
    "swap-own": "the same, own keys added",
    "via": "VIA",
    "via-steady": "VIA, steadied in pixels",
    "per-frame-steady": "frame by frame, steadied in pixels",
    "no-adaptation": "VIA without adaptation",
    "no-swap": "VIA without gather-and-swap",
    "no-local": "VIA without local latent adaptation",
    "fatezero": "FateZero",
    "tokenflow": "TokenFlow",
}
ENOUGH = 8  # cases, for an interval to be claimed
# An ablation: what is changed, the row that it starts from, and the rows.
ABLATIONS = (
    ("key frames: four, and others", "swap", tuple(GROUPS)),
    ("swapped in all steps, and in fewer", "swap", ("per-frame", *UNTIL)),
    ("local latents: reversed ramp and inverted clip, and others", "no-adaptation", ("swap", *RAMPS)),
    (f"adaptation: {ADAPTED} steps, and others", "via", ("no-adaptation", *LEARNED)),
)


@dataclass(frozen=True)
class Claim:
    """`row` beside `rival` by `measure`, on the cases that both have: the difference, or where `times` is given the
    rival's mean as a multiple of the row's; or, where there is no rival, the row's mean. It is met where the figure is
    at least `bound`, and, if it has to be `shown`, its interval too."""

    says: str
    row: str
    measure: str
    rival: str = ""
    times: bool = False
    bound: float = 0.0
    kinds: tuple[str, ...] = KINDS
    shown: bool = True


CLAIMS = (
    Claim("VIA follows at least as often as frame by frame", "via", "followed", "per-frame", shown=False),
    Claim("VIA is at least twice as steady", "via", "steadiness", "per-frame", times=True, bound=2, shown=False),
    Claim("and of vague instructions alone", "via", "steadiness", "per-frame", True, 2, VAGUE, shown=False),
    Claim(
        "of vague instructions VIA holds one choice in 90 % of frames",
        "via",
        "one_choice",
        bound=0.9,
        kinds=VAGUE,
        shown=False,
    ),
    Claim("more than frame by frame", "via", "one_choice", "per-frame", kinds=VAGUE),
    Claim("VIA, steadied in pixels, is twice as steady", "via-steady", "steadiness", "per-frame", True, 2, shown=False),
    Claim("than frame by frame steadied the same way", "via-steady", "steadiness", "per-frame-steady", True, 1),
    Claim("and holds one choice in 90 % of frames", "via-steady", "one_choice", bound=0.9, kinds=VAGUE, shown=False),
    Claim("and follows as often as VIA", "via-steady", "followed", "via", shown=False),
    Claim("adaptation makes vague edits one choice", "via", "one_choice", "no-adaptation", kinds=VAGUE),
    Claim("and steadier", "via", "steadiness", "no-adaptation", times=True, bound=1),
    Claim("gather-and-swap makes vague edits one choice", "swap", "one_choice", "per-frame", kinds=VAGUE),
    Claim("and steadier", "swap", "steadiness", "per-frame", times=True, bound=1),
    Claim("and after adaptation still", "via", "steadiness", "no-swap", times=True, bound=1),
    Claim("local latents keep the rest, after adaptation", "via", "rest_psnr_db", "no-local"),
    Claim("and without it", "no-adaptation", "rest_psnr_db", "swap"),
    Claim("and the edit is followed as before", "no-adaptation", "followed", "swap", shown=False),
    Claim("reading the group alone is steadier than with own keys", "swap", "steadiness", "swap-own", True, 1),
    Claim("key frames are steadier than the first frame", "swap", "steadiness", "first-frame", True, 1),
    Claim("and than the one before", "swap", "steadiness", "previous-frame", True, 1),
)


def shared(rows: Measured, names: Iterable[str], measure: str, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """The cases of these kinds of which all these rows have the measure."""
    per_case = [{case for case, row in rows.get(name, {}).items() if measure in row} for name in names]
    return sorted(case for case in set.intersection(*per_case) if kind_of(case) in kinds)


def claims_table(rows: Measured) -> str:
    """What was asked of VIA and its parts, held to the rows."""
    lines = ["| claim | measure | cases | figure | 95 % interval | met? |", "|---" * 6 + "|"]
    return "\n".join([*lines, *(_claim(rows, claim) for claim in CLAIMS)])


def _claim(rows: Measured, claim: Claim) -> str:
    names = [claim.row, *([claim.rival] if claim.rival else [])]
    cases = shared(rows, names, claim.measure, claim.kinds)
    said = TITLES[claim.measure].replace(", vague", "")
    if not cases:
        return f"| {claim.says} | {said} | 0 | not measured | | |"
    values = np.array([[rows[name][case][claim.measure] for case in cases] for name in names])
    figure = _figure(claim, values.mean(1))
    drawn = np.random.default_rng(0).integers(len(cases), size=(DRAWS, len(cases)))
    low, high = np.percentile([_figure(claim, values[:, some].mean(1)) for some in drawn], [2.5, 97.5])
    enough = len(cases) >= ENOUGH
    met = "yes" if figure >= claim.bound else "**no**"
    if not enough or (claim.shown and low <= claim.bound <= figure):
        met = "not shown"
    unit = " times" if claim.times else ""
    sign = "+" if claim.rival and not claim.times else ""
    within = f"{low:.3g} to {high:.3g}" if enough else "too few"
    return f"| {claim.says} | {said} | {len(cases)} | {figure:{sign}.3g}{unit} | {within} | {met} |"


def _figure(claim: Claim, means: np.ndarray) -> float:
    if not claim.rival:
        return float(means[0])
    return float(means[1] / max(means[0], 1e-9) if claim.times else means[0] - means[1])


def summary_table(rows: Measured) -> str:
    """A line a row: means over the cases that all of them have."""
    there = {name: said for name, said in NAMES.items() if name in rows}
    cases = sorted(set.intersection(*(set(rows[name]) for name in there)))
    lines = [f"| {len(cases)} clips | {' | '.join(TITLES.values())} |", "|---" * (1 + len(TITLES)) + "|"]
    for name, said in there.items():
        found = [rows[name][case] for case in cases]
        cells = [f"{np.mean(values):.3g}" if (values := [row[m] for row in found if m in row]) else "–" for m in TITLES]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tables(rows: Measured) -> str:
    """Every row, VIA and gather-and-swap alone less each other row, by kind and by motion, and the ablations."""
    main = {name: list(rows[name].values()) for name in (UNEDITED, CEILING, *MAIN) if name in rows}
    lines = ["Every row, over the cases that it has:", "", *table("row", MEASURES, main, _seconds(main)), ""]
    for first in ("via", "swap"):
        others = {name: _less(rows, first, name) for name in MAIN if name != first}
        if found := {name: values for name, values in others.items() if values}:
            lines += [f"{_said(first)} less each row, case by case:", "", *table(f"{first} −", MEASURES, found), ""]
    lines += ["By kind of instruction:", "", *_split(rows, KINDS, kind_of), ""]
    lines += ["By motion:", "", *_split(rows, MOTIONS, motion_of), ""]
    lines += [line for ablation in ABLATIONS for line in _ablation(rows, *ablation)]
    return "\n".join([*lines, *_meanings(rows)])


def motion_of(case: str) -> str:
    kind, index = case.rsplit("-", 1)
    return make(kind, int(index)).motion


def _said(name: str) -> str:
    return NAMES.get(name, name)


def _seconds(groups: dict[str, list[dict]]) -> dict[str, dict[str, str]]:
    return {"seconds": {name: f"{np.mean([row['seconds'] for row in found]):.1f}" for name, found in groups.items()}}


def _less(rows: Measured, first: str, other: str) -> list[dict[str, float]]:
    ours, theirs = rows.get(first, {}), rows.get(other, {})
    return [
        {m: ours[case][m] - theirs[case][m] for m in MEASURES if m in ours[case] and m in theirs[case]}
        for case in ours
        if case in theirs
    ]


def _split(rows: Measured, parts: Iterable[str], part_of: Callable[[str], str]) -> list[str]:
    groups = {
        f"{part}: {name}": [row for case, row in rows[name].items() if part_of(case) == part]
        for part in parts
        for name in ("per-frame", "swap", "no-adaptation", "via")
        if name in rows
    }
    return table("part: row", MEASURES, {name: found for name, found in groups.items() if found})


def _ablation(rows: Measured, says: str, base: str, names: tuple[str, ...]) -> list[str]:
    """The rows of an ablation on the cases that all of them have, those that were not measured left out."""
    there = [name for name in (base, *names) if name in rows]
    if base not in there or not set(there) & (set(names) - set(MAIN)):
        return [f"Not measured: {says}.", ""]
    cases = sorted(set.intersection(*(set(rows[name]) for name in there)))
    groups = {name: [rows[name][case] for case in cases] for name in there}
    return [f"{says[0].upper()}{says[1:]}:", "", *table("row", MEASURES, groups), ""]


def _meanings(rows: Measured) -> list[str]:
    said = {**BOUNDS, **{name: row.says for name, row in (ROWS | STEADIED | WORDS_ROWS).items()}}
    return ["Rows:", "", *(f"- **{name}**: {what}" for name, what in said.items() if name in rows)]
