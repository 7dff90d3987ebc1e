"""The chain on the demo model: tuning, inversion and editing, with their identity cases exact."""
import copy
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from demo.cases import CASES
from live_core import LiveError, metrics
from live_core.concept import bind, fit_photo
from live_core.editing import Edit, edit
from live_core.inversion import invert, reconstruct
from live_core.methods import LIVE, TAV_DDIM
from live_core.pretrained import Tuning, fingerprint_of, load_folder, load_tuning, save_tuning
from live_core.tuning import TuneSettings, _clip_loss, _descend, _photo_loss, tune, tuning_key
from safetensors.torch import save_file

CASE = CASES["ball-to-star"]
STEPS = 4
FAST = TuneSettings(clip_steps=2, photo_steps=2, clip_rate=1e-3, latent_prompt_rate=1e-2, photo_rate=1e-2)


def frames(count: int = 3, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.from_numpy(CASE.clip.frames()[:count, :height, :width]).float() / 255


def bound(model, case, side: int, placeholder: str = "<thing*>", others=()):
    photo = torch.from_numpy(case.swaps[0].photo.frames()).float() / 255
    return bind(placeholder, "thing", model.encode_frames(fit_photo(photo, side, side)), model.tokenizer, model.text_encoder, others)


@pytest.fixture(scope="module")
def concept(demo_model):
    return bound(demo_model, CASE, 64)[0]


@pytest.fixture(scope="module")
def clip(demo_model):
    return demo_model.encode_frames(frames())


@pytest.fixture(scope="module")
def tuned(demo_model, clip, concept):
    return demo_model.with_tuning(tune(demo_model, clip, CASE.prompt, (concept,), FAST))


@pytest.fixture(scope="module")
def inversion(tuned, clip):
    return invert(tuned, clip, CASE.prompt, LIVE, STEPS)


def weights(model):
    return {n: p.clone() for n, p in model.unet.named_parameters()}


def assert_untouched(model, before):
    assert all(torch.equal(p, before[n]) and not p.requires_grad for n, p in model.unet.named_parameters())


def test_tuning_learns_both_and_leaves_the_base_alone(demo_model, clip, concept, tuned):
    before = weights(demo_model)
    with torch.inference_mode():                                           # as ComfyUI runs its nodes
        again = tune(demo_model, demo_model.encode_frames(frames()), CASE.prompt, (concept,), FAST)
    assert_untouched(demo_model, before)
    tuning = tuned.tuning
    assert all(torch.equal(t, again.tensors[n]) for n, t in tuning.tensors.items()) and torch.equal(tuning.latent_prompt, again.latent_prompt)
    assert set(tuning.tensors) == set(demo_model.unet.trainable())
    moved = {n for n, t in tuning.tensors.items() if not torch.equal(t, before["unet." + n])}
    assert any("attn1.to_q" in n for n in moved) and any("attn2.to_q" in n for n in moved) and any("attn_temp" in n for n in moved)
    assert not torch.equal(tuning.latent_prompt, clip[0]) and not torch.equal(tuning.concepts[0].vector, concept.vector)
    assert len(tuning.losses[0]) == len(tuning.losses[1]) == 2


def test_the_objectives_are_disjoint(demo_model, clip, concept):
    photo_only = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=0))
    assert photo_only.tensors == {} and torch.equal(photo_only.latent_prompt, clip[0]) and not torch.equal(photo_only.concepts[0].vector, concept.vector)
    clip_only = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, photo_steps=0))
    assert torch.equal(clip_only.concepts[0].vector, concept.vector) and not torch.equal(clip_only.latent_prompt, clip[0])


