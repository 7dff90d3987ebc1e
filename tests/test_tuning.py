"""What a tuning learns, of what, and by which error."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST, assert_untouched, bound, frames, weights
from conftest import ROOT

from demo.cases import CASES
from live_core import LiveError
from live_core.editing import Edit, edit
from live_core.inversion import invert
from live_core.learning import _descend
from live_core.methods import LIVE
from live_core.objectives import ClipObjective, Learned, PhotoObjective
from live_core.pretrained import Tuning, load_folder
from live_core.tuning import TuneSettings, tune


def test_tuning_learns_both_and_leaves_the_base_alone(demo_model, clip, concept, tuned):
    before = weights(demo_model)
    with torch.inference_mode():  # as ComfyUI runs its nodes
        again = tune(demo_model, demo_model.encode_frames(frames()), CASE.prompt, (concept,), FAST)
    assert_untouched(demo_model, before)
    tuning = tuned.tuning
    assert all(torch.equal(t, again.tensors[n]) for n, t in tuning.tensors.items()) and torch.equal(
        tuning.latent_prompt, again.latent_prompt
    )
    assert set(tuning.tensors) == set(demo_model.unet.trainable())
    moved = {n for n, t in tuning.tensors.items() if not torch.equal(t, before["unet." + n])}
    assert (
        any("attn1.to_q" in n for n in moved)
        and any("attn2.to_q" in n for n in moved)
        and any("attn_temp" in n for n in moved)
    )
    assert not torch.equal(tuning.latent_prompt, clip[0]) and not torch.equal(
        tuning.concepts[0].vectors, concept.vectors
    )
    assert len(tuning.losses[0]) == len(tuning.losses[1]) == 2


def test_the_objectives_are_disjoint(demo_model, clip, concept):
    photo_only = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=0))
    assert (
        photo_only.tensors == {}
        and torch.equal(photo_only.latent_prompt, clip[0])
        and not torch.equal(photo_only.concepts[0].vectors, concept.vectors)
    )
    clip_only = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, photo_steps=0))
    assert torch.equal(clip_only.concepts[0].vectors, concept.vectors) and not torch.equal(
        clip_only.latent_prompt, clip[0]
    )


def test_the_photo_may_train_temporal_attention(demo_model, clip, concept, monkeypatch, tmp_path):
    """The ablation of Fig. 7: by the error itself, whatever the vector descends, and with the clip's optimiser.
    Stopped, it goes on to the same bits.
    """
    found = []
    monkeypatch.setattr(
        "live_core.learning._descend", lambda gradients, *rest: found.append(gradients) or _descend(gradients, *rest)
    )
    before, settings = weights(demo_model), replace(FAST, temporal_in_photo_steps=True)
    photo_only = tune(demo_model, clip, CASE.prompt, (concept,), replace(settings, clip_steps=0, photo_loss="log"))
    moved = {n for n, t in photo_only.tensors.items() if not torch.equal(t, before["unet." + n])}
    assert (
        moved and all(".attn_temp." in n for n in moved) and any(n.endswith("attn_temp.to_out.0.weight") for n in moved)
    )
    (vector_log,), temporal_log = found[:2]
    tune(demo_model, clip, CASE.prompt, (concept,), replace(settings, clip_steps=0, photo_steps=1, photo_loss="square"))
    (vector_square,), temporal_square = found[4:]
    assert len(temporal_log) == sum(".attn_temp." in n for n in photo_only.tensors) and all(
        map(torch.equal, temporal_log, temporal_square)
    )
    assert not torch.allclose(vector_log, vector_square)

    whole = tune(demo_model, clip, CASE.prompt, (concept,), settings)
    with pytest.raises(ZeroDivisionError):
        tune(demo_model, clip, CASE.prompt, (concept,), settings, lambda step, *_: 1 // (step - 2), tmp_path)
    again = tune(demo_model, clip, CASE.prompt, (concept,), settings, unfinished=tmp_path)
    assert all(torch.equal(t, again.tensors[n]) for n, t in whole.tensors.items()) and torch.equal(
        whole.concepts[0].vectors, again.concepts[0].vectors
    )
    assert_untouched(demo_model, before)


def test_two_concepts_take_turns_and_neither_learns_from_the_other_s_photo(demo_model, clip, concept):
    two = bound(demo_model, CASES["box-to-heart"], 64, "<other*>", (concept,))
    settings = replace(FAST, clip_steps=0, photo_steps=3)
    learned = tune(demo_model, clip, CASE.prompt, two, settings).concepts
    assert [c.placeholder for c in learned] == ["<thing*>", "<other*>"] and all(
        not torch.equal(a.vectors, b.vectors) for a, b in zip(learned, two, strict=True)
    )
    for which in (0, 1):  # the other's photo another one, the other's vector another one
        changed = tuple(
            c if i == which else replace(c, views=-c.views, vectors=c.vectors + 1) for i, c in enumerate(two)
        )
        again = tune(demo_model, clip, CASE.prompt, changed, settings).concepts
        assert torch.equal(again[which].vectors, learned[which].vectors) and not torch.equal(
            again[1 - which].vectors, learned[1 - which].vectors
        )
    first_alone = tune(demo_model, clip, CASE.prompt, two, replace(settings, photo_steps=1)).concepts
    assert not torch.equal(first_alone[0].vectors, two[0].vectors) and torch.equal(
        first_alone[1].vectors, two[1].vectors
    )
    with pytest.raises(LiveError, match="placeholder: '<thing\\*>' already stands for another photo"):
        bound(demo_model, CASES["box-to-heart"], 64, "<thing*>", (concept,))


def test_the_photo_s_latent_may_sit_in_the_latent_prompt_s_seat_while_it_is_learned(demo_model, clip, concept):
    def vector(**settings):
        return (
            tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=0, **settings)).concepts[0].vectors
        )

    empty, seated = vector(), vector(photo_latent_prompt=True)
    assert not torch.equal(empty, seated) and torch.equal(
        vector(latent_prompt=False, photo_latent_prompt=True), vector(latent_prompt=False)
    )


def test_objectives_alternate_or_follow_one_another(demo_model, clip, concept):
    """The longer objective's rest comes at the end; the callback sees of whichever had its turn."""

    def run(**settings):
        seen = []
        # What the callback is shown of clip and photo before their first turns.
        last = torch.cat([clip, concept.reference])

        def look(step, total, latents):
            nonlocal last
            assert latents.shape == last.shape and latents.isfinite().all() and not latents.requires_grad
            changed = [
                not torch.equal(now, before) for now, before in ((latents[:-1], last[:-1]), (latents[-1:], last[-1:]))
            ]
            seen.append((step, total, changed))
            last = latents

        losses = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=3, **settings), look).losses
        assert [(step, total) for step, total, _ in seen] == [(i, 5) for i in range(1, 6)] and list(
            map(len, losses)
        ) == [3, 2]
        return ["photo" if photo else "clip" for clip, photo in (changed for *_, changed in seen) if clip != photo]

    assert run() == ["clip", "photo", "clip", "photo", "clip"]
    assert run(alternate=False) == ["clip", "clip", "clip", "photo", "photo"]


