"""All that the code says, it says in Chinese too, on a page in Chinese."""

import re
import sys

import pytest
import torch
from chinese import SIGN, in_chinese, node_names, not_said
from conftest import ROOT

from live_core import LiveError
from live_core.checks import check_choice, check_frames, check_number, check_text
from live_core.configs import read_json
from live_core.files import drafted
from live_core.folders import AGAIN
from live_core.memory import with_less
from live_core.notes import NotesOfParts, gathered, note
from live_core.phrases import read_weights, read_windows, split_phrases
from live_core.pictures import check_clip, check_photo

HOLE = re.compile(r"\{(\d+)\}")
NAME = re.compile(r"\{([A-Za-z]\w*)\}")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]")


@pytest.fixture(scope="module")
def reader():
    sys.path.insert(0, str(ROOT / "scripts"))
    import messages

    sys.path.remove(str(ROOT / "scripts"))
    return messages


def test_every_text_has_its_chinese_and_none_is_stale(reader):
    """Of the source and of the shipped workflows."""
    needed, _ = reader.needed_and_others()
    assert len(needed) > 400 and len(reader.graph_texts()) > 50
    assert reader.faults() == dict.fromkeys(reader.faults(), [])


def test_the_source_is_read_whole(reader):
    """Every way that a sentence can go, and what is said in parts."""
    needed, _ = reader.needed_and_others()
    assert {
        "threshold: {0} finds {1}; raise it, or draw a mask",
        "threshold: {0} finds {1}; lower it, or draw a mask",
        "with {0} frames at a time",
        "{0}: {1}; give a finite number{2}",
        " from {0} to {1}",
        "looked for {0}",
    } <= needed


def names_of_the_page() -> set[str]:
    """Ids of nodes and inputs, those of a choice's settings with and without the choice."""
    inputs = {each for node in node_names().values() for each in node.get("inputs", {})}
    return {
        *node_names(),
        *inputs,
        *(each.split("_", 1)[1] for each in inputs if each.startswith(("method_", "which_"))),
    }


def test_the_chinese_has_the_same_holes_and_the_names_that_the_page_shows(reader):
    wrong = {}
    for english, chinese in reader.chinese("messages.json").items():
        if sorted(HOLE.findall(english)) != sorted(HOLE.findall(chinese)):
            wrong[english] = "other holes"
        if strange := set(NAME.findall(chinese)) - names_of_the_page():
            wrong[english] = f"no such input or node: {strange}"
        if HALF_WIDTH.search(chinese):
            wrong[english] = "a sign of half width"
        if english.count("'") != chinese.count("'") and "'s" not in english and "s' " not in english:
            wrong[english] = "other quoted values"
    assert wrong == {}


def real_errors(folder) -> list[str]:
    """Real ones, of many modules, with values that look like parts of messages."""
    calls = [
        lambda: check_number("self ratio", "give; text: or so", 0, 1),
        lambda: check_number("blur", float("nan"), 0),
        lambda: check_choice("method", "none of the papers'", [f"m{i}" for i in range(30)]),
        lambda: check_text("edit prompt", "a \ud800 ball"),
        lambda: check_frames("images", torch.full((2, 8, 8, 3), torch.nan)),
        lambda: check_clip(torch.zeros(3, 33, 40, 3), 8),
        lambda: check_photo(torch.zeros(2, 8, 8, 3)),
        lambda: read_weights("road"),
        lambda: read_windows("car: 1-0"),
        lambda: split_phrases(",", "source words"),
        lambda: read_json(folder / "none.json", "model folder: vae of 'mine; or yours'", AGAIN),
    ]
    said = []
    for call in calls:
        try:
            call()
        except LiveError as error:
            said.append(str(error))
    (folder / "taken").mkdir()
    with pytest.raises(LiveError) as refused, drafted(folder / "taken", "name") as draft:
        draft.write_text("a file")
    return [*said, str(refused.value)]


def real_notes() -> list[str]:
    def too_much():
        raise MemoryError

    with gathered() as notes:
        split_phrases("a,,b", "edit words")
        with_less("the autoencoder (pictures to latents)", [("", too_much), ("with 3 frames at a time", int)])
        parts = NotesOfParts()
        for part in ("frames 1 to 8", "frames 9 to 16", "frames 17 to 24"):
            with parts.of(part):
                if part != "frames 1 to 8":
                    note("mask: it is empty, so the clip stays as it is; draw a larger mask")
        parts.say()
    return notes


def test_real_messages_are_told_apart_and_their_values_stay(tmp_path):
    said = [*real_errors(tmp_path), *real_notes()]
    assert len(said) >= 13 and not_said(said, tmp_path) == {}


def test_what_a_message_is_made_of_is_translated_too(tmp_path):
    """Its parts in their places, and values with signs that part others."""
    value = "'a; give b: c, or \"d\" of this prompt'"
    config = """model folder: unet of 'mine': 'quantization_config' {"of": "a: b", "in": [1, 2]}"""
    texts = [
        f"edit words: {value} names nothing; write words separated by commas, or leave it empty",
        "looked for 'ball' of the clip's prompt and 'star and \"moon\"' of this prompt",
        f"{config} is nothing that LIVE takes from a file; if the model does not need it, delete it from the file",
        "| CLIP score | not measured |",
        "another pack's text: which nobody knows",
    ]
    quoting, two, nested, row, foreign = in_chinese(texts, tmp_path)
    assert value in quoting and SIGN.search(quoting)
    assert "'ball'" in two and "'star and \"moon\"'" in two and "of" not in two
    assert nested.startswith("\u6a21\u578b\u6587\u4ef6\u5939\uff1a'mine' \u7684 unet\uff1a")
    assert """'quantization_config' {"of": "a: b", "in": [1, 2]}""" in nested
    assert SIGN.findall(row) == list("\u5206\u6570\u672a\u6d4b\u91cf")
    assert foreign == texts[-1]


def test_the_chinese_of_the_shipped_graphs_is_whole(reader):
    """As many parts, points and steps in each; node and input names by their ids, so that they are the page's."""
    known = reader.chinese("graphs.json")
    wrong = {}
    for english, chinese in known.items():
        if any(english.count(mark) != chinese.count(mark) for mark in ("## ", "\n\n", "\n1. ", "\n2. ", "\n3. ", "`")):
            wrong[english] = "other parts"
        if strange := set(NAME.findall(chinese)) - names_of_the_page():
            wrong[english] = f"no such input or node: {strange}"
        if HALF_WIDTH.search(chinese) or not SIGN.search(chinese):
            wrong[english] = "no Chinese, or a sign of half width"
    assert wrong == {}
