"""The demo: the shipped clip and photo through a real ComfyUI server, measured against the true answer.

    python -m demo.run                 # one case, a minute or so; writes output/demo/
    python -m demo.run --all           # every shipped case beside the unedited clip and the baseline, as a table
"""
from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from .cases import CASES, FOLDER, Case
from .frames import contact_sheet
from .measure import measure

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {1: ROOT / "workflows" / "api" / "live_image_driven_edit.json", 2: ROOT / "workflows" / "api" / "live_two_objects.json"}       # by the number of photos
STAGES = {"LIVE_LoadModel": "load", "LIVE_BindConcept": "bind", "LIVE_Tune": "tune", "LIVE_Invert": "invert", "LIVE_Edit": "edit", "LIVE_Composite": "composite"}
# Tune-A-Video with textual inversion, sampled from the inverted noise: nothing injected, nothing blended.
BASELINE = {f"{node}.method": "tav-ddim" for node in ("Tune Video", "Invert Video (DDIM)", "Edit Video")}


def _comfy():
    """scripts/headless.py as a module."""
    spec = importlib.util.spec_from_file_location("headless", ROOT / "scripts" / "headless.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["headless"] = module
    spec.loader.exec_module(module)
    return module


def read_video(path: Path) -> np.ndarray:
    import av
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


async def edit_case(comfy, client, case: Case, changes: dict) -> tuple[bytes, dict[str, float]]:
    """Run the workflow on one case: the edited mp4 and the seconds of each stage."""
    workflow = json.loads(WORKFLOWS[len(case.swaps)].read_text())
    for target, value in {"LIVE Demo Clip and Photo.case": case.name, "Prompt.value": case.prompt, "Edit prompt.value": case.edit_prompt,
                          "Bind Photo to Placeholder.initial_word": case.swaps[0].initial_word, **changes}.items():
        comfy.override(workflow, target, value)
    outcome, events, history = await client.run(workflow, _progress(workflow))
    if outcome != "success":
        raise SystemExit(f"the workflow ended with {outcome}: {events[-1][2].get('exception_message')}")
    return await client.fetch(history["outputs"]["11"]["images"][0]), _seconds(workflow, events)


def _progress(workflow: dict):
    def show(kind, data):
        if kind == "executing" and data["node"]:
            print(f"  {workflow[data['node']]['_meta']['title']}", file=sys.stderr)
    return show


def _seconds(workflow: dict, events: list) -> dict[str, float]:
    marks = [(t, data["node"]) for t, kind, data in events if kind == "executing"] + [(events[-1][0], None)]
    spent = {}
    for (start, node), (end, _) in zip(marks, marks[1:]):
        if node and (stage := STAGES.get(workflow[node]["class_type"])):
            spent[stage] = round(spent.get(stage, 0) + end - start, 2)
    return spent


def save(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(data)
    os.replace(draft, path)


async def run(url: str, comfy, cases: list[Case], out: Path, baselines: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    table = {}
    async with comfy.Client(url) as client:
        for case in cases:
            rows = {"clip": case.clip.frames()}
            if baselines:
                table["unedited clip", case.name] = measure(case, read_video(FOLDER / case.name / "clip.mp4"))
            for method, changes in (("TAV + DDIM + TI", BASELINE), ("LIVE", {})) if baselines else (("LIVE", {}),):
                started = time.time()
                video, seconds = await edit_case(comfy, client, case, changes)
                name = "edit" if len(cases) == 1 else f"{case.name}-{method.replace(' + ', '-').lower()}"
                save(out / f"{name}.mp4", video)
                frames = read_video(out / f"{name}.mp4")
                rows[method] = frames
                table[method, case.name] = {**measure(case, frames), "seconds": {**seconds, "total": round(time.time() - started, 2)}}
            suffix = "" if len(cases) == 1 else f"-{case.name}"
            contact_sheet({**rows, "true answer": case.truth.frames()}).save(out / f"contact_sheet{suffix}.png")
            save(out / f"source{suffix}.mp4", (FOLDER / case.name / "clip.mp4").read_bytes())
    report = table["LIVE", cases[0].name] if len(cases) == 1 and not baselines else {f"{m} | {c}": row for (m, c), row in table.items()}
    save(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
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
        asyncio.run(run(server.url, comfy, list(CASES.values()) if args.all else [CASES[args.case]], args.out, args.all))


if __name__ == "__main__":
    main()