def test_a_clip_less_its_own_noise_is_the_clip(demo_model, clip):
    """What a tuning shows of a model that knows the noise."""
    schedule, noise = demo_model.schedule, torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    for prediction in ("epsilon", "v_prediction"):
        other = replace(schedule, prediction=prediction)
        for t in (1, 500, 981):
            noisy, target = other.add_noise(clip, noise, t), other.target(clip, noise, t)
            assert torch.allclose(other.clean(noisy, other.noise(noisy, target, t), t), clip, atol=1e-4)


def test_longer_tuning_lowers_the_clip_s_loss(demo_model, clip):
    losses = tune(demo_model, clip, CASE.prompt, (), replace(FAST, clip_steps=12, photo_steps=0)).losses[0]
    base = tune(
        demo_model,
        clip,
        CASE.prompt,
        (),
        replace(FAST, clip_steps=12, photo_steps=0, clip_rate=0.0, latent_prompt_rate=0.0),
    ).losses[0]
    assert sum(losses[6:]) < sum(base[6:])  # the same timesteps and noise


def test_textual_inversion_learns_the_photo_and_no_other(demo_model):
    """At timesteps and noises that tuning never drew, the learned vector must explain its own photo better than the
    word "thing" does, and better than the vector learned from another photo."""
    concept, other = (bound(demo_model, CASES[name], 128)[0] for name in (CASE.name, "fish-to-two-tone-gem"))
    settings = TuneSettings(clip_steps=0, photo_steps=24, photo_rate=5e-3, latent_prompt=False)

    @torch.no_grad()
    def loss(of, vector):
        told = replace(of, vectors=vector)
        objective = PhotoObjective(demo_model, (told,), settings, Learned(demo_model, of.reference, (told,), settings))
        return sum(float(objective.loss(0, torch.Generator().manual_seed(-1 - i))[0]) for i in range(8)) / 8

    learned = {
        id(c): tune(demo_model, c.reference, "a thing", (c,), settings).concepts[0].vectors for c in (concept, other)
    }
    for one, another in ((concept, other), (other, concept)):
        assert loss(one, learned[id(one)]) < min(loss(one, one.vectors), loss(one, learned[id(another)]))