def test_two_concepts_take_turns_and_neither_learns_from_the_other_s_photo(demo_model, clip, concept):
    two = bound(demo_model, CASES["box-to-heart"], 64, "<other*>", (concept,))
    settings = replace(FAST, clip_steps=0, photo_steps=3)
    learned = tune(demo_model, clip, CASE.prompt, two, settings).concepts
    assert [c.placeholder for c in learned] == ["<thing*>", "<other*>"] and all(not torch.equal(a.vector, b.vector) for a, b in zip(learned, two))
    for which in (0, 1):                                                   # the other's photo another one, the other's vector another one
        changed = tuple(c if i == which else replace(c, reference=-c.reference, vector=c.vector + 1) for i, c in enumerate(two))
        again = tune(demo_model, clip, CASE.prompt, changed, settings).concepts
        assert torch.equal(again[which].vector, learned[which].vector) and not torch.equal(again[1 - which].vector, learned[1 - which].vector)
    first_alone = tune(demo_model, clip, CASE.prompt, two, replace(settings, photo_steps=1)).concepts
    assert not torch.equal(first_alone[0].vector, two[0].vector) and torch.equal(first_alone[1].vector, two[1].vector)
    with pytest.raises(LiveError, match="placeholder: '<thing\\*>' already stands for another photo"):
        bound(demo_model, CASES["box-to-heart"], 64, "<thing*>", (concept,))


def test_the_photo_s_latent_may_sit_in_the_latent_prompt_s_seat_while_it_is_learned(demo_model, clip, concept):
    def vector(**settings):
        return tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=0, **settings)).concepts[0].vector
    empty, seated = vector(), vector(photo_latent_prompt=True)
    assert not torch.equal(empty, seated) and torch.equal(vector(latent_prompt=False, photo_latent_prompt=True), vector(latent_prompt=False))


def test_objectives_alternate_or_follow_one_another(demo_model, clip, concept):
    """The longer objective's rest comes at the end; the callback sees of whichever had its turn."""
    def run(**settings):
        seen = []
        last = torch.cat([clip, concept.reference])                 # what the callback is shown of clip and photo before their first turns

        def look(step, total, latents):
            nonlocal last
            assert latents.shape == last.shape and latents.isfinite().all() and not latents.requires_grad
            changed = [not torch.equal(now, before) for now, before in ((latents[:-1], last[:-1]), (latents[-1:], last[-1:]))]
            seen.append((step, total, changed))
            last = latents
        losses = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=3, **settings), look).losses
        assert [(step, total) for step, total, _ in seen] == [(i, 5) for i in range(1, 6)] and list(map(len, losses)) == [3, 2]
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


def test_a_tuning_stopped_half_way_leaves_the_base_alone(demo_model, clip, concept):
    before = weights(demo_model)

    def stop(step, total, latents):
        if step == 3:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, stop)
    assert_untouched(demo_model, before)


def test_a_step_whose_gradient_overflows_learns_nothing(demo_model, clip, concept, monkeypatch, caplog):
    """Half precision can overflow once in many steps; the others must not pay for it."""
    grad, calls = torch.autograd.grad, []

    def overflow(loss, of):
        calls.append(of)
        return [g * (float("inf") if len(calls) == 2 else 1) for g in grad(loss, of)]
    monkeypatch.setattr(torch.autograd, "grad", overflow)
    tuning = tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=2, photo_steps=1))
    monkeypatch.undo()
    assert len(calls) == 3 and [message for message in caplog.messages if "overflowed" in message] == caplog.messages[:1]
    assert torch.equal(tuning.concepts[0].vector, concept.vector) and all(t.isfinite().all() for t in tuning.tensors.values())


