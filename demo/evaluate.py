"""Measure a demo model on held-out seeds.

    python -m demo.evaluate --work ~/demo-training-192 --model demo/model_192 --size 192
    python -m demo.evaluate --work ~/demo-training-192 --model demo/model_192 --size 192 --parts oracle --things 6
    python -m demo.evaluate --work ~/demo-training --readme     # all figures of demo/model, and into its README.md
    python -m demo.evaluate --work ~/demo-training-instruct --model demo/model_instruct --parts instructed

Parts: `autoencoder` (a minute), `words` (where words look; a minute), `generated` (pictures as the judge reads them;
five minutes, and as many once to train the judge), `oracle` (things without words; two to five minutes each),
`instructed` (what a model that follows instructions does; ten minutes). Figures are kept in `<work>/figures.json` under
the weights' own fingerprint, so what has been measured is not measured again; pictures of what was drawn are left
beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch

from .data import HELD_OUT, sheet
from .train import MODEL
from .training.instructed import figures as instructed
from .training.judge import accuracy, labelled, train_judge
from .training.measures import autoencoder_figures, generate, load_parts, word_iou
from .training.oracle import clips_of, mean_errors, try_thing, unseen_things
from .training.run import to_tensor
from .world import SIZE

PARTS = ("autoencoder", "words", "generated", "oracle", "instructed")
NEEDS = {
    "autoencoder": ("vae",),
    "words": ("unet", "text_encoder", "vae"),
    "generated": ("unet", "text_encoder", "vae"),
    "oracle": ("unet", "text_encoder", "vae", "looks"),
    "instructed": ("unet", "text_encoder", "vae"),
}
TARGETS = {
    "autoencoder PSNR, dB": 27,
    "judge on renders: shape": 0.97,
    "judge on renders: colour": 0.97,
    "judge on renders: scene": 0.97,
    "generated: shape": 0.90,
    "generated: colour": 0.90,
    "generated: scene": 0.90,
    "instructions done": 0.85,
    "rest of the picture, dB": 30,
    "word map IoU": 0.45,
    "word map IoU, grown by local blend's 3x3 maximum": 0.45,
}


def fingerprint(model: Path, part: str, options: tuple) -> str:
    """Of all that a part's figures follow from: the weights it reads and how it was asked."""
    digest = hashlib.sha256(repr((part, options)).encode())
    for name in NEEDS[part]:
        for path in sorted((model / name).glob("*.safetensors")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def measure_autoencoder(args) -> dict[str, float]:
    figures = autoencoder_figures(load_parts(args.model).vae, args.size)
    return {
        "autoencoder PSNR, dB": figures["psnr"],
        "autoencoder error on things": figures["thing_error"],
        "edit error of a perfect edit through the autoencoder": figures["ceiling"],
    }


def measure_words(args) -> dict[str, float]:
    from live_core.pretrained import load_folder

    model, figures = load_folder(args.model), {}
    for grow, name in ((False, "word map IoU"), (True, "word map IoU, grown by local blend's 3x3 maximum")):
        ours, perfect = word_iou(model, grow, args.size)
        figures |= {name: ours, f"{name}, of a perfect map": perfect}
    return figures


def measure_generated(args) -> dict[str, float]:
    judge, on_renders = train_judge(args.work)
    _, labels, captions = labelled(range(HELD_OUT + 20_000, HELD_OUT + 20_000 + args.captions))
    pictures = generate(load_parts(args.model), captions, args.size)
    keep_sheet(pictures[:40], 10, args.work / f"generated-{args.model.name}-{args.size}.png")
    return {
        **{f"judge on renders: {k}": v for k, v in on_renders.items()},
        **{f"generated: {k}": v for k, v in accuracy(judge, pictures, labels).items()},
    }


def measure_oracle(args) -> dict[str, float]:
    """Row by row of the sheet: the truth, then the ways to tell the thing."""
    parts, rows = load_parts(args.model), []
    for thing in unseen_things(args.things):
        rows += (tried := try_thing(parts, args.model, thing, args.size, args.descent))
        shown = clips_of(thing, range(HELD_OUT + 70_000, HELD_OUT + 70_000 + len(tried[0].pictures)), args.size)
        truth = torch.cat([to_tensor(clip.frames()) for clip, _ in shown])
        pictures = torch.cat([truth, *(row.pictures for row in tried)])
        keep_sheet(pictures, len(truth), args.work / f"oracle-{args.model.name}-{thing.shape}-{thing.pattern}.png")
        print(thing.shape, thing.pattern, {row.told_by: round(row.error, 3) for row in tried}, flush=True)
    return {f"unseen things, error, told by {way}": error for way, error in mean_errors(rows).items()}


def measure_instructed(args) -> dict[str, float]:
    judge, _ = train_judge(args.work)
    found, pictures = instructed(load_parts(args.model), judge, args.captions, args.size)
    keep_sheet(pictures[:96], 12, args.work / f"instructed-{args.model.name}-{args.size}.png")
    return found


def keep_sheet(pictures: torch.Tensor, columns: int, path: Path) -> None:
    sheet(((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(), columns).save(path)


def measured(args, part: str) -> dict[str, float]:
    """A part's figures, from the file when these weights have been measured."""
    options = (
        args.size,
        *(
            {"generated": (args.captions,), "instructed": (args.captions,), "oracle": (args.things, args.descent)}.get(
                part, ()
            )
        ),
    )
    path, key = args.work / "figures.json", fingerprint(args.model, part, options)
    kept = json.loads(path.read_text()) if path.exists() else {}
    if key not in kept:
        figures = {
            "autoencoder": measure_autoencoder,
            "words": measure_words,
            "generated": measure_generated,
            "oracle": measure_oracle,
            "instructed": measure_instructed,
        }[part](args)
        kept = json.loads(path.read_text()) if path.exists() else {}  # another part may have been measured beside it
        kept[key] = {
            "model": args.model.name,
            "part": part,
            "options": options,
            "steps": steps_of(args.work),
            "figures": figures,
        }
        path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept[key]["figures"]


def steps_of(work: Path) -> dict[str, int]:
    """How far each stage of the training in this folder had come, by its log."""
    logs = {path.stem: path.read_text().splitlines() for path in work.glob("*.log")}
    return {name: json.loads(lines[-1])["step"] for name, lines in logs.items() if lines and lines[-1].startswith("{")}


def write_readme(model: Path, figures: dict[str, float], steps: dict[str, int]) -> None:
    """The figures into the place that the model's README.md keeps for them."""
    path = model / "README.md"
    text = path.read_text() if path.exists() else "# The demo model\n\n<!-- figures -->\n<!-- /figures -->\n"
    head, rest = text.split("<!-- figures -->")
    tail = rest.split("<!-- /figures -->")[1]
    trained = ", ".join(f"{count} of the {stage}" for stage, count in steps.items())
    table = "| measure | value | target | met |\n|---|---|---|---|\n"
    for name, value in figures.items():
        target = TARGETS.get(name)
        met = "" if target is None else "yes" if value >= target else "**no**"
        table += f"| {name} | {value:.3f} | {'' if target is None else target} | {met} |\n"
    path.write_text(
        f"{head}<!-- figures -->\nMeasured on held-out seeds by `python -m demo.evaluate`; training steps: "
        f"{trained}.\n\n{table}<!-- /figures -->{tail}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the judge, figures and sheets")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--size", type=int, default=SIZE, help="side of the pictures")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:3])
    parser.add_argument("--captions", type=int, default=200, help="generated: how many pictures")
    parser.add_argument("--things", type=int, default=20, help="oracle: how many unseen things")
    parser.add_argument("--descent", type=int, default=200, help="oracle: steps of each descent; 0 for none")
    parser.add_argument("--readme", action="store_true", help="write the figures into the model's README.md")
    args = parser.parse_args()
    args.model = args.model.resolve()
    figures: dict[str, float] = {}
    for part in args.parts:
        found = measured(args, part)
        print(json.dumps({part: {name: round(value, 4) for name, value in found.items()}}, indent=1), flush=True)
        figures |= found
    if args.readme:
        write_readme(args.model, figures, steps_of(args.work))


if __name__ == "__main__":
    main()
