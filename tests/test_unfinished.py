"""A tuning that is stopped, killed or short of memory: the base stays as it was, and what goes on ends on the same
bits.
"""

import copy
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_same, assert_untouched, bound, weights
from safetensors.torch import save_file

from demo.cases import CASES
from live_core.descent import descend
from live_core.notes import gathered
from live_core.tuning import tune, tuning_key


def test_a_tuning_stopped_half_way_leaves_the_base_alone(demo_model, clip, concept):
    before = weights(demo_model)

    def stop(step, total, latents):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, stop)
    assert_untouched(demo_model, before)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_stopped_tuning_goes_on_to_the_same_bits(demo_model, clip, concept, tuned, tmp_path, stop_at):
    def stop(step, total, latents):
        if step == stop_at:
            raise KeyboardInterrupt

    steps = []
    with pytest.raises(KeyboardInterrupt):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, stop, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    # Not this file's.
    tune(
        demo_model, clip, "another prompt", (concept,), replace(FAST, clip_steps=1, photo_steps=0), unfinished=tmp_path
    )
    again = tune(
        demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, total, latents: steps.append(step), tmp_path
    )
    assert steps == list(range(stop_at + 1, 5)) and not list(tmp_path.iterdir())
    assert_same(again, tuned.tuning)


def test_a_tuning_stopped_within_every_step_ends_on_the_same_bits(demo_model, clip, concept, tuned, tmp_path):
    """Stopped as ComfyUI stops it, before a U-Net forward: first within step 0, then within the step after the one it
    went on with.
    """
    forwards = []

    def stop(*_):
        forwards.append(len(forwards))
        if len(forwards) > allowed:
            raise KeyboardInterrupt

    for run in range(5):
        forwards.clear()
        allowed = min(run, 1)
        hook = demo_model.unet.unet.register_forward_pre_hook(stop)
        try:
            again = tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path)
            assert run == 4
        except KeyboardInterrupt:
            assert run < 4 and len(list(tmp_path.iterdir())) == allowed
        finally:
            hook.remove()
    assert_same(again, tuned.tuning)
    assert not list(tmp_path.iterdir())


@contextmanager
def interrupted_after_optimizer_step(at):
    """The optimisers' step `at` is taken, and what keeps account of it is not."""
    taken = []

    def stop(*args, **options):
        descend(*args, **options)
        taken.append(len(taken) + 1)
        if len(taken) == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("live_core.learning.descend", stop)
        yield


@pytest.mark.parametrize("kept", [False, True])  # whether a checkpoint of the step before lies there
@pytest.mark.parametrize("at", [3, 4])  # a clip step, a photo step
def test_a_step_that_is_half_done_is_never_kept(demo_model, clip, concept, tuned, tmp_path, monkeypatch, at, kept):
    monkeypatch.setattr("live_core.learning.SECONDS_BETWEEN_CHECKPOINTS", -1 if kept else 60)
    before, steps = weights(demo_model), []
    with interrupted_after_optimizer_step(at):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path)
    assert_untouched(demo_model, before)
    assert len(list(tmp_path.iterdir())) == kept
    again = tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, *_: steps.append(step), tmp_path)
    assert steps == list(range(at if kept else 1, 5))
    assert_same(again, tuned.tuning)


def test_a_stopped_tuning_of_two_photos_goes_on_to_the_same_bits(demo_model, clip, concept, tmp_path):
    """Each vector with its own moments: stopped after both have learned once, and again in the midst of the second's
    second step.
    """
    two = bound(demo_model, CASES["box-to-heart"], 64, "<other*>", (concept,))
    settings = replace(FAST, clip_steps=1, photo_steps=4)
    steps = []
    whole = tune(demo_model, clip, CASE.prompt, two, settings)
    with pytest.raises(ZeroDivisionError):
        tune(demo_model, clip, CASE.prompt, two, settings, lambda step, *_: 1 // (step - 3), tmp_path)
    with interrupted_after_optimizer_step(2):
        tune(demo_model, clip, CASE.prompt, two, settings, unfinished=tmp_path)
    again = tune(demo_model, clip, CASE.prompt, two, settings, lambda step, *_: steps.append(step), tmp_path)
    assert steps == [4, 5]
    assert_same(again, whole)
    assert all(torch.equal(a.vectors, b.vectors) for a, b in zip(again.concepts, whole.concepts, strict=True))


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_tuning_whose_process_was_killed_goes_on_from_its_last_file(
    demo_model, clip, concept, tuned, tmp_path, monkeypatch, at
):
    monkeypatch.setattr("live_core.learning.SECONDS_BETWEEN_CHECKPOINTS", -1)
    folder, left, steps = tmp_path / "a", tmp_path / "b", []

    def keep(step, total, latents):
        if step == at:
            shutil.copytree(folder, left)

    assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST, keep, folder), tuned.tuning)
    assert_same(
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, *_: steps.append(step), left), tuned.tuning
    )
    assert steps == list(range(at + 1, 5))