def test_the_photo_descends_the_logarithm_of_its_error_or_the_error(demo_model, clip, concept, monkeypatch):
    """A gradient of the logarithm is that of the error over the error; the clip's steps know nothing of it."""
    found = []
    monkeypatch.setattr(
        "live_core.learning._descend",
        lambda gradients, *rest: found.append([g.clone() for g in gradients]) or _descend(gradients, *rest),
    )
    for seed in range(1, 4):  # 0 draws a timestep with next to no noise, whose error is near that of finding none
        (error,) = {
            tune(
                demo_model,
                clip,
                CASE.prompt,
                (concept,),
                replace(FAST, clip_steps=0, photo_steps=1, photo_loss=loss, seed=seed),
            ).losses[1]
            for loss in ("log", "square")
        }
        (log,), (square,) = found[-2:]
        assert error[0] < 0.5 and (log * error[0] - square).norm() < 1e-4 * square.norm()
    settings = replace(FAST, clip_steps=1, photo_steps=0, photo_loss="log")
    tune(demo_model, clip, CASE.prompt, (), settings)
    learned = Learned(demo_model, clip, (), settings)
    loss, _ = ClipObjective(demo_model, clip, CASE.prompt, settings, learned).loss(0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found[-1][-1], torch.autograd.grad(loss, learned.latent_prompt)[0], atol=1e-7, rtol=1e-4)
    with pytest.raises(LiveError, match="photo loss: 'huber'; choose log, square"):
        tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, photo_loss="huber"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_photo_is_learned_in_half_precision(demo_model, concept, dtype, monkeypatch):
    """Where nearly all is noise, so that the error is least and its logarithm steepest: by float32's gradient."""

    def noisy(seed: int) -> bool:
        return int(torch.randint(1000, (), generator=torch.Generator().manual_seed(1_000_003 * seed))) > 980

    found = []
    monkeypatch.setattr(
        "live_core.learning._descend",
        lambda gradients, masters, optimizer, scale: found.append(gradients[0].float() / scale),
    )
    for model in (demo_model, load_folder(ROOT / "demo" / "model", dtype)):
        tune(
            model,
            concept.reference,
            "a thing",
            (concept,),
            TuneSettings(clip_steps=0, photo_steps=1, seed=next(filter(noisy, range(1000)))),
        )
    whole, half = found
    assert (half - whole).norm() < 0.1 * whole.norm()


def test_a_step_whose_gradient_overflows_learns_nothing(demo_model, clip, concept, monkeypatch, caplog):
    """Half precision can overflow once in many steps; the others must not pay for it."""
    grad, calls = torch.autograd.grad, []

    def overflow(loss, of, **options):
        calls.append(of)
        return [g * (float("inf") if len(calls) == 2 else 1) for g in grad(loss, of, **options)]

    monkeypatch.setattr(torch.autograd, "grad", overflow)
    tuning = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=2, photo_steps=1))
    monkeypatch.undo()
    assert (
        len(calls) == 3 and [message for message in caplog.messages if "overflowed" in message] == caplog.messages[:1]
    )
    assert torch.equal(tuning.concepts[0].vectors, concept.vectors) and all(
        t.isfinite().all() for t in tuning.tensors.values()
    )


def test_a_photo_of_another_size_is_refused_before_it_is_learned(demo_model, clip, concept):
    other = replace(concept, views=torch.zeros(1, 4, 8, 12))
    with pytest.raises(LiveError, match="photo of '<thing\\*>' was fitted to latents of 12x8 and the clip's are 8x8"):
        tune(demo_model, clip, CASE.prompt, (other,), FAST)
    foreign = demo_model.with_tuning(Tuning({}, None, (other,), CASE.prompt, demo_model.fingerprint))
    with pytest.raises(LiveError, match="12x8"):
        edit(foreign, invert(demo_model, clip, CASE.prompt, LIVE, 1), Edit("a <thing*> moving on the meadow"))


def test_a_seed_of_64_bits_counts_whole_and_one_of_32_as_it_always_did():
    from live_core.objectives import generator_of

    for seed in (0, 1, 0xFFFFFFFF):
        for step in (0, 999):
            expected = torch.Generator().manual_seed(seed * 1_000_003 + step)
            assert torch.equal(generator_of(seed, step).get_state(), expected.get_state())
    drawn = {
        float(torch.rand((), generator=generator_of(seed, 0)))
        for seed in (1, 1 + 2**32, 1 + 2**33, 1 + 2**63, 2**64 - 1)
    }
    assert len(drawn) == 5
    for seed in (-1, 2**64, 0.5):
        with pytest.raises(LiveError, match="^seed: .*; give a whole number from 0 to 18446744073709551615"):
            TuneSettings(seed=seed)