def test_a_tuning_whose_memory_runs_out_in_the_backward_pass_goes_on_with_less(demo_model, clip, concept, tuned, monkeypatch, caplog):
    """First with gradient checkpointing, to the same bits; then with fewer frames at a time."""
    unet, grad, failures = demo_model.unet, torch.autograd.grad, [True]

    def crowded(*args):
        if failures and failures.pop():
            raise torch.OutOfMemoryError("no room")
        return grad(*args)
    monkeypatch.setattr(torch.autograd, "grad", crowded)
    runs = []
    hook = unet.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: runs.append(len(runs)))
    try:
        assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST), tuned.tuning)
        assert unet.checkpointing and unet.rows_at_once is None
        assert len(runs) == 1 + 4 + 2                           # the failure, four steps, and again in both backward passes that come this far
        failures.append(True)
        less = tune(demo_model, clip, CASE.prompt, (concept,), FAST)
        assert unet.rows_at_once == 2 and caplog.text.count("out of memory") == 2
        torch.testing.assert_close(less.latent_prompt, tuned.tuning.latent_prompt, atol=1e-3, rtol=0)
    finally:
        hook.remove()
        unet.unet.disable_gradient_checkpointing()
        unet.checkpointing, unet.rows_at_once = False, None


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_a_stopped_tuning_goes_on_to_the_same_bits(demo_model, clip, concept, tuned, tmp_path, stop_at):
    def stop(step, total, latents):
        if step == stop_at:
            raise KeyboardInterrupt
    steps = []
    with pytest.raises(KeyboardInterrupt):
        tune(demo_model, clip, CASE.prompt, (concept,), FAST, stop, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    tune(demo_model, clip, "another prompt", (concept,), replace(FAST, clip_steps=1, photo_steps=0), unfinished=tmp_path)   # not this file's
    again = tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, total, latents: steps.append(step), tmp_path)
    assert steps == list(range(stop_at + 1, 5)) and not list(tmp_path.iterdir())
    assert_same(again, tuned.tuning)


def assert_same(a, b):
    assert a.tensors.keys() == b.tensors.keys() and all(torch.equal(t, b.tensors[n]) for n, t in a.tensors.items())
    assert torch.equal(a.latent_prompt, b.latent_prompt) and torch.equal(a.concepts[0].vector, b.concepts[0].vector) and a.losses == b.losses


def test_a_tuning_stopped_within_every_step_ends_on_the_same_bits(demo_model, clip, concept, tuned, tmp_path):
    """Stopped as ComfyUI stops it, before a U-Net forward: first within step 0, then within the step after the one it went on with."""
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


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_tuning_whose_process_was_killed_goes_on_from_its_last_file(demo_model, clip, concept, tuned, tmp_path, monkeypatch, at):
    monkeypatch.setattr("live_core.tuning.SECONDS_BETWEEN_CHECKPOINTS", -1)
    folder, left, steps = tmp_path / "a", tmp_path / "b", []

    def keep(step, total, latents):
        if step == at:
            shutil.copytree(folder, left)
    assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST, keep, folder), tuned.tuning)
    assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST, lambda step, *_: steps.append(step), left), tuned.tuning)
    assert steps == list(range(at + 1, 5))


def test_whatever_a_tuning_depends_on_is_in_its_key(demo_model, clip, concept):
    def key(model=demo_model, latents=clip, prompt=CASE.prompt, bound=concept, settings=FAST):
        return tuning_key(model, latents, prompt, (bound,), settings)
    other_text = replace(demo_model, text_encoder=copy.deepcopy(demo_model.text_encoder))
    with torch.no_grad():
        list(other_text.text_encoder.parameters())[-1].add_(0.1)
    others = [key(other_text), key(replace(demo_model, fingerprint="another")), key(replace(demo_model, schedule=replace(demo_model.schedule, prediction="v_prediction"))),
              key(latents=clip + 1e-3), key(prompt="another"), key(bound=replace(concept, reference=concept.reference + 1e-3)), key(bound=replace(concept, placeholder="<b*>")),
              key(settings=replace(FAST, clip_steps=3)), key(settings=replace(FAST, seed=1))]
    assert key() == key() and len({key(), *others}) == 1 + len(others)


@pytest.mark.parametrize("broken", [b"", b"half a file", "no tensors", "cut"])
def test_an_unreadable_unfinished_tuning_is_started_anew(demo_model, clip, concept, tuned, tmp_path, caplog, broken):
    file = tmp_path / f"{tuning_key(demo_model, clip, CASE.prompt, (concept,), FAST)}.safetensors"
    if broken == "no tensors":                                             # as another version of this pack may have left it
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


