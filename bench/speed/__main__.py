"""How fast LIVE is and what it holds in memory, as ratios within one run, so that a machine's speed matters little.

    python -m bench.speed                      # every row that bench/speed.csv lacks at this size
    python -m bench.speed --rows limit maps    # these alone
    python -m bench.speed --size half --again  # a U-Net of 232 million weights, measured anew
    python -m bench.speed --rows               # nothing measured: table and picture drawn again

One thread; CPU time, which other processes take no part in; what is compared is computed by turns. Random weights, but
for rows of the demo's own model. A row that was measured is kept in bench/speed.csv and not measured twice: a run that
was stopped goes on. bench/SPEED.md and bench/pictures/speed.svg are drawn from the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..networks import SIZES
from .page import FILE, PAGE, PICTURE, Kept, draw, write_page
from .rows import OF_THE_DEMO, ROWS


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--turns", type=int, default=3, help="how often each computation is timed")
    parser.add_argument("--again", action="store_true", help="measure what the file has too")
    parser.add_argument("--csv", type=Path, default=FILE)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args(arguments)
    if args.turns < 1:
        parser.error(f"--turns: {args.turns}; give 1 or more")
    torch.set_num_threads(1)
    kept = Kept.read(args.csv)
    for row in args.rows:
        size = "demo" if row in OF_THE_DEMO else args.size
        if args.again or not kept.has(row, size):
            kept.put(row, size, ROWS[row](SIZES[args.size], args.turns))
            kept.write(args.csv)
    write_page(kept, args.page)
    args.picture.write_text(draw(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
