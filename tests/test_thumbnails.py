"""The pictures that Templates shows: one for each workflow, and no two alike."""

from itertools import combinations

import numpy as np
from conftest import ROOT
from PIL import Image

WORKFLOWS = ROOT / "workflows"
SEEN = 128  # of 255, by which a pixel differs that is seen to; far above what JPEG changes


def test_every_workflow_has_a_picture_of_its_own():
    files = sorted(WORKFLOWS.glob("*.jpg"))
    pictures = {path.stem: np.asarray(Image.open(path).convert("L"), int) for path in files}
    assert all(path.stat().st_size < 30_000 for path in files)
    assert pictures.keys() == {path.stem for path in WORKFLOWS.glob("*.json")}
    for (one, a), (other, b) in combinations(sorted(pictures.items()), 2):
        assert a.shape != b.shape or abs(a - b).max() > SEEN, (one, other)