def test_a_tuning_that_cannot_be_kept_goes_on_with_a_warning(demo_model, clip, concept, tuned, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("live_core.tuning.SECONDS_BETWEEN_CHECKPOINTS", -1)
    (tmp_path / "file").write_text("in the way")
    assert_same(tune(demo_model, clip, CASE.prompt, (concept,), FAST, unfinished=tmp_path / "file"), tuned.tuning)
    assert "cannot be kept" in caplog.text


def test_only_the_newest_unfinished_tunings_stay(demo_model, clip, tmp_path):
    (tmp_path / "somebody's.safetensors").write_text("not ours")
    first = []
    for seed in range(5):
        with pytest.raises(ZeroDivisionError):
            tune(demo_model, clip, CASE.prompt, (), replace(FAST, photo_steps=0, seed=seed), lambda step, *_: 1 // (step - 1), tmp_path)
        first = first or [p.name for p in tmp_path.glob("?" * 32 + ".safetensors")]
    names = {p.name for p in tmp_path.iterdir()}
    assert "somebody's.safetensors" in names and len(names) == 4 and first[0] not in names


def test_longer_tuning_lowers_the_clip_s_loss(demo_model, clip):
    losses = tune(demo_model, clip, CASE.prompt, (), replace(FAST, clip_steps=12, photo_steps=0)).losses[0]
    base = tune(demo_model, clip, CASE.prompt, (), replace(FAST, clip_steps=12, photo_steps=0, clip_rate=0.0, latent_prompt_rate=0.0)).losses[0]
    assert sum(losses[6:]) < sum(base[6:])                                 # the same timesteps and noise


def test_textual_inversion_learns_the_photo_and_no_other(demo_model):
    """At timesteps and noises that tuning never drew, the learned vector must explain its own photo better than the word "thing" does,
    and better than the vector learned from another photo."""
    concept, other = (bound(demo_model, CASES[name], 128)[0] for name in (CASE.name, "fish-to-two-tone-gem"))
    settings = TuneSettings(clip_steps=0, photo_steps=24, photo_rate=5e-3, latent_prompt=False)

    @torch.no_grad()
    def loss(of, vector):
        return sum(float(_photo_loss(demo_model, of.reference, (of,), [vector], 0, settings, torch.Generator().manual_seed(-1 - i))[0]) for i in range(8)) / 8

    learned = {id(c): tune(demo_model, c.reference, "a thing", (c,), settings).concepts[0].vector for c in (concept, other)}
    for one, another in ((concept, other), (other, concept)):
        assert loss(one, learned[id(one)]) < min(loss(one, one.vector), loss(one, learned[id(another)]))


def test_the_source_prompt_brings_the_clip_back(demo_model):
    """Inversion and sampling, 50 steps each, lose at most 1.5 dB beside the autoencoder's own round trip."""
    clip = frames(2, 128, 128)
    latents = demo_model.encode_frames(clip)
    back = reconstruct(demo_model, invert(demo_model, latents, CASE.prompt, LIVE, 50))
    through, whole = (float(metrics.psnr(demo_model.decode_frames(z), clip).mean()) for z in (latents, back))
    assert whole > through - 1.5 and through > 25


def test_a_base_is_the_same_at_any_precision(demo_model):
    for dtype, of_the_vae in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        model = load_folder(ROOT / "demo" / "model", dtype)
        assert model.fingerprint == demo_model.fingerprint and (model.unet.dtype, model.vae.dtype, model.text_encoder.dtype) == (dtype, of_the_vae, dtype)
    tensors = {name: torch.randn(100, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    assert fingerprint_of(tensors) == fingerprint_of({name: tensor.half() for name, tensor in tensors.items()}) != fingerprint_of({**tensors, "b": -tensors["b"]})


def test_a_photo_of_another_size_is_refused_before_it_is_learned(demo_model, clip, concept):
    other = replace(concept, reference=torch.zeros(1, 4, 8, 12))
    with pytest.raises(LiveError, match="photo of '<thing\\*>' was fitted to latents of 12x8 and the clip's are 8x8"):
        tune(demo_model, clip, CASE.prompt, (other,), FAST)
    foreign = demo_model.with_tuning(Tuning({}, None, (other,), CASE.prompt, demo_model.fingerprint))
    with pytest.raises(LiveError, match="12x8"):
        edit(foreign, invert(demo_model, clip, CASE.prompt, LIVE, 1), Edit("a <thing*> moving on the meadow"))


def test_the_photo_descends_the_logarithm_of_its_error_or_the_error(demo_model, clip, concept, monkeypatch):
    """A gradient of the logarithm is that of the error over the error; the clip's steps know nothing of it."""
    found = []
    monkeypatch.setattr("live_core.tuning._descend", lambda gradients, *rest: found.append([g.clone() for g in gradients]) or _descend(gradients, *rest))
    for seed in range(3):
        error, = {tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, clip_steps=0, photo_steps=1, photo_loss=loss, seed=seed)).losses[1] for loss in ("log", "square")}
        (log,), (square,) = found[-2:]
        assert error[0] < 0.5 and (log * error[0] - square).norm() < 1e-4 * square.norm()
    settings = replace(FAST, clip_steps=1, photo_steps=0, photo_loss="log")
    tune(demo_model, clip, CASE.prompt, (), settings)
    seat = clip[0].clone().requires_grad_()
    loss, _ = _clip_loss(demo_model, clip, demo_model.encode_text(CASE.prompt)[None], seat, settings, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found[-1][-1], torch.autograd.grad(loss, seat)[0], atol=1e-7, rtol=1e-4)
    with pytest.raises(LiveError, match="photo loss: 'huber'; choose log, square"):
        tune(demo_model, clip, CASE.prompt, (concept,), replace(FAST, photo_loss="huber"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_photo_is_learned_in_half_precision(demo_model, concept, dtype, monkeypatch):
    """Where nearly all is noise, so that the error is least and its logarithm steepest: by float32's gradient."""
    def noisy(seed: int) -> bool:
        return int(torch.randint(1000, (), generator=torch.Generator().manual_seed(1_000_003 * seed))) > 980

    found = []
    monkeypatch.setattr("live_core.tuning._descend", lambda gradients, masters, optimizer, scale: found.append(gradients[0].float() / scale))
    for model in (demo_model, load_folder(ROOT / "demo" / "model", dtype)):
        tune(model, concept.reference, "a thing", (concept,), TuneSettings(clip_steps=0, photo_steps=1, seed=next(filter(noisy, range(1000)))))
    whole, half = found
    assert (half - whole).norm() < 0.1 * whole.norm()


def test_tunings_come_back_from_disk_as_they_were(tuned, demo_model, tmp_path):
    save_tuning(tuned.tuning, tmp_path / "t.safetensors")
    back = load_tuning(tmp_path / "t.safetensors")
    assert all(torch.equal(t, back.tensors[n]) for n, t in tuned.tuning.tensors.items()) and torch.equal(back.latent_prompt, tuned.tuning.latent_prompt)
    assert torch.equal(back.concepts[0].vector, tuned.tuning.concepts[0].vector) and back.concepts[0].placeholder == "<thing*>"
    assert (back.prompt, back.base, back.losses, back.base_name) == (tuned.tuning.prompt, tuned.tuning.base, tuned.tuning.losses, demo_model.name)
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]
    with pytest.raises(LiveError, match=f"'{demo_model.name}'.*{demo_model.fingerprint}.*'else'.*another"):
        replace(demo_model, name="else", fingerprint="another").with_tuning(back)
    (tmp_path / "t.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-5])
    with pytest.raises(LiveError, match="'t.safetensors' cannot be read"):
        load_tuning(tmp_path / "t.safetensors")


def test_inversion_and_sampling_come_back(tuned, clip):
    """More steps come nearer: the discretisation is the only loss."""
    errors = [float((reconstruct(tuned, invert(tuned, clip, CASE.prompt, LIVE, steps)) - clip).square().mean()) for steps in (5, 25)]
    assert errors[1] < 0.5 * errors[0]


CHANGE = Edit("a <thing*> moving on the meadow")


def test_recompute_ram_and_disk_give_the_same_edit(tuned, clip, inversion, tmp_path):
    plain = edit(tuned, inversion, CHANGE)
    for attention in ("ram", "disk"):
        stored = invert(tuned, clip, CASE.prompt, LIVE, STEPS, attention, tmp_path / attention)
        torch.testing.assert_close(stored.latents, inversion.latents)
        assert stored.store.nbytes() > 0 and f"({attention})" in stored.describe()
        other = edit(tuned, stored, CHANGE)
        torch.testing.assert_close(other.latents, plain.latents, atol=1e-4, rtol=1e-4)
        assert torch.equal(other.mask, plain.mask)


def test_the_same_prompt_under_full_injection_is_the_reconstruction(tuned, inversion):
    method = replace(LIVE, guidance_scale=1.0, cross_ratio=1.0, self_ratio=1.0, self_target="both", blend_threshold=None)
    torch.testing.assert_close(edit(tuned, inversion, Edit(CASE.prompt), method).latents, reconstruct(tuned, inversion), atol=1e-4, rtol=1e-4)


def test_ratio_zero_injects_nothing(tuned, inversion):
    none = replace(LIVE, cross_ratio=0.0, self_ratio=0.0, blend_threshold=None)
    alone = edit(tuned, inversion, CHANGE, none)
    with_source = edit(tuned, inversion, CHANGE, replace(none, blend_threshold=0.3, blend_start=1.0))    # runs the source beside it, uses it never
    torch.testing.assert_close(alone.latents, with_source.latents, atol=1e-4, rtol=1e-4)
    assert alone.mask.min() == 1


def test_injection_and_blend_change_the_edit(tuned, inversion):
    edits = [edit(tuned, inversion, CHANGE, replace(LIVE, **{"cross_ratio": 0.0, "self_ratio": 0.0, "blend_threshold": None, **on})).latents
             for on in ({}, {"cross_ratio": 0.6}, {"self_ratio": 0.5}, {"self_ratio": 0.5, "self_target": "temporal"}, {"blend_threshold": 0.3}, {"unconditional_latent_prompt": "trained"}, {"edit_latent_prompt": "reference"})]
    for i, a in enumerate(edits):
        assert all(not torch.allclose(a, b, atol=1e-3) for b in edits[:i]), i


@pytest.mark.parametrize("own", ["trained", "reference"])
def test_the_latent_prompt_s_guidance_stands_apart_from_the_words(tuned, clip, monkeypatch, own):
    """The streams of one step are the ones that the formula needs, and their sum is the formula's."""
    seen = []
    predict = tuned.unet._predict

    def watched(latents, t, text, seats, plan):
        noise = predict(latents, t, text, seats, plan)
        seen.append((text.clone(), seats.clone(), noise))
        return noise
    monkeypatch.setattr(tuned.unet, "_predict", watched)
    other = {"trained": "reference", "reference": "trained"}[own]
    bare = replace(LIVE, cross_ratio=0.0, self_ratio=0.0, blend_threshold=None, edit_latent_prompt=own, unconditional_latent_prompt=other)
    inverted = invert(tuned, clip, CASE.prompt, LIVE, 1)
    seats = {"trained": tuned.tuning.latent_prompt, "reference": tuned.tuning.concepts[0].reference[0]}
    words, empty = tuned.encode_text(CHANGE.prompt, tuned.tuning.concepts), tuned.encode_text("")
    streams = {"unconditional": (empty, seats[other]), "wordless": (empty, seats[own]), "conditional": (words, seats[own])}
    t, = tuned.schedule.timesteps(1)
    for w, s, run in ((4.0, None, ["unconditional", "conditional"]), (4.0, 4.0, ["unconditional", "conditional"]), (4.0, 1.0, ["wordless", "conditional"]),
                      (4.0, 2.0, ["unconditional", "wordless", "conditional"]), (1.0, 2.0, ["unconditional", "wordless", "conditional"]), (1.0, 1.0, ["conditional"])):
        seen.clear()
        edited = edit(tuned, inverted, CHANGE, replace(bare, guidance_scale=w, image_guidance_scale=s)).latents
        (text, seat, noise), = seen
        told = {name: noise[i] for i, name in enumerate(run)}
        assert len(text) == len(run) and all(torch.equal(text[i], streams[name][0]) and torch.equal(seat[i], streams[name][1]) for i, name in enumerate(run))
        s = w if s is None else s
        formula = sum(factor * told[name] for name, factor in (("unconditional", 1 - s), ("wordless", s - w), ("conditional", w)) if factor)
        torch.testing.assert_close(edited, tuned.schedule.denoise(inverted.latents[-1], formula, t, 1), atol=1e-4, rtol=1e-4)


def test_outside_the_blend_mask_the_latents_are_the_source_s(tuned, inversion):
    """With full injection off, what local blend keeps is exactly the reconstruction."""
    edited = edit(tuned, inversion, CHANGE, replace(LIVE, blend_threshold=0.9))
    same = (edited.latents - reconstruct(tuned, inversion)).abs().amax(1) < 1e-4
    assert 0 < same.float().mean() < 1


@pytest.mark.parametrize("count,height,width", [(1, 128, 128), (3, 64, 96), (2, 120, 72)])
def test_any_size_and_any_number_of_frames(demo_model, count, height, width):
    clip = demo_model.encode_frames(frames(count, height, width))
    model = demo_model.with_tuning(tune(demo_model, clip, CASE.prompt, (), replace(FAST, clip_steps=1, photo_steps=0)))
    result = edit(model, invert(model, clip, CASE.prompt, LIVE, 2), Edit("a blue star moving on the meadow"))
    assert result.latents.shape == clip.shape and result.mask.shape == (count, height, width)
    assert model.decode_frames(result.latents).shape == (count, height, width, 3)


def test_the_baseline_is_a_row_of_settings(demo_model, clip, concept):
    settings = replace(FAST, latent_prompt=False, frame_plan=TAV_DDIM.frame_plan)
    model = demo_model.with_tuning(tune(demo_model, clip, CASE.prompt, (concept,), settings))
    assert model.tuning.latent_prompt is None
    assert edit(model, invert(model, clip, CASE.prompt, TAV_DDIM, 2), CHANGE).latents.shape == clip.shape


def test_bad_inputs_are_named(demo_model, clip, concept, tuned, inversion):
    for call, says in (
        (lambda: demo_model.encode_frames(torch.zeros(0, 128, 128, 3)), "at least one frame"),
        (lambda: demo_model.encode_frames(torch.zeros(1, 100, 128, 3)), "128x100 pixels"),
        (lambda: demo_model.encode_frames(torch.zeros(1, 128, 128, 4)), "4 channels"),
        (lambda: tune(demo_model, clip, "a", (), FAST), "no concept given"),
        (lambda: tune(demo_model, clip, "a <thing*>", (concept,), FAST), "prompt: '<thing.>' stands for the thing in a photo; say in words what the clip shows"),
        (lambda: invert(tuned, clip, "a <thing*>", LIVE, 1), "prompt: '<thing.>' stands for the thing in a photo"),
        (lambda: invert(demo_model, clip, "a <star>", LIVE, 1), "prompt: '<star>' stands for the thing in a photo"),
        (lambda: invert(tuned, clip, "a", LIVE, 0), "steps: 0"),
        (lambda: edit(tuned, inversion, CHANGE, TAV_DDIM), "invert it again"),
        (lambda: edit(tuned, inversion, Edit(CASE.prompt)), "same words"),
        (lambda: replace(LIVE, cross_ratio=1.5), "cross_ratio: 1.5"),
    ):
        with pytest.raises(LiveError, match=says):
            call()
