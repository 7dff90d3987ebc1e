"""What *steadiness* measures of a thing that is as steady as can be, and of the wrong size.

    python -m bench.quality.rigid          # a minute, on the first two fresh cases of every kind

The true answer is drawn with its first thing `factor` times as large, its centre on the same track. Beside it the
unedited clip, whose thing is steady too. Background that passes behind a rim which should not be there counts as a
change.
"""

from __future__ import annotations

import numpy as np

from demo.measure.outline import steadiness

from .cases import KINDS, make

CASES = 2  # of each kind
FACTORS = (0.85, 1.0, 1.2)


def main() -> None:
    cases = [make(f"fresh-{kind}", index) for index in range(CASES) for kind in KINDS]
    rows = {
        f"{factor:g} times as large": [case.truth.posed(0, factor).frames() for case in cases] for factor in FACTORS
    }
    rows["the unedited clip"] = [case.clip.frames() for case in cases]
    print(f"| {len(cases)} cases | steadiness |\n|---|---|")
    for says, clips in rows.items():
        mean = np.mean([steadiness(case, frames, 0) for case, frames in zip(cases, clips, strict=True)])
        print(f"| {says} | {mean:.4f} |")


if __name__ == "__main__":
    main()
