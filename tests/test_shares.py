"""Workers that share a machine's memory: what each of them has, how it is saved, and when there are too many."""

import psutil
import pytest

from live_core import LiveError
from live_core.economy import APART, CHECKPOINTING, NONE, PARTS, first_way, forwards, shared_room
from live_core.notes import NotesOfParts, gathered, note
from live_core.shares import Place, Share, free_memory, place_of, share

GB = 1e9


def test_workers_of_one_machine_share_what_is_free_there():
    """Less a model each; those still to come may come to any; a device is its worker's own."""
    a, b, card = Place("a", 12 * GB), Place("b", 8 * GB), Place("a", 6 * GB, own=True)
    assert share([a], 0, GB) == Share(11 * GB, 1, GB)
    assert share([a, a, a], 0, GB) == Share(3 * GB, 3, GB)
    assert share([a, a], 1, GB) == Share(3 * GB, 3, GB)
    assert share([a, a, b], 0, GB) == Share(5 * GB, 2, GB)  # the least, so that all do alike
    assert share([a, b, b], 0, GB) == Share(3 * GB, 2, GB)
    assert share([card, card], 3, GB) == Share(5 * GB, 1, GB)


def test_more_workers_than_there_is_room_for_their_models():
    with pytest.raises(LiveError, match=r"^workers: 6 on a, each with a model of 3\.0 GB, but 12\.0 GB are.*give 4 or"):
        share([Place("a", 12 * GB)] * 6, 0, 3 * GB)
    with pytest.raises(LiveError, match="not even one has room"):
        share([Place("a", 2 * GB)] * 2, 0, 3 * GB)


@pytest.mark.parametrize(
    "free,asked,kind,says",
    [
        (9, "auto", NONE, None),
        (5, "auto", APART, "would take about 8.8 GB and each of 4 workers has 5.0 GB, so it goes on one stream after"),
        (3, "auto", PARTS, "with 1 frame at a time, to the same but for rounding"),
        (1, "none", NONE, None),
        (9, PARTS, PARTS, None),
        (9, CHECKPOINTING, NONE, None),
    ],
)
def test_a_worker_saves_memory_by_its_share(free, asked, kind, says):
    takes, ways = {NONE: 8 * GB, APART: 4 * GB, PARTS: 2 * GB}, forwards(3, 2)
    with gathered() as notes, shared_room(Share(free * GB, 4, GB), asked):
        chosen = first_way("the U-Net", ways, lambda way: takes[way.kind])
    assert ways[chosen].kind == kind
    assert bool(notes) == (says is not None) and all(says in text for text in notes)


def test_a_worker_for_whom_nothing_fits_says_how_many_would():
    """2.2 GB at the least, beside a model of 1: in 4 times 2 GB there is room for two. One alone is warned, as ever."""
    ways, takes = forwards(3, 2), {NONE: 8 * GB, APART: 4 * GB, PARTS: 2 * GB}
    said = r"^workers: 4 share .* each has 1\.0 GB .* the U-Net takes about 2\.2 GB .*; give 2 or fewer"
    with shared_room(Share(GB, 4, GB)), pytest.raises(LiveError, match=said):
        first_way("the U-Net", ways, lambda way: takes[way.kind])
    with shared_room(Share(0.1 * GB, 2, GB)), pytest.raises(LiveError, match="not even one .* a smaller window"):
        first_way("the U-Net", ways, lambda way: takes[way.kind])
    with gathered() as notes, shared_room(Share(GB, 1, GB)):
        first_way("the U-Net", ways, lambda way: takes[way.kind])
    assert "1.0 GB are free, so it may run out" in notes[-1]


def test_what_a_process_could_still_have(tmp_path):
    """Of the machine; of its container, if that allows less. What files take there would be let go of."""
    total = psutil.virtual_memory().total
    assert 0 < free_memory(tmp_path) <= total and place_of("here", "cpu").free <= total
    for name, text in (("memory.max", "3000000\n"), ("memory.current", "2500000\n"), ("memory.stat", "anon 1\n")):
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == 500_000
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert free_memory(tmp_path) == 700_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 700_000


def test_how_memory_is_saved_is_said_of_the_whole_clip():
    """Whichever window it began with; of every worker's first, if there are several."""
    parts = NotesOfParts()
    for name in ("frames 1 to 8", "frames 9 to 16", "frames 17 to 24"):
        with parts.of(name):
            if name != "frames 17 to 24":
                note("memory: the U-Net goes on in parts")
                note("mask: it is empty")
    with gathered() as notes:
        parts.say()
    assert notes == ["memory: the U-Net goes on in parts", "mask: it is empty (frames 1 to 8, frames 9 to 16)"]
