"""Pictures to latents and back with less memory: by the CPU to the same result, in tiles to nearly the same, and never
not at all.
"""

import pytest
import torch
from chain import frames

from live_core.autoencoder import decode, encode, tiled
from live_core.memory import NotEnoughMemory, one_run
from live_core.notes import gathered


def crowded(network, fails: int):
    """A hook that makes the next `fails` forwards of `network` run out of memory at their end."""
    left = [fails]

    def hook(*_):
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("no room")

    return network.register_forward_hook(hook)


def psnr(a, b):
    return float(-10 * ((a - b) ** 2).mean().log10())


def test_it_is_the_model_s_own(demo_model):
    pictures = frames()
    latents = encode(demo_model.vae, pictures)
    theirs = [demo_model.vae.encode(p[None]).latent_dist.mean for p in pictures.permute(0, 3, 1, 2) * 2 - 1]
    assert torch.equal(latents, torch.cat(theirs))
    drawn = torch.cat([demo_model.vae.decode(z[None]).sample for z in latents])
    assert torch.equal(decode(demo_model.vae, latents), ((drawn + 1) / 2).permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    "which,work,x",
    [("encoder", encode, frames()), ("decoder", decode, torch.randn(3, 4, 8, 8))],
    ids=["encode", "decode"],
)
def test_a_shortage_in_one_frame_costs_no_bit(demo_model, which, work, x):
    """By the CPU from that frame on, which here is the same device; the next run asks the device again, and says
    nothing.
    """
    expected = work(demo_model.vae, x)
    hook = crowded(getattr(demo_model.vae, which), 1)
    try:
        with gathered() as notes:
            assert torch.equal(work(demo_model.vae, x), expected)
        assert len(notes) == 1 and "went on on the CPU" in notes[0]
        with gathered() as notes:
            assert torch.equal(work(demo_model.vae, x), expected) and not notes
    finally:
        hook.remove()


@pytest.mark.parametrize("which", ["encode", "decode"])
def test_where_the_cpu_has_no_room_either_there_are_tiles(demo_model, which):
    pictures = torch.nn.functional.interpolate(
        frames(1, 128, 128).permute(0, 3, 1, 2), (256, 384), mode="bilinear"
    ).permute(0, 2, 3, 1)
    network, work, x = {
        "encode": (demo_model.vae.encoder, encode, pictures),
        "decode": (demo_model.vae.decoder, decode, encode(demo_model.vae, pictures)),
    }[which]
    expected, shapes = work(demo_model.vae, x), []
    counting = network.register_forward_hook(lambda _, args, __: shapes.append(args[0].shape[-2:]))
    hook = crowded(network, 2)
    try:
        with gathered() as notes:
            found = work(demo_model.vae, x)
    finally:
        hook.remove(), counting.remove()
    unit = 8 if which == "encode" else 1
    assert shapes[2:] == [(24 * unit, 24 * unit)] * 6 and "in tiles of 24x24 cells" in notes[-1]
    assert psnr(found, expected) > 25 if which == "decode" else (found - expected).std() < 0.15 * expected.std()


def test_when_nothing_helps_it_is_an_error_in_words(demo_model):
    hook = crowded(demo_model.vae.decoder, 99)
    try:
        with (
            pytest.raises(
                NotEnoughMemory,
                match=r"not enough for the autoencoder \(latents to pictures\) \(no room\); give fewer frames",
            ),
            one_run(),
        ):
            decode(demo_model.vae, torch.zeros(1, 4, 8, 8))
    finally:
        hook.remove()


@pytest.mark.parametrize("cells,tile", [((16, 16), 8), ((9, 40), 12), ((5, 33), 16), ((7, 7), 8)])
def test_tiles_cover_all_and_join_without_a_seam(cells, tile):
    """What depends on its own cell alone comes out as from one piece, at any scale."""
    x, sizes = torch.rand(1, 2, *cells), []

    def double(part):
        sizes.append(part.shape[-2:])
        return torch.nn.functional.interpolate(part, scale_factor=2) * 3

    torch.testing.assert_close(
        tiled(double, x, cells, tile, 1, 2), torch.nn.functional.interpolate(x, scale_factor=2) * 3
    )
    assert set(sizes) == {(min(cells[0], tile), min(cells[1], tile))}
