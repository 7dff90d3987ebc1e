"""Bad input through the real queue: an error that names it, and nothing left half-written."""
import pytest
from graphs import message, with_nodes

pytestmark = pytest.mark.host


@pytest.mark.parametrize("changes,says", [
    ({"Edit Video.keep_words": "elephant"}, "'elephant' is not in the prompt"),
    ({"Edit Video.source_words": "elephant"}, "source words: 'elephant'"),
    ({"Bind Photo to Placeholder.placeholder": "ball"}, "'ball' is already a token"),
    ({"Bind Photo to Placeholder.placeholder": "two words"}, "must be one string without spaces"),
    ({"Bind Photo to Placeholder.initial_word": "hippopotamus"}, "choose one common word of one token"),
    ({"Edit prompt.value": "a red ball moving on the meadow"}, "does not say where the thing of the photo shall be; put '<thing*>' into it"),
    ({"Edit Video.word_windows": "moving: 0.4"}, "word windows: 'moving: 0.4'; write word: start-end"),
], ids=["keep word", "source word", "known placeholder", "placeholder of two words", "initial word", "same prompt", "window"])
def test_bad_words_get_a_clear_error(talk, workflow, changes, says):
    outcome, events, _ = talk(lambda c: c.run(workflow(**changes)))
    assert outcome == "error" and says in message(events)


def test_a_mask_of_another_size(talk, workflow):
    graph = with_nodes(workflow(), {("9", "mask"): ["m", 0]}, m=("SolidMask", {"value": 1.0, "width": 64, "height": 128}))
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "1 frames of 64x128" in message(events)


def test_a_photo_with_alpha(talk, workflow):
    """It is learned where it is opaque, and that is said."""
    graph = with_nodes(workflow(), {("5", "photo"): ["j", 0]}, m=("SolidMask", {"value": 0.5, "width": 128, "height": 128}), j=("JoinImageWithAlpha", {"image": ["2", 1], "alpha": ["m", 0]}))
    outcome, events, history = talk(lambda c: c.run(graph))
    assert outcome == "success" and "50% of it is transparent" in history["outputs"]["5"]["text"][0], message(events)


def test_an_empty_clip_and_nothing_half_written(talk, workflow, server):
    """At every stage that reads its frames; afterwards the folders that nodes write to hold what they held before."""
    def files():
        return sorted(str(path.relative_to(server.base)) for folder in ("models", "output", "user") for path in (server.base / folder).rglob("*") if path.is_file())
    before = files()
    for node in ("6", "7", "9"):
        graph = with_nodes(workflow(**{"Tune Video.seed": 18}), {(node, "images"): ["e", 0]}, e=("TestEmptyClip", {}), s=("LIVE_SaveTuning", {"model": ["6", 0], "name": "never"}))
        if node != "6":
            del graph["s"]
        outcome, events, _ = talk(lambda c: c.run(graph))
        assert outcome == "error" and "images: " in message(events) and events[-1][2]["node_id"] == node, (node, message(events))
    assert files() == before


def test_zero_steps_and_no_steps(talk, workflow):
    status, answer = talk(lambda c: c.queue(workflow(**{"Invert Video (DDIM).steps": 0})))
    assert status == 400 and answer["node_errors"]["7"]["errors"][0]["type"] == "value_smaller_than_min"
    outcome, events, _ = talk(lambda c: c.run(workflow(**{"Tune Video.clip_steps": 0, "Tune Video.photo_steps": 0})))
    assert outcome == "error" and "both 0" in message(events)
