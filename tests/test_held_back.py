"""A tuning that stops when the loss on held-back noise no longer falls: where, what it says, and how it goes on."""

import re
from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_same, assert_untouched, bound, weights
from safetensors.torch import load_file, save_file

from demo.cases import CASES
from live_core import LiveError, held_back
from live_core.held_back import falls_no_longer
from live_core.notes import gathered
from live_core.objectives import ClipObjective, Learned, PhotoObjective, generator_of
from live_core.tuning import tune

STOPS = replace(FAST, stop_when_learned=True, clip_steps=8, photo_steps=6)
HELD = {"clip_rate": 0.0, "latent_prompt_rate": 0.0}  # nothing of the clip is learned


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Looks after every step, at two timesteps."""
    monkeypatch.setattr(held_back, "EVERY", 1)
    monkeypatch.setattr(held_back, "FIRST", 3)
    monkeypatch.setattr(held_back, "PAIRS", 2)


@pytest.fixture
def never(monkeypatch):
    """No loss falls by so much."""
    monkeypatch.setattr(held_back, "LEAST_FALL", 1.0)


def told(notes, which):
    (said,) = [text for text in notes if text.startswith(f"{which} steps: ")]
    return said


@pytest.mark.parametrize(
    "looks, learned",
    [
        ([], False),
        ([1.0, 1.0, 1.0], False),  # too few
        ([1.0, 1.0, 1.0, 1.0], True),
        ([1.0, 0.9, 0.8, 0.7], False),
        ([1.0, 0.5, 0.6, 0.9], True),  # the mean stays
        ([1.0, 0.5, 0.5, 0.9], False),  # one look alone decides nothing
        ([9.0, 9.0, 1.0, 1.0, 0.99, 0.98], True),  # only the last count
        ([1.0, 1.0, 1.1, 1.2], True),
    ],
)
def test_what_falls_no_longer(looks, learned):
    assert falls_no_longer(looks) == learned


def test_off_is_as_it_was_and_looks_at_nothing(demo_model, clip, concept, tuned, monkeypatch):
    monkeypatch.setattr(held_back.HeldBack, "_look", lambda *_: 1 // 0)
    with gathered() as notes:
        assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST), tuned.tuning)
    assert notes == []


def test_looking_changes_nothing_of_what_is_learned(demo_model, clip, concept, monkeypatch):
    monkeypatch.setattr(held_back, "LEAST_FALL", -1e9)  # so that it goes on to the last step
    settings = replace(STOPS, clip_steps=4, photo_steps=4)
    with gathered() as notes:
        looked = tune(demo_model, clip, CASE.prompt, (concept,), settings)
    assert_same(looked, tune(demo_model, clip, CASE.prompt, (concept,), replace(settings, stop_when_learned=False)))
    assert "all 4 were taken; the loss on held-back noise was still falling" in told(notes, "clip")


def test_what_is_learned_stops_by_itself_and_says_where(demo_model, clip, concept, never):
    steps = []
    with gathered() as notes:
        tuning = tune(demo_model, clip, CASE.prompt, (concept,), STOPS, lambda step, *_: steps.append(step))
    assert [len(losses) for losses in tuning.losses] == [3, 3]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert "stopped after 3 of 8, " in told(notes, "clip") and "stopped after 3 of 6, " in told(notes, "photo")
    whole = tune(demo_model, clip, CASE.prompt, (concept,), replace(STOPS, stop_when_learned=False))
    assert [tuple(losses[:3]) for losses in whole.losses] == list(tuning.losses)


def test_one_stops_and_the_other_goes_on(demo_model, clip, concept, monkeypatch):
    """Where nothing of the clip is learned, its loss is the same at every look."""
    monkeypatch.setattr(held_back, "LEAST_FALL", 1e-9)
    settings = replace(STOPS, **HELD, photo_steps=12, photo_rate=1e-3)
    with gathered() as notes:
        tuning = tune(demo_model, clip, CASE.prompt, (concept,), settings)
    assert len(tuning.losses[0]) == 3 and len(tuning.losses[1]) > 3
    said = told(notes, "clip")
    assert "stopped after 3 of 8, and nothing seems to be learned" in said and "100.0% of what it was" in said
    assert "give another clip rate" in said


def test_an_easy_clip_is_learned_early(demo_model, clip, monkeypatch):
    """By the shipped part that must fall: at a high rate the loss falls steeply, then no longer."""
    settings = replace(STOPS, clip_steps=60, photo_steps=0, clip_rate=3e-3)
    with gathered() as notes:
        tuning = tune(demo_model, clip, CASE.prompt, (), settings)
    assert 3 < len(tuning.losses[0]) < 60
    found = re.search(r"stopped after (\d+) of 60, since .* no longer falls: it is ([\d.]+)%", told(notes, "clip"))
    assert int(found[1]) == len(tuning.losses[0]) and float(found[2]) < 95


def test_too_few_steps_to_tell_are_all_taken_without_a_look(demo_model, clip, concept, monkeypatch):
    monkeypatch.setattr(held_back.HeldBack, "_look", lambda *_: 1 // 0)
    with gathered() as notes:
        tuning = tune(demo_model, clip, CASE.prompt, (concept,), replace(STOPS, clip_steps=3, photo_steps=1))
    assert [len(losses) for losses in tuning.losses] == [3, 1]
    assert "all 3 were taken; whether it has learned shows after 3 at the earliest" in told(notes, "clip")


def test_nothing_is_said_of_what_is_not_asked_for(demo_model, clip, never):
    with gathered() as notes:
        tune(demo_model, clip, CASE.prompt, (), replace(STOPS, photo_steps=0))
    assert [text.split(":")[0] for text in notes] == ["clip steps"]


def test_a_loss_that_is_not_finite_stops_it(demo_model, clip, monkeypatch):
    monkeypatch.setattr(held_back, "_mean_loss", lambda *_: float("nan"))
    before = weights(demo_model)
    with pytest.raises(LiveError, match="clip steps: after 0 the loss on held-back noise is not finite"):
        tune(demo_model, clip, CASE.prompt, (), replace(STOPS, photo_steps=0))
    assert_untouched(demo_model, before)


@pytest.mark.parametrize("alternate", [True, False])
def test_stopped_within_every_forward_it_ends_on_the_same_bits(demo_model, clip, concept, tmp_path, never, alternate):
    """Steps' forwards and looks' alike: each run is stopped before one of its forwards, later each time it gets on."""
    settings = replace(STOPS, alternate=alternate)
    with gathered() as once:
        whole = tune(demo_model, clip, CASE.prompt, (concept,), settings)
    allowed = forwards = 0

    def stop(*_):
        nonlocal forwards
        forwards += 1
        if forwards > allowed:
            raise KeyboardInterrupt

    for _ in range(40):
        forwards = 0
        hook = demo_model.unet.unet.register_forward_pre_hook(stop)
        try:
            with gathered() as notes:
                again = tune(demo_model, clip, CASE.prompt, (concept,), settings, unfinished=tmp_path)
            break
        except KeyboardInterrupt:
            allowed = allowed % 5 + 1
        finally:
            hook.remove()
    assert_same(again, whole)
    assert notes == once and not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [2, 5])
def test_a_file_of_other_looks_is_started_anew(demo_model, clip, concept, tmp_path, never, at):
    """What it kept is believed only where a run of these settings can have left it."""
    whole = tune(demo_model, clip, CASE.prompt, (concept,), STOPS)
    with pytest.raises(ZeroDivisionError):
        tune(demo_model, clip, CASE.prompt, (concept,), STOPS, lambda step, *_: 1 // (step - at), tmp_path)
    (file,) = tmp_path.iterdir()
    stored = load_file(file)
    save_file({**stored, "looks/0": torch.cat([stored["looks/0"], torch.ones(3, dtype=torch.float64)])}, file)
    steps = []
    with gathered() as notes:
        again = tune(demo_model, clip, CASE.prompt, (concept,), STOPS, lambda step, *_: steps.append(step), tmp_path)
    assert_same(again, whole)
    assert steps[0] == 1 and any(text.startswith("unfinished tuning: ") for text in notes)


def test_held_back_pairs_are_the_same_and_no_step_s(demo_model, clip, concept):
    """Evenly spread timesteps, each with its own noise; two photos by turns."""
    concepts = bound(demo_model, CASES["box-to-heart"], 64, "<other*>", (concept,))
    learned = Learned(demo_model, clip, concepts, STOPS)
    objectives = (
        ClipObjective(demo_model, clip, CASE.prompt, STOPS, learned),
        PhotoObjective(demo_model, concepts, STOPS, learned),
    )
    held = held_back.HeldBack(demo_model, objectives, learned, STOPS)
    assert held._look(0) == held._look(0) and held._look(1) == held._look(1)
    states = {bytes(generator_of(STOPS.seed, step).get_state().numpy()) for step in range(-16, 200)}
    assert len(states) == 216
