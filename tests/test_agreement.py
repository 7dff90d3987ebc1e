"""Frames that agree on a changed thing: where it is, what its neighbours show of it, and what an edit makes of that."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from chain import CASE

from live_core import LiveError
from live_core.agreement import along
from live_core.change import Edit
from live_core.editing import edit
from live_core.fresh_noise import moving_noise, renewed
from live_core.inversion import invert
from live_core.methods import LIVE
from live_core.notes import gathered
from live_core.things import Thing, neighbours, thing_in, things_of

SIDE, CELLS = 64, 16
STEPS = 6
CHANGE = Edit("a blue star moving on the meadow")


def discs(centres, radii, side: int = SIDE) -> torch.Tensor:
    """(f, side, side), 0 or 1: a disc in each frame, in pixels."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack(
        [
            ((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2).float()
            for (x, y), radius in zip(centres, radii, strict=True)
        ]
    )


def shown(centres, radii) -> torch.Tensor:
    """(f, 1, CELLS, CELLS): one smooth thing, moved and scaled as the discs are."""
    centre = (torch.arange(CELLS) + 0.5) * SIDE / CELLS
    return torch.stack(
        [
            torch.exp(-(((centre - x) / r) ** 2)) * torch.exp(-(((centre[:, None] - y) / r) ** 2))
            for (x, y), r in zip(centres, radii, strict=True)
        ]
    )[:, None]


CENTRES, RADII = [(20, 30), (27, 31), (34, 29), (40, 33)], [12.0, 13.0, 14.0, 15.0]


