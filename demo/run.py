"""The demo: the shipped clip and photo through a real ComfyUI server, measured against the true answer.

python -m demo.run          # one case, a minute or so: output/demo/, demo.webp shows it, report.json measures it
python -m demo.run --all    # every shipped case beside the unedited clip and the baseline, as a table
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from live_core.pretrained import load_folder

from .cases import CASES, FOLDER, Case
from .frames import contact_sheet
from .measure import measure
from .measure.ceiling import ceiling
from .show import moving, write_moving

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "demo" / "model"
# By the number of photos.
WORKFLOWS = {
    1: ROOT / "workflows" / "api" / "live_image_driven_edit.json",
    2: ROOT / "workflows" / "api" / "live_two_objects.json",
}
STAGES = {
    "LIVE_LoadModel": "load",
    "LIVE_BindConcept": "bind",
    "LIVE_Tune": "tune",
    "LIVE_Invert": "invert",
    "LIVE_Edit": "edit",
    "LIVE_Composite": "composite",
}
# Tune-A-Video with textual inversion, sampled from the inverted noise: nothing injected, nothing blended.
BASELINE = {f"{node}.method": "tav-ddim" for node in ("Tune Video", "Invert Video (DDIM)", "Edit Video")}


def _comfy():
    """scripts/headless.py as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import headless

    return headless


@dataclass(frozen=True)
class Done:
    """What one run of the workflow left: its mp4; `source` and `edited` (f, H, W, 3) uint8, the frames that went into
    the compositor and came out of it, before a codec; the seconds of each stage."""

    video: bytes
    source: np.ndarray
    edited: np.ndarray
    seconds: dict[str, float]


async def edit_case(comfy, client, case: Case, changes: dict) -> Done:
    """Run the workflow on one case."""
    workflow = json.loads(WORKFLOWS[len(case.swaps)].read_text())
    for target, value in {
        "LIVE Demo Clip and Photo.case": case.name,
        "Prompt.value": case.prompt,
        "Edit prompt.value": case.edit_prompt,
        "Bind Photo to Placeholder.initial_word": case.swaps[0].initial_word,
        **changes,
    }.items():
        comfy.override(workflow, target, value)
    ((name, composite),) = [(i, node) for i, node in workflow.items() if node["class_type"] == "LIVE_Composite"]
    shown = {"source": composite["inputs"]["images"], "edited": [name, 0]}
    started = time.time()
    outcome, events, history = await client.run(
        workflow | {key: {"class_type": "PreviewImage", "inputs": {"images": link}} for key, link in shown.items()},
        _progress(workflow),
    )
    if outcome != "success":
        raise SystemExit(f"the workflow ended with {outcome}: {events[-1][2].get('exception_message')}")
    frames = {
        key: np.stack([_pixels(await client.fetch(file)) for file in history["outputs"][key]["images"]])
        for key in shown
    }
    seconds = {**_seconds(workflow, events), "total": round(time.time() - started, 2)}
    return Done(await client.fetch(history["outputs"]["11"]["images"][0]), **frames, seconds=seconds)


def _pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def _progress(workflow: dict):
    def show(kind, data):
        if kind == "executing" and data["node"] in workflow:
            print(f"  {workflow[data['node']]['_meta']['title']}", file=sys.stderr)

    return show


def _seconds(workflow: dict, events: list) -> dict[str, float]:
    marks = [(t, data["node"]) for t, kind, data in events if kind == "executing"] + [(events[-1][0], None)]
    spent = {}
    for (start, node), (end, _) in pairwise(marks):
        if node in workflow and (stage := STAGES.get(workflow[node]["class_type"])):
            spent[stage] = round(spent.get(stage, 0) + end - start, 2)
    return spent


def save(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(data)
    os.replace(draft, path)


def composite_settings() -> dict[str, float]:
    """The shipped workflow's, of which the ceiling is made."""
    (node,) = (node for node in json.loads(WORKFLOWS[1].read_text()).values() if node["class_type"] == "LIVE_Composite")
    return {name: node["inputs"][name] for name in ("dilation", "blur")}


def report(table: dict[tuple[str, str], dict], single: bool) -> dict:
    """By "method | case"; of a single case, LIVE's measures, with what they are to be read beside."""
    if not single:
        return {f"{method} | {case}": row for (method, case), row in table.items()}
    rows = {method: row for (method, _), row in table.items()}
    return {**rows["LIVE"], "unedited clip": rows["unedited clip"], "ceiling": rows["ceiling"]}


async def run(url: str, comfy, cases: list[Case], out: Path, baselines: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table, single = {}, len(cases) == 1
    model, settings = load_folder(MODEL), composite_settings()
    async with comfy.Client(url) as client:
        for case in cases:
            rows, suffix = {"clip": case.clip.frames()}, "" if single else f"-{case.name}"
            for method, changes in (("TAV + DDIM + TI", BASELINE), ("LIVE", {})) if baselines else (("LIVE", {}),):
                done = await edit_case(comfy, client, case, changes)
                name = "edit" if single else f"{case.name}-{method.replace(' + ', '-').lower()}"
                save(out / f"{name}.mp4", done.video)
                rows[method] = done.edited
                table[method, case.name] = {**measure(case, done.edited, done.source), "seconds": done.seconds}
            table["unedited clip", case.name] = measure(case, done.source, done.source)
            table["ceiling", case.name] = measure(case, ceiling(case, model, done.source, **settings)[0], done.source)
            contact_sheet({**rows, "true answer": case.truth.frames()}).save(out / f"contact_sheet{suffix}.png")
            save(out / f"source{suffix}.mp4", (FOLDER / case.name / "clip.mp4").read_bytes())
            write_moving(out / f"demo{suffix}.webp", moving(case, done.source, rows["LIVE"]))
    save(out / "report.json", (json.dumps(report(table, single), indent=1) + "\n").encode())
    for (method, case), row in table.items():
        print(f"{method:16} {case:24} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k != "seconds"))
        if "seconds" in row:
            print(" " * 17 + "seconds: " + ", ".join(f"{k} {v}" for k, v in row["seconds"].items()))
    print(f"wrote {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=list(CASES), default=next(iter(CASES)))
    parser.add_argument("--all", action="store_true", help="every shipped case, beside the baselines")
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "demo")
    args = parser.parse_args()
    comfy = _comfy()
    with comfy.Server(ROOT) as server:
        asyncio.run(
            run(server.url, comfy, list(CASES.values()) if args.all else [CASES[args.case]], args.out, args.all)
        )


if __name__ == "__main__":
    main()
