"""Painting by a photo and by words: as the published pipeline does it, what masks mean, windows, what is refused."""

from dataclasses import replace

import pytest
import torch
from chain import CASE, frames

from live_core import LiveError, paint
from live_core.notes import gathered
from live_core.paint import paint_photo, paint_words, what_is_shown
from live_core.paint_settings import BY_EXAMPLE, BY_WORDS, Painting
from live_core.pictures import as_clip_sees

FEW = Painting(steps=3, seed=5)
WORDS = "a blue star on the meadow"


@pytest.fixture(scope="module")
def photo():
    """(1, 128, 128, 3)."""
    return torch.from_numpy(CASE.swaps[0].photo.frames()).float() / 255


@pytest.fixture(scope="module")
def mask():
    """(1, 64, 64), white in a square of whole cells of the latents."""
    drawn = torch.zeros(1, 64, 64)
    drawn[:, 16:40, 8:32] = 1
    return drawn


def painted(model, mask, photo, clip=None, painting=FEW, **options):
    return paint_photo(model, frames() if clip is None else clip, mask, photo, painting, **options)


def test_the_published_pipeline_paints_the_same(paint_folder, paint_model, mask, photo):
    """diffusers' own, from the same folder, noise and photo, each frame by itself: the order of the channels, the mask,
    the grey below it, latents that are scaled, guidance, the photo's token and the steps. It draws the picture's
    latents from the posterior, so its autoencoder is made to be sure of itself."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from diffusers.pipelines.deprecated.paint_by_example import PaintByExamplePipeline
    from paint_by_example import encoder

    parts = {
        "vae": AutoencoderKL.from_pretrained(paint_folder / "vae"),
        "unet": UNet2DConditionModel.from_pretrained(paint_folder / "unet"),
        "image_encoder": type(encoder(num_hidden_layers=1)).from_pretrained(paint_folder / "image_encoder"),
        "scheduler": DDIMScheduler.from_pretrained(paint_folder / "scheduler"),
    }
    last = parts["vae"].quant_conv
    with torch.no_grad():
        last.weight[4:], last.bias[4:] = 0, -60
    pipeline = PaintByExamplePipeline(**parts, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    ours = painted(paint_model, mask, photo)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(FEW.seed))
    for frame, mine in zip(frames(), ours, strict=True):
        theirs = pipeline(
            example_image=as_clip_sees(photo, 32),
            image=frame.permute(2, 0, 1)[None] * 2 - 1,
            mask_image=mask[None],
            num_inference_steps=FEW.steps,
            guidance_scale=FEW.guidance_scale,
            latents=noise,
            output_type="latent",
        ).images[0]
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"joined": ("mask", "picture")}, {"keeps": False}], ids=["order", "mask"])
def test_channels_in_another_order_paint_something_else(paint_model, mask, photo, wrong, monkeypatch):
    """Those of an inpainting model, and a mask that is turned round: far more than what the pipeline's latents may be
    apart from ours."""
    ours = painted(paint_model, mask, photo)
    base = replace(paint_model.base, **wrong)
    monkeypatch.setattr(paint, "PAINT_BY_EXAMPLE", base)
    assert (painted(replace(paint_model, base=base), mask, photo) - ours).abs().max() > 0.05


def test_what_is_shown_of_a_clip(paint_model, inpainting_model, mask):
    """Where it is to be painted the picture is mid-grey, and latents are scaled as those that are denoised. The mask is
    1 there for an inpainting model, and 0 for Paint-by-Example."""
    clip = frames()
    grey = torch.where(mask[..., None] > 0, 0.5, clip)
    cells = torch.zeros(3, 1, 8, 8)
    cells[:, :, 2:5, 1:4] = 1
    by_example, by_words = (what_is_shown(model, clip, mask) for model in (paint_model, inpainting_model))
    latents = paint_model.encode_frames(grey)
    assert torch.equal(by_example[:, :4], latents) and torch.equal(by_example[:, 4:], 1 - cells)
    assert torch.equal(by_words[:, 1:], latents) and torch.equal(by_words[:, :1], cells)
    soft = torch.where(mask > 0, 0.5, 0.49)  # as published it is cut at 0.5
    assert torch.equal(what_is_shown(paint_model, clip, soft), by_example)
    each = mask.repeat(3, 1, 1)
    assert torch.equal(what_is_shown(paint_model, clip, each), by_example)


def test_where_nothing_is_to_be_painted_the_whole_picture_is_shown(paint_model, mask):
    """A frame whose mask is black: its own latents, all to be kept."""
    clip, some = frames(), mask.repeat(3, 1, 1)
    some[1] = 0
    with gathered() as notes:
        shown = what_is_shown(paint_model, clip, some)
    assert torch.equal(shown[1, :4], paint_model.encode_frames(clip)[1]) and (shown[1, 4] == 1).all()
    assert notes == ["mask: it is black in frames 2 of 3, where nothing is painted"]
    with gathered() as notes:
        shown = what_is_shown(paint_model, clip, torch.ones(1, 64, 64))
    assert torch.equal(shown[0], shown[2]) and (shown[:, 4] == 0).all()
    assert notes == ["mask: it is white all over, so nothing of the clip is seen; leave black what shall stay"]


def test_windows_of_any_size_paint_the_same(paint_model, mask, photo):
    """And what a frame becomes is its own affair."""
    clip = torch.cat([frames(), frames(2).flip(0)])
    whole = painted(paint_model, mask, photo, clip)
    for size in (1, 2, 3):
        other = painted(paint_model, mask, photo, clip, replace(FEW, window=size))
        torch.testing.assert_close(other, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole[0], whole[4], atol=1e-4, rtol=1e-4)
    clip[1] = 1 - clip[1]
    changed = (painted(paint_model, mask, photo, clip) - whole).abs().amax((1, 2, 3))
    assert (changed > 1e-3).tolist() == [False, True, False, False, False]


def test_the_same_seed_paints_the_same(paint_model, mask, photo):
    ours = painted(paint_model, mask, photo)
    assert torch.equal(ours, painted(paint_model, mask, photo))
    assert (ours - painted(paint_model, mask, photo, painting=replace(FEW, seed=6))).abs().max() > 0.1


def test_the_photo_and_how_far_it_leads(paint_model, mask, photo):
    """Another photo, another picture; without guidance one row is run, and at 0 the photo is not read."""
    other = photo.flip(-1)
    for scale, differs in ((5, True), (1, True), (0, False)):
        painting = replace(FEW, guidance_scale=scale)
        a, b = (painted(paint_model, mask, each, painting=painting) for each in (photo, other))
        assert ((a - b).abs().max() > 1e-4) == differs, scale


def test_words_paint_with_an_inpainting_model(inpainting_model, mask):
    few = replace(BY_WORDS, steps=2)
    made = {
        words: paint_words(inpainting_model, frames(), mask, *words, painting=few)
        for words in ((WORDS,), ("a red box on the meadow",), (WORDS, "a box"))
    }
    a, b, c = made.values()
    assert a.shape == (3, 4, 8, 8) and min((a - b).abs().max(), (a - c).abs().max()) > 1e-3
    assert (BY_EXAMPLE.guidance_scale, BY_WORDS.guidance_scale, BY_EXAMPLE.steps) == (5, 7.5, 50)


def test_the_preview_counts_over_the_whole_clip(paint_model, mask, photo):
    seen = []
    painting = replace(FEW, window=2)
    painted(paint_model, mask, photo, painting=painting, callback=lambda *at: seen.append((*at[:2], len(at[2]))))
    assert seen == [(1, 6, 2), (2, 6, 2), (3, 6, 2), (4, 6, 1), (5, 6, 1), (6, 6, 1)]


def test_bad_inputs_are_named(paint_model, inpainting_model, demo_model, mask, photo):
    clip = frames()
    for says, call in {
        "mask: it is black": lambda: painted(paint_model, torch.zeros(1, 64, 64), photo),
        "mask: 2 frames of 64x64; the clip has 3 frames": lambda: painted(paint_model, mask.repeat(2, 1, 1), photo),
        "mask: 1 frames of 32x64": lambda: painted(paint_model, mask[..., :32], photo),
        "mask: frame 1 of 1 has values that are not finite": lambda: painted(paint_model, mask * torch.nan, photo),
        "photo: 2 pictures; give exactly one": lambda: painted(paint_model, mask, photo.repeat(2, 1, 1, 1)),
        "photo: frame 1 of 1 has values that are not": lambda: painted(paint_model, mask, photo * torch.inf),
        "photo: it is transparent in places": lambda: painted(
            paint_model, mask, torch.cat([photo, photo[..., :1] * 0.5], -1)
        ),
        "images: 60x64 pixels": lambda: painted(paint_model, mask, photo, clip[:, :, :60]),
        "images: 4 channels": lambda: painted(paint_model, mask, photo, clip[..., [0, 1, 2, 2]]),
        r"'model' is a text-to-image model \(its U-Net reads texts and 4 channels\), and Paint by Example takes a"
        r" Paint-by-Example model \(a photo and 9\); give it to Edit Video": lambda: painted(demo_model, mask, photo),
        "'inpainting' is an inpainting model .* give it to Inpaint Clip": lambda: painted(
            inpainting_model, mask, photo
        ),
        "'paint' is a Paint-by-Example model .* Inpaint Clip takes an inpainting model": lambda: paint_words(
            paint_model, clip, mask, WORDS
        ),
        "prompt: 'sky.ud800' has half a character": lambda: paint_words(inpainting_model, clip, mask, "sky\ud800"),
        "guidance scale: nan": lambda: replace(FEW, guidance_scale=float("nan")),
        "steps: 0": lambda: replace(FEW, steps=0),
        "window: 0": lambda: replace(FEW, window=0),
        "seed: -1": lambda: replace(FEW, seed=-1),
    }.items():
        with pytest.raises(LiveError, match=says):
            call()
