"""A frame is encoded once: what is handed on is what encoding it again gives, bit for bit, and nothing is kept for
long.
"""

import gc
import weakref

import pytest
import torch
from chain import frames
from conftest import ROOT

from live_core.autoencoder import encode
from live_core.encoded import Encoded, lending
from live_core.notes import gathered
from live_core.pretrained import load_folder


@pytest.fixture
def encodings(demo_model):
    """One entry for every time that the encoder runs."""
    seen = []
    hook = demo_model.vae.encoder.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def of_one_memory(model, *clips: torch.Tensor) -> list[torch.Tensor]:
    with lending(Encoded()):
        return [model.encode_frames(clip) for clip in clips]


def test_the_same_clip_is_encoded_once_and_to_the_same_bits(demo_model, encodings):
    expected = demo_model.encode_frames(frames())
    del encodings[:]
    found = of_one_memory(demo_model, frames(), frames().clone(), frames()[1:])
    assert len(encodings) == 3  # its frames
    assert torch.equal(found[0], expected) and torch.equal(found[1], expected) and torch.equal(found[2], expected[1:])


def test_without_a_memory_every_clip_is_encoded(demo_model, encodings):
    with lending(Encoded()):
        demo_model.encode_frames(frames())
    demo_model.encode_frames(frames())
    assert len(encodings) == 6


def with_a_pixel_changed(clip: torch.Tensor) -> torch.Tensor:
    changed = clip.clone()
    changed[1, 5, 7, 2] = torch.nextafter(changed[1, 5, 7, 2], torch.ones(()))
    return changed


@pytest.mark.parametrize(
    "other,anew",
    [
        (with_a_pixel_changed, 1),
        (lambda clip: clip.flip(0), 0),
        (lambda clip: clip.transpose(1, 2), 3),
        (lambda clip: clip[:, :32], 3),
        (torch.Tensor.double, 3),
        (torch.Tensor.half, 3),
    ],
    ids=["a pixel's last bit", "backwards", "turned", "smaller", "float64", "float16"],
)
def test_another_frame_is_encoded_anew(demo_model, encodings, other, anew):
    clip = torch.rand(3, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    alone = demo_model.encode_frames(other(clip))
    del encodings[:]
    _, found = of_one_memory(demo_model, clip, other(clip))
    assert len(encodings) == 3 + anew and torch.equal(found, alone)


def test_another_autoencoder_or_number_format_encodes_anew(encodings, demo_model):
    other = load_folder(ROOT / "demo" / "model")
    with torch.no_grad():
        next(other.vae.encoder.parameters()).mul_(1.1)
    with lending(Encoded()):
        first = demo_model.encode_frames(frames())
        assert not torch.equal(other.encode_frames(frames()), first)
        exact = other.vae.double().requires_grad_(False)
        again = other.encode_frames(frames())
    assert torch.equal(again, other.encode_frames(frames())) and exact.dtype == torch.float64


def test_what_is_handed_on_may_be_written_to(demo_model):
    expected = demo_model.encode_frames(frames())
    with lending(Encoded()):
        for _ in range(3):
            found = demo_model.encode_frames(frames())
            assert torch.equal(found, expected)
            found.zero_()
            encode(demo_model.vae, frames()[:1]).zero_()


def test_what_inference_mode_kept_can_be_learned_from(demo_model):
    """ComfyUI runs nodes in it."""
    with lending(Encoded()):
        with torch.inference_mode():
            demo_model.encode_frames(frames())
        clip = demo_model.encode_frames(frames())
    scale = torch.ones((), requires_grad=True)
    (scale * clip).sum().backward()
    assert scale.grad == clip.sum()


def test_what_a_shortage_gave_is_not_kept(demo_model, encodings):
    """Where memory ran out, the CPU or tiles gave what the device would give otherwise."""
    forwards = []

    def crowd(*_):
        forwards.append(1)
        if len(forwards) in (2, 3):  # the second frame, whole and by the CPU
            raise torch.OutOfMemoryError("no room")

    clip = torch.rand(3, 256, 256, 3, generator=torch.Generator().manual_seed(0))
    expected = demo_model.encode_frames(clip)
    hook = demo_model.vae.encoder.register_forward_hook(crowd)
    try:
        with lending(Encoded()):
            with gathered() as notes:
                short = demo_model.encode_frames(clip)
            del encodings[:]
            assert torch.equal(demo_model.encode_frames(clip), expected)
    finally:
        hook.remove()
    assert any("in tiles" in text for text in notes) and not torch.equal(short, expected)
    assert len(encodings) == 2  # all but the first


def test_an_interrupted_clip_goes_on_where_it_was(demo_model, encodings):
    def stop(*_):
        if len(encodings) == 2:
            raise KeyboardInterrupt

    hook = demo_model.vae.encoder.register_forward_pre_hook(stop)
    with lending(Encoded()):
        with pytest.raises(KeyboardInterrupt):
            demo_model.encode_frames(frames())
        hook.remove()
        demo_model.encode_frames(frames())
    assert len(encodings) == 3


def test_it_keeps_no_more_than_it_may():
    """Of a clip longer than the memory the last frames stay; other autoencoders have room of their own."""
    vae, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    latents, seen = torch.zeros(1, 4, 8, 8), []
    memory = Encoded(most=3 * latents.nbytes)

    def read(of, number):
        memory.once(of, torch.full((2, 2, 3), float(number)), lambda: seen.append((of, number)) or latents)

    for number in range(5):
        read(vae, number)
    read(other, 0)
    del seen[:]
    for number in (2, 3, 4, 2):
        read(vae, number)
    read(other, 0)
    assert seen == []
    for number in (9, 3):  # 3 was read before 4 and 2
        read(vae, number)
    assert seen == [(vae, 9), (vae, 3)]


def test_it_holds_no_autoencoder():
    memory, vae = Encoded(), torch.nn.Linear(1, 1)
    kept = memory.once(vae, torch.zeros(2, 2, 3), lambda: torch.zeros(1, 4, 1, 1))
    gone = weakref.ref(vae), weakref.ref(kept)
    del vae, kept
    gc.collect()
    assert gone[0]() is gone[1]() is None