def test_a_thing_has_a_centre_and_a_size():
    thing = thing_in(discs(CENTRES, RADII), (CELLS, CELLS))
    torch.testing.assert_close((thing.x + 1) * SIDE / 2, torch.tensor([20.0, 27, 34, 40]), atol=0.1, rtol=0)
    torch.testing.assert_close((thing.y + 1) * SIDE / 2, torch.tensor([30.0, 31, 29, 33]), atol=0.1, rtol=0)
    torch.testing.assert_close(thing.size / torch.tensor(RADII), torch.full((4,), torch.pi**0.5), atol=0.02, rtol=0)
    assert thing.whole.all()
    # Every cell that the thing touches, and those beside it.
    touched = F.max_pool2d(discs(CENTRES, RADII)[:, None], SIDE // CELLS)[:, 0]
    assert torch.equal(thing.mask, F.max_pool2d(touched[:, None], 3, 1, 1)[:, 0])


def test_what_all_frames_show_alike_stays():
    pictures = shown(CENTRES, RADII)
    agreed = along(pictures, thing_in(discs(CENTRES, RADII), (CELLS, CELLS)))
    torch.testing.assert_close(agreed, pictures, atol=0.03, rtol=0)


def test_frames_that_differ_come_together():
    thing, alike = thing_in(discs(CENTRES, RADII), (CELLS, CELLS)), shown(CENTRES, RADII)
    strength = torch.tensor([0.5, 1.5, 0.5, 1.5])[:, None, None, None]
    agreed = along(alike * strength, thing, reach=100.0)
    here = alike > 0.3
    torch.testing.assert_close((agreed / alike)[here], torch.ones(int(here.sum())), atol=0.1, rtol=0)
    near = along(alike * strength, thing, reach=0.3)  # neighbours count little
    assert (near - alike * strength).abs().max() < 0.02


def test_a_frame_that_rides_from_afar_is_no_neighbour():
    """In a window of a long clip its first frame rides next to frames that it is far from."""
    thing = thing_in(discs(CENTRES, RADII), (CELLS, CELLS))
    pictures = torch.rand(len(CENTRES), 2, CELLS, CELLS, generator=torch.Generator().manual_seed(0))
    far = [0, *range(100, 99 + len(CENTRES))]
    agreed = along(pictures, thing, places=far)
    assert torch.equal(agreed[0], pictures[0])
    rest = Thing(*(each[1:] for each in vars(thing).values()))
    assert torch.equal(agreed[1:], along(pictures[1:], rest))


def test_a_thing_that_the_border_cuts_stands_aside():
    centres = [(20, 30), (27, 31), (62, 29), (40, 33)]
    thing = thing_in(discs(centres, RADII), (CELLS, CELLS))
    assert thing.whole.tolist() == [True, True, False, True]
    pictures = shown(centres, RADII)
    pictures[2] += 5
    agreed = along(pictures, thing)
    assert torch.equal(agreed[2], pictures[2])
    torch.testing.assert_close(agreed[[0, 1, 3]], pictures[[0, 1, 3]], atol=0.03, rtol=0)
    cut = thing_in(discs([(2, 30), (2, 31)], [12.0, 12.0]), (CELLS, CELLS))
    assert cut.whole.all()  # cut in every frame alike: nothing better is known


def test_fresh_noise_is_normal_and_moves_with_the_thing():
    centres, radii = [(20, 32), (36, 32), (36, 28)], [12.0, 12.0, 12.0]
    thing = thing_in(discs(centres, radii), (CELLS, CELLS))
    noise = moving_noise(thing, (4, CELLS, CELLS), torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise.std((1, 2, 3)), torch.ones(3))
    assert noise.mean((1, 2, 3)).abs().max() < 0.1
    # 16 pixels to the right are 4 cells, 4 pixels up is one.
    torch.testing.assert_close(noise[1, :, :, 4:], noise[0, :, :, :-4], atol=0.15, rtol=0)
    torch.testing.assert_close(noise[2, :, :-1], noise[1, :, 1:], atol=0.15, rtol=0)


def test_noise_is_fresh_where_the_thing_is_alone():
    thing, old = thing_in(discs(CENTRES, RADII), (CELLS, CELLS)), torch.zeros(4, 4, CELLS, CELLS)
    new, same, other = (renewed(old, [thing], part, seed) for part, seed in ((0.25, 0), (0.25, 0), (0.25, 1)))
    outside = (thing.mask == 0)[:, None].expand_as(old)
    assert torch.equal(new, same) and not torch.equal(new, other)
    assert (new[outside] == 0).all()
    assert 0.4 < new[~outside].std() < 0.6  # a quarter of the variance
    assert torch.equal(renewed(old + 1, [], 1.0, 0), old + 1)


@pytest.fixture(scope="module")
def inversion(demo_model, whole_clip):
    return invert(demo_model, whole_clip, CASE.prompt, LIVE, STEPS)


def test_words_point_at_the_thing(demo_model, inversion):
    prompt = demo_model.read(CASE.prompt)
    assert neighbours([1, 2, 5]) == [[1, 2], [5]]
    (ball,) = things_of(demo_model, inversion, LIVE, prompt, [1, 2])
    track, clip = CASE.clip.tracks[0], CASE.clip
    for i in range(len(ball.x)):
        assert abs((float(ball.x[i]) + 1) * clip.width / 2 - track.x[i]) < 4
        assert abs((float(ball.y[i]) + 1) * clip.height / 2 - track.y[i]) < 4


def test_an_edit_whose_frames_agree_is_steadier(demo_model, inversion):
    (thing,) = things_of(demo_model, inversion, LIVE, demo_model.read(CASE.prompt), [1, 2])

    def unsteadiness(latents: torch.Tensor) -> float:
        return float(((latents - along(latents, thing, reach=100.0)) * thing.mask[:, None]).abs().sum())

    alone, together = (
        edit(demo_model, inversion, CHANGE, replace(LIVE, guidance_scale=3.5, agree_ratio=ratio)).latents
        for ratio in (0.0, 1.0)
    )
    assert unsteadiness(together) < 0.8 * unsteadiness(alone)


@pytest.mark.parametrize("name", ["agree_ratio", "fresh_noise"])
def test_where_nothing_old_changes_nothing_is_done(demo_model, inversion, name):
    method = replace(LIVE, **{name: 0.5})
    with gathered() as notes:
        changed = edit(demo_model, inversion, Edit(f"{CASE.prompt} in the rain"), method).latents
    assert any(
        note.startswith(f"{name.replace('_', ' ')}: 0.5, but no word of the clip's prompt changes") for note in notes
    )
    assert torch.equal(
        changed,
        edit(demo_model, inversion, Edit(f"{CASE.prompt} in the rain"), replace(method, **{name: 0.0})).latents,
    )


def test_own_self_attention_sets_in_later(demo_model, inversion):
    method = replace(LIVE, guidance_scale=3.5, self_ratio=0.5, self_blend_threshold=0.3)
    never, late, soon = (
        edit(demo_model, inversion, CHANGE, each).latents
        for each in (
            replace(method, self_blend_threshold=None),
            replace(method, self_blend_start=0.5),
            method,
        )
    )
    assert torch.equal(never, late)
    assert (soon - late).abs().max() > 0.05


def test_fresh_noise_gives_another_edit_and_each_seed_its_own(demo_model, inversion):
    none, some, same, other = (
        edit(
            demo_model, inversion, CHANGE, replace(LIVE, guidance_scale=3.5, fresh_noise=part, noise_seed=seed)
        ).latents
        for part, seed in ((0.0, 0), (1.0, 0), (1.0, 0), (1.0, 1))
    )
    assert torch.equal(some, same)
    assert min(float((a - b).abs().max()) for a, b in ((none, some), (some, other))) > 0.1


def test_fresh_noise_needs_the_first_step():
    with pytest.raises(LiveError, match="fresh_noise: 0.5, but the edit starts at 0.2"):
        replace(LIVE, fresh_noise=0.5, start=0.2)
