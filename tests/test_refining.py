"""A mask brought to the pictures' edges, and to what the edit changed."""

import pytest
import torch
from graphs import message

from demo.cases import CASES
from demo.frames import to_pictures
from live_core import LiveError
from live_core.compositing import soften
from live_core.interrupts import heeding
from live_core.notes import gathered
from live_core.refining import changed, cover, follow_edges

CASE = CASES["ball-to-star"]


@pytest.fixture(scope="module")
def clips():
    """Source, a perfect edit, and where either thing is."""
    return (
        to_pictures(CASE.clip.frames()[:3]),
        to_pictures(CASE.truth.frames()[:3]),
        torch.from_numpy((CASE.clip.masks(0)[:3] >= 0.5) | (CASE.truth.masks(0)[:3] >= 0.5)).float(),
    )


def blob(mask: torch.Tensor, cell: int = 8) -> torch.Tensor:
    """The mask as a map of cells would give it."""
    cells = torch.nn.functional.adaptive_avg_pool2d(mask[:, None], [side // cell for side in mask.shape[1:]])
    return torch.nn.functional.interpolate((cells > 0.3).float(), mask.shape[1:], mode="bilinear")[:, 0]


def overlap(mask: torch.Tensor, true: torch.Tensor) -> float:
    return float(torch.minimum(mask, true).sum() / torch.maximum(mask, true).sum())


@pytest.mark.parametrize("radius", (8, 16))
def test_a_blob_s_border_moves_to_the_edges_of_the_old_thing_and_of_the_new_one(clips, radius):
    source, edited, true = clips
    rough = blob(true)
    fine = follow_edges(rough, source, edited, radius)
    assert set(fine.unique().tolist()) == {0, 1}
    missed, before = (1 - overlap(mask, true) for mask in (fine, (rough > 0.5).float()))
    assert missed < before / 3


@pytest.mark.parametrize("height,width", [(128, 128), (131, 90), (17, 40), (7, 5)])
def test_any_radius_runs_at_any_size(height, width):
    clip, mask = torch.rand(1, height, width, 3), torch.ones(1, height, width)
    with gathered():
        assert all((follow_edges(mask, clip, 1 - clip, radius) == 1).all() for radius in (1, 7, 8, 15, 16, 33, 64, 300))


def test_what_another_edit_changed_is_another_mask(clips):
    """Frame by frame, and of one mask for all frames."""
    source, edited, true = clips
    rough = blob(true)
    still = follow_edges(rough, source, torch.stack([edited[0], source[1], edited[2]]), 8)
    fine = follow_edges(rough, source, edited, 8)
    assert torch.equal(still[[0, 2]], fine[[0, 2]]) and not torch.equal(still[1], fine[1])
    assert torch.equal(
        follow_edges(rough[:1], source[:1].expand(2, -1, -1, -1), edited[:1].expand(2, -1, -1, -1), 8),
        fine[:1].expand(2, -1, -1),
    )


def test_equal_pictures_have_no_edges_to_follow(clips):
    """Then the filter is a blur, and half of a blurred straight border is the border."""
    mask = torch.zeros(1, 24, 24)
    mask[:, 6:18, 6:18] = 1
    fine = follow_edges(mask, clips[0][:1, :24, :24], clips[0][:1, :24, :24], 3)
    assert (
        torch.equal(fine[0, 11:13], mask[0, 11:13])
        and torch.equal(fine[0, :, 11:13], mask[0, :, 11:13])
        and not (fine > mask).any()
    )


def test_no_radius_leaves_the_mask_and_one_too_large_is_noted(clips):
    source, edited, true = clips
    assert follow_edges(true, source, edited, 0) is true
    small = [clip[:, :6, :6] for clip in (true, source, edited)]
    with gathered() as notes:
        assert follow_edges(*small, 2).isfinite().all() and not notes
        assert torch.equal(follow_edges(*small, 50), follow_edges(*small, 2))
        assert follow_edges(*(clip[:, :1, :1] for clip in small), 3).shape == (3, 1, 1)
    assert notes == [
        "edge radius: 50 is more than pictures of 6x6 hold, so it is 2; give no more than that",
        "edge radius: 3 is more than pictures of 1x1 hold, so it is 0; give no more than that",
    ]


def test_tips_that_the_mask_cut_off_are_covered():
    """A bar of which the mask holds the middle: its ends are taken in, a shade beside it and a thing apart are not."""
    source, mask = torch.full((1, 16, 64, 3), 0.5), torch.zeros(1, 16, 64)
    edited = source.clone()
    source[:, 6:9, 10:50] = 0.0  # the old thing, which goes
    edited[:, 9:12, 10:50] = 0.6  # a shade
    source[:, 6:9, 55:60] = 0.0  # another thing's change
    mask[:, 6:9, 20:40] = 1.0
    covered = cover(mask, source, edited, 16)
    expected = torch.zeros_like(mask)
    expected[:, 6:9, 10:50] = 1.0
    assert torch.equal(covered, expected)
    nearer = cover(mask, source, edited, 4)
    expected[:, :, :16] = expected[:, :, 44:] = 0.0
    assert torch.equal(nearer, expected)
    assert cover(mask, source, edited, 0) is mask
    with pytest.raises(LiveError, match="cover radius: -1"):
        cover(mask, source, edited, -1)


def test_what_the_edit_left_alone_is_the_source_s_and_what_it_changed_is_not():
    """A reconstruction is off by noise of 0.02. An edit that has it everywhere but in a square changed the square."""
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(2, 32, 32, 3, generator=generator)
    reconstruction = source + 0.02 * torch.randn(source.shape, generator=generator)
    edited = reconstruction.clone()
    edited[:, 8:20, 8:20] = 1 - edited[:, 8:20, 8:20].round()
    weight = changed(source, edited, reconstruction)
    square = torch.zeros(2, 32, 32, dtype=torch.bool)
    square[:, 8:20, 8:20] = True
    assert (weight[square] == 1).all() and (weight[~soften(square.float(), 3).bool()] == 0).all()
    assert not changed(source, reconstruction, reconstruction).any()


def test_less_than_the_autoencoder_s_own_error_is_no_change():
    source = torch.full((1, 16, 16, 3), 0.5)
    for off, expected in ((0.05, 0.0), (0.099, 0.0), (0.15, 0.5), (0.2, 1.0)):
        assert changed(source, source + 0.1 + off, source + 0.1) == pytest.approx(
            torch.full((1, 16, 16), expected), abs=1e-4
        )
    # A perfect autoencoder: from two levels on.
    assert changed(source, source + 2 / 255, source).mean() == pytest.approx(1, abs=1e-3)


def test_the_old_thing_s_outline_does_not_come_back(clips, demo_model):
    """The autoencoder errs most on an outline; where the edit took the thing away all of it has changed, the outline
    too.
    """
    source = clips[0]
    reconstruction = demo_model.decode_frames(demo_model.encode_frames(source))
    gone = demo_model.decode_frames(demo_model.encode_frames(to_pictures(CASE.truth.without(0).frames()[:3])))
    old = torch.from_numpy(CASE.clip.masks(0)[:3]) >= 0.5
    weight = changed(source, gone, reconstruction)
    assert weight[old].min() > 0.9 and weight[~soften(old.float(), 8).bool()].mean() < 0.02


def test_what_does_not_fit_is_said(clips):
    source, edited, true = clips
    with pytest.raises(LiveError, match="reconstruction: shape .* give the same clip through the autoencoder"):
        changed(source, edited, source[:2])
    with pytest.raises(LiveError, match="reconstruction: frame 2 of 3 has values that are not finite"):
        changed(source, edited, torch.stack([source[0], source[1] * torch.nan, source[2]]))
    with pytest.raises(LiveError, match="edge radius: -1"):
        follow_edges(true, source, edited, -1)
    with pytest.raises(LiveError, match="mask: 3 frames of 64x128"):
        follow_edges(true[..., :64], source, edited, 2)


@pytest.mark.parametrize(
    "work", [lambda a, b, m: follow_edges(m, a, b, 2), lambda a, b, m: changed(a, b, a)], ids=["edges", "changed"]
)
def test_every_frame_hears_an_interrupt(clips, work):
    rounds = []

    def stop():
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heeding(stop):
        work(*clips)


@pytest.mark.host
def test_the_node_gives_back_what_was_not_edited_and_says_what_radius_it_took(talk):
    """The clip through the autoencoder as the edit, under a mask of the whole picture."""
    graph = {
        "m": {"class_type": "LIVE_LoadModel", "inputs": {"model": "demo model (ships with LIVE)", "precision": "auto"}},
        "clip": {"class_type": "LIVE_DemoClip", "inputs": {"case": "ball-to-star"}},
        "through": {"class_type": "LIVE_Reconstruct", "inputs": {"model": ["m", 0], "images": ["clip", 0]}},
        "all": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 128, "height": 128}},
        "pasted": {
            "class_type": "LIVE_Composite",
            "inputs": {"images": ["clip", 0], "edited": ["through", 0], "mask": ["all", 0], "dilation": 0, "blur": 0.0},
        },
    }
    graph["given back"] = {
        **graph["pasted"],
        "inputs": {**graph["pasted"]["inputs"], "reconstruction": ["through", 0], "edge_radius": 300},
    }
    shown = {"source": ["clip", 0], "as it is": ["through", 0], "edit": ["pasted", 0], "back": ["given back", 0]}
    graph |= {name: {"class_type": "PreviewImage", "inputs": {"images": link}} for name, link in shown.items()}

    async def run(client):
        outcome, events, history = await client.run(graph)
        assert outcome == "success", message(events)
        return history["outputs"], {
            name: [await client.fetch(file) for file in history["outputs"][name]["images"]] for name in shown
        }

    outputs, pictures = talk(run)
    assert pictures["edit"] == pictures["as it is"] != pictures["source"] == pictures["back"]
    assert outputs["given back"]["text"] == [
        "edge radius: 300 is more than pictures of 128x128 hold, so it is 63; give no more than that"
    ]
