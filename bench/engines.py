"""How much faster windows are on several workers of Ray than on one: ratios within one run.

    OMP_NUM_THREADS=1 python -m bench.engines --workers 2 --windows 12

A worker has as many threads as this process. From the moment that each worker has done a window, so what it takes to
start is left out, and told by itself.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from live_core.engine import Engine, Here
from live_core.instruct import instruct
from live_core.instruct_settings import Instruction
from live_core.on_ray import OnRay
from live_core.pretrained import load_folder

FOLDER = Path(__file__).resolve().parents[1] / "demo" / "model_instruct"
WINDOW, STEPS = 8, 5  # frames of 128 x 128


def timed(engine: Engine, workers: int, windows: int) -> tuple[float, float, torch.Tensor]:
    """(windows a second, seconds to the first one's end, latents)."""
    model = load_folder(FOLDER)
    clip = torch.randn(windows * WINDOW, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    ends, begun = [], time.perf_counter()

    def told(step: int, total: int, latents: torch.Tensor) -> None:
        if step % STEPS == 0:
            ends.append(time.perf_counter() - begun)

    made = instruct(model, clip, Instruction("make the ball blue", STEPS), window=WINDOW, callback=told, engine=engine)
    return (windows - workers) / (ends[-1] - ends[workers - 1]), ends[0], made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--windows", type=int, default=12)
    args = parser.parse_args()
    here, _, whole = timed(Here(), 1, args.windows)
    one, first, alone = timed(OnRay(workers=1), 1, args.windows)
    many, _, shared = timed(OnRay(workers=args.workers), args.workers, args.windows)
    print(
        json.dumps(
            {
                "threads each": torch.get_num_threads(),
                "windows a second, this process": round(here, 3),
                "one worker": round(one, 3),
                f"{args.workers} workers": round(many, 3),
                f"{args.workers} workers to one": round(many / one, 2),
                f"{args.workers} workers to this process": round(many / here, 2),
                "seconds to a worker's first window": round(first, 1),
                "same bytes": torch.equal(whole, alone) and torch.equal(whole, shared),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
