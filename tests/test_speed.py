"""The bench of speed at its smallest: what it compares is the same computation, and what it counts is right."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench.clocks import in_turns, operations, part_of_rate, product
from bench.networks import SIZES, inputs_of, unet_of
from bench.speed import child
from bench.speed.__main__ import main
from bench.speed.maps import PLAN, by_maps, injections
from bench.speed.page import BEGIN, END, Kept, draw, write_page
from bench.speed.rows import ROWS, Figure
from live_core.attention import AttentionPlan

TINY = SIZES["tiny"]


def test_operations_of_products_and_attention():
    assert operations(product(64)) == 2 * 64**3
    q, k = torch.zeros(2, 3, 16, 8), torch.zeros(2, 3, 40, 8)
    assert operations(lambda: F.scaled_dot_product_attention(q, k, k)) == 2 * (2 * 2 * 3 * 16 * 40 * 8)
    weight = torch.zeros(5, 4, 3, 3)
    assert operations(lambda: F.conv2d(torch.zeros(2, 4, 9, 9), weight, padding=1)) == 2 * 2 * 81 * 4 * 5 * 9


def test_backward_operations_are_counted():
    q = torch.randn(1, 2, 32, 8, requires_grad=True)
    forward = operations(lambda: F.scaled_dot_product_attention(q, q, q))
    both = operations(lambda: F.scaled_dot_product_attention(q, q, q).sum().backward())
    assert forward * 3 <= both <= forward * 4


def test_a_product_s_own_rate_is_one():
    """However long it took. A computation of as many operations in twice the time reaches half of it."""
    five, taken = 5 * operations(product(64)), [1.0, 2.0, 9.0]
    assert part_of_rate(five, taken, five, taken) == 1
    assert part_of_rate(five, [2 * seconds for seconds in taken], five, taken) == 0.5
    assert part_of_rate(five // 5, [seconds / 5 for seconds in taken], five, taken) == 1


def test_turns_alternate():
    seen = []
    taken = in_turns([lambda: seen.append("a"), lambda: seen.append("b")], 2)
    assert seen == ["a", "b"] * 3 and [len(each) for each in taken] == [2, 2]


@torch.no_grad()
def test_maps_and_fused_attention_are_the_same_edit():
    unet = unet_of(TINY)
    words, selves = injections(77)
    fused = inputs_of(TINY, AttentionPlan(PLAN, words=words, selves=selves), unet, streams=2).predict(unet)
    plain = inputs_of(TINY, AttentionPlan(PLAN), unet, streams=2)
    with by_maps(unet, TINY.frames, words[0]):
        maps = plain.predict(unet)
    torch.testing.assert_close(fused, maps, rtol=1e-3, atol=1e-4)
    untouched = plain.predict(unet)
    assert not torch.allclose(untouched[1], maps[1], rtol=1e-3, atol=1e-4)  # the injection does something


@pytest.mark.parametrize("row", ["picture model", "maps", "FateZero", "limit"])
def test_rows_measure(row, monkeypatch):
    monkeypatch.setattr("bench.speed.rows.PRODUCT", 64)
    figures = list(ROWS[row](replace(TINY, frames=2, side=8), 1))
    assert figures and all(each.value >= 0 for each in figures)
    assert len({each.what for each in figures}) == len(figures)
    assert ROWS[row].__doc__  # it is the page's


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    """Rows that the file has are not measured again, unless asked; the page keeps its words."""
    runs = []

    def measure(size, turns):
        """What it is."""
        runs.append(turns)
        yield Figure("forward & back", 0.5)

    monkeypatch.setitem(ROWS, "maps", measure)
    page = tmp_path / "page.md"
    page.write_text(f"Words.\n{BEGIN}\nold\n{END}\nMore.\n")
    asked = ["--rows", "maps", "--csv", str(tmp_path / "a.csv"), "--page", str(page)]
    asked += ["--picture", str(tmp_path / "a.svg")]
    main(asked)
    main(asked)
    assert runs == [3]
    main([*asked, "--again"])
    assert runs == [3, 3]
    text = page.read_text()
    assert text.startswith("Words.") and text.endswith("More.\n") and "old" not in text
    assert "| forward & back | 0.5 times |" in text and "What it is." in text
    assert "forward &amp; back" in (tmp_path / "a.svg").read_text()
    assert Kept.read(tmp_path / "a.csv").figures == {("maps", "small"): [Figure("forward & back", 0.5)]}


def test_a_picture_of_nothing_and_a_page_that_is_not_there(tmp_path):
    write_page(Kept(), tmp_path / "new.md")
    assert BEGIN in (tmp_path / "new.md").read_text()
    assert draw(Kept()).startswith("<svg")


def test_figures_of_the_demo_s_model():
    assert [unit for _, _, unit in child.by_frames(2)] == ["ms", "ms"]
    held = [value for _, value, _ in child.memory(3)]
    assert held == sorted(held) and held[0] > 0
    parts = [each.value for each in ROWS["demo"](TINY, 1)]
    assert sum(parts) == pytest.approx(100) and len(parts) == 7
