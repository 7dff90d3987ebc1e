"""What of a photo reaches the model, and what of it is learned."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, FAST
from graphs import message, with_nodes
from PIL import Image

from live_core import LiveError
from live_core.concept import bind
from live_core.notes import gathered
from live_core.pictures import NEUTRAL, cut_out
from live_core.tuning import tune, tuning_key

PHOTO = torch.rand(1, 60, 80, 3, generator=torch.Generator().manual_seed(0))
LEFT = torch.zeros(1, 60, 80).index_fill_(2, torch.arange(40), 1)


def test_what_the_mask_leaves_out_is_plain():
    other = torch.where(LEFT[..., None] > 0, PHOTO, 0.1)
    (a, counts), (b, _) = cut_out(PHOTO, LEFT, 32, 32), cut_out(other, LEFT, 32, 32)
    assert a.shape == (1, 32, 32, 3) and counts.shape == (1, 32, 32)
    assert counts[..., :14].min() > 0.99 > 0.01 > counts[..., 18:].max()
    assert torch.allclose(a[:, :, 20:], torch.tensor(NEUTRAL), atol=0.01) and a[:, :, :14].std() > 0.05
    assert torch.equal(a, b)
    whole, nothing = cut_out(PHOTO, torch.ones(1, 64, 64), 32, 32)  # Load Image's mask of an opaque photo, inverted
    assert nothing is None and torch.equal(whole, cut_out(PHOTO, None, 32, 32)[0])


def test_opacity_is_a_mask_and_said():
    with gathered() as notes:
        photo, counts = cut_out(torch.cat([PHOTO, LEFT[..., None]], -1), None, 32, 32)
    assert (
        all(map(torch.equal, (photo, counts), cut_out(PHOTO, LEFT, 32, 32))) and "50% of it is transparent" in notes[0]
    )


@pytest.mark.parametrize(
    "photo,mask,says",
    [
        (PHOTO[:0], None, "photo: shape"),
        (PHOTO[..., :2], None, "photo: 2 channels"),
        (PHOTO, torch.ones(2, 60, 80), "mask: 2 frames, and there are 1 photos"),
        (PHOTO, torch.zeros(1, 64, 64), "mask: it is black"),
        (PHOTO, LEFT[:, :30], "mask: 80x30 pixels, and the photo has 80x60"),
        (
            PHOTO,
            torch.zeros(1, 60, 80).index_fill_(2, torch.arange(4), 1),
            "mask: it leaves nothing of the photo once that is cropped to 32x32",
        ),
        (torch.cat([PHOTO, torch.zeros(1, 60, 80, 1)], -1), None, "photo: its transparency leaves nothing of"),
    ],
)
def test_photos_and_masks_that_cannot_serve(photo, mask, says):
    with pytest.raises(LiveError, match=says):
        cut_out(photo, mask, 32, 32)


def test_a_mask_the_wrong_way_round_is_noted():
    cut = PHOTO * LEFT[..., None]
    for mask, noted in ((LEFT, 0), (1 - LEFT, 1)):
        with gathered() as notes:
            cut_out(cut, mask, 32, 32)
        assert len(notes) == noted and all("put Invert Mask between" in text for text in notes)


def test_only_what_counts_is_learned(demo_model, clip, concept):
    """The whole's error is the parts' errors, by their areas."""

    def of(mask):
        (bound,) = bind(
            "<thing*>", "thing", concept.reference, demo_model.tokenizer, demo_model.text_encoder, mask=mask
        )
        settings = replace(FAST, clip_steps=0, photo_steps=1)
        return tune(demo_model, clip, CASE.prompt, (bound,), settings).losses[1][0], tuning_key(
            demo_model, clip, CASE.prompt, (bound,), settings
        )

    height, width = (8 * n for n in concept.reference.shape[-2:])
    part = torch.zeros(1, height, width).index_fill_(2, torch.arange(width // 4), 1)
    (whole, key), (inside, other_key), (outside, _) = of(None), of(part), of(1 - part)
    assert whole == pytest.approx(0.25 * inside + 0.75 * outside, rel=1e-4) and key != other_key
    assert abs(inside - outside) > 0.01 * whole


@pytest.mark.host
def test_a_photo_cut_out_in_a_png(talk, workflow, tmp_path):
    """Load Image passes the colours under transparency: refused without the mask, learned right with it, an opaque
    photo too.
    """
    pixels = torch.zeros(64, 64, 4, dtype=torch.uint8)
    pixels[16:48, 16:48] = torch.tensor([200, 40, 40, 255], dtype=torch.uint8)
    pixels[30:34, 16:48, :3] = 255
    Image.fromarray(pixels.numpy(), "RGBA").save(tmp_path / "transparent.png")
    Image.fromarray(pixels.numpy()[..., :3], "RGB").save(tmp_path / "opaque.png")

    async def run(client, name, rewire, **more):
        nodes = {
            "p": ("LoadImage", {"image": await client.upload(tmp_path / name)}),
            "k": ("InvertMask", {"mask": ["p", 1]}),
            "s": (
                "ImageScale",
                {"image": ["p", 0], "upscale_method": "area", "width": 32, "height": 32, "crop": "center"},
            ),
            **more,
        }
        outcome, events, history = await client.run(
            with_nodes(workflow(), {("5", name): link for name, link in rewire.items()}, **nodes)
        )
        return message(events) if outcome == "error" else history["outputs"].get("5", {}).get("text", [])

    asked = "photo: 'transparent.png' is transparent in places"
    photo, mask = ["p", 0], ["k", 0]
    assert asked in talk(lambda c: run(c, "transparent.png", {"photo": photo})) and asked in talk(
        lambda c: run(c, "transparent.png", {"photo": ["s", 0]})
    )
    sized = {"image": ["p", 0], "upscale_method": "area", "width": ["n", 0], "height": 32, "crop": "center"}
    through = {"s": ("ImageScale", sized), "n": ("PrimitiveInt", {"value": 32})}
    assert asked in talk(lambda c: run(c, "transparent.png", {"photo": ["s", 0]}, **through))
    assert talk(lambda c: run(c, "transparent.png", {"photo": photo, "mask": mask})) == []
    assert (
        talk(lambda c: run(c, "opaque.png", {"photo": photo, "mask": mask}))
        == talk(lambda c: run(c, "opaque.png", {"photo": photo}))
        == []
    )
    (wrong,) = talk(lambda c: run(c, "transparent.png", {"photo": photo, "mask": ["p", 1]}))
    assert "put Invert Mask between" in wrong
    assert "mask: it is black" in talk(lambda c: run(c, "opaque.png", {"photo": photo, "mask": ["p", 1]}))