def test_whatever_a_tuning_depends_on_is_in_its_key(demo_model, clip, concept):
    def key(model=demo_model, latents=clip, prompt=CASE.prompt, bound=concept, settings=FAST):
        return tuning_key(model, latents, prompt, (bound,), settings)

    network = copy.deepcopy(demo_model.text_encoder)
    other_text = replace(demo_model, conditioner=replace(demo_model.conditioner, network=network))
    with torch.no_grad():
        list(other_text.text_encoder.parameters())[-1].add_(0.1)
    others = [
        key(other_text),
        key(replace(demo_model, fingerprint="another")),
        key(replace(demo_model, schedule=replace(demo_model.schedule, prediction="v_prediction"))),
        key(latents=clip + 1e-3),
        key(prompt="another"),
        key(bound=replace(concept, views=concept.reference + 1e-3)),
        key(bound=replace(concept, placeholder="<b*>")),
        key(settings=replace(FAST, clip_steps=3)),
        key(settings=replace(FAST, seed=1)),
    ]
    assert key() == key() and len({key(), *others}) == 1 + len(others)


@pytest.mark.parametrize("broken", [b"", b"half a file", "no tensors", "cut"])
def test_an_unreadable_unfinished_tuning_is_started_anew(demo_model, clip, concept, tuned, tmp_path, caplog, broken):
    file = tmp_path / f"{tuning_key(demo_model, clip, CASE.prompt, (concept,), FAST)}.safetensors"
    if broken == "no tensors":  # as another version of this pack may have left it
        save_file({"value/latent_prompt": torch.zeros(1)}, file)
    elif broken == "cut":
        with pytest.raises(ZeroDivisionError):
            tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, *_: 1 // (step - 2), tmp_path)
        file.write_bytes(file.read_bytes()[:-5])
    else:
        file.write_bytes(broken)
    again = tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path)
    assert "starting anew" in caplog.text
    assert_same(again, tuned.tuning)


def test_a_tuning_that_cannot_be_kept_goes_on_with_a_warning(
    demo_model, clip, concept, tuned, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("live_core.learning.SECONDS_BETWEEN_CHECKPOINTS", -1)
    (tmp_path / "file").write_text("in the way")
    assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path / "file"), tuned.tuning)
    assert "cannot be kept" in caplog.text


def test_only_the_newest_unfinished_tunings_stay(demo_model, clip, tmp_path):
    (tmp_path / "somebody's.safetensors").write_text("not ours")
    first = []
    for seed in range(5):
        with pytest.raises(ZeroDivisionError):
            tune(
                demo_model,
                clip,
                CASE.prompt,
                (),
                replace(FAST, photo_steps=0, seed=seed),
                lambda step, *_: 1 // (step - 1),
                tmp_path,
            )
        first = first or [p.name for p in tmp_path.glob("?" * 32 + ".safetensors")]
    names = {p.name for p in tmp_path.iterdir()}
    assert "somebody's.safetensors" in names and len(names) == 4 and first[0] not in names


def test_a_tuning_whose_memory_runs_out_in_the_backward_pass_goes_on_with_less(
    demo_model, clip, concept, tuned, monkeypatch
):
    """First with gradient checkpointing, to the same bits; then with fewer frames at a time; and the next one with all
    of it again.
    """
    unet, grad, failures = demo_model.unet, torch.autograd.grad, []

    def crowded(*args, **options):
        if failures and failures.pop():
            raise torch.OutOfMemoryError("no room")
        return grad(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", crowded)
    runs = []
    hook = unet.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: runs.append(len(runs)))
    try:
        for fails, passes, hows in (
            # The failure, four steps, and again in both.
            (
                [True],
                1 + 4 + 2,
                ["with activations computed again in the backward pass"],
            ),
            (
                [True, True],
                2 + 4 + 2,
                [
                    "with activations computed again in the backward pass",  # backward passes that come this far
                    "with 2 frames at a time and activations computed again",
                ],
            ),
            ([], 4, []),
        ):
            failures += fails
            runs.clear()
            with gathered() as notes:
                learned = tune(demo_model, clip, CASE.prompt, (concept,), FAST)
            assert len(runs) == passes and notes == [f"memory ran out: training went on {how}" for how in hows]
            if len(fails) < 2:
                assert_same(learned, tuned.tuning)
            torch.testing.assert_close(learned.latent_prompt, tuned.tuning.latent_prompt, atol=1e-3, rtol=0)
        assert not unet.unet.is_gradient_checkpointing
    finally:
        hook.remove()
