"""Losses as they fall, drawn."""

import numpy as np
import pytest
import torch

from live_core.curves import COLOURS, plot_losses
from live_core.preview import contact_sheet


def drawn(losses: list[float], total: int = 100) -> np.ndarray:
    """(n, 2): x and y, downwards, of the pixels of the strong curve, below the names."""
    picture = np.asarray(plot_losses({"clip": losses}, total, 200, 100))
    rows, columns = np.nonzero((picture[16:] == COLOURS[0]).all(-1))
    return np.stack([columns, rows], 1)


def test_the_curve_grows_to_the_right_and_falls_with_the_losses():
    falling = [0.98**i for i in range(100)]
    half, whole = drawn(falling[:50]), drawn(falling)
    assert half[:, 0].max() == pytest.approx(99, abs=2) and whole[:, 0].max() == pytest.approx(199, abs=2)
    highs = [whole[whole[:, 0] == x, 1].mean() for x in (20, 60, 100, 140, 180)]
    assert highs == sorted(highs) and highs[-1] - highs[0] > 30


def test_what_cannot_be_drawn_costs_no_preview():
    for losses in ([], [0.1], [0.0, 0.0], [1e-30, 1e30]):
        assert plot_losses({"clip": losses, "photo": []}, 0).size == (512, 128)


def test_a_sheet_has_so_many_rows_that_it_is_wide_and_not_thin():
    colours = torch.zeros(5, 3)
    for count, shape, expected in (
        (8, (8, 8), (256, 512)),
        (1, (8, 8), (128, 256)),
        (3, (8, 8), (128, 384)),
        (8, (4, 16), (512, 1024)),
    ):
        assert contact_sheet(torch.zeros(count, 4, *shape), colours).shape == (*expected, 3), (count, shape)
