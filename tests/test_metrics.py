"""CLIP measures against transformers' own CLIP, fidelity measures against cases done by hand, and the curves' plot."""

import numpy as np
import pytest
import torch

from live_core import LiveError, metrics
from live_core.interrupts import heeding
from live_core.notes import gathered
from live_core.preview import plot_lines


def test_clip_s_embeddings_are_transformers_own(clip_folder):
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    model, tokenizer = CLIPModel.from_pretrained(clip_folder).eval(), CLIPTokenizer.from_pretrained(clip_folder)
    y, x = np.mgrid[0:96, 0:128] / 128
    frames = torch.tensor(
        np.stack([np.stack([0.5 + 0.5 * np.sin(5 * x + i), y, x * y], -1) for i in range(3)]), dtype=torch.float32
    )
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = processor(
        [Image.fromarray((f.numpy() * 255).round().astype(np.uint8)) for f in frames], return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        theirs = model(
            **tokenizer(["a red ball", "a blue star"], return_tensors="pt", padding=True), pixel_values=pixels
        )
    ours = metrics.load_clip_model(clip_folder)
    assert isinstance(ours, metrics.CLIP)
    images, texts = ours.images(frames), [ours.text(text) for text in ("a red ball", "a blue star")]
    # 8-bit resizing there.
    torch.testing.assert_close(
        images, theirs.image_embeds / theirs.image_embeds.norm(dim=-1, keepdim=True), atol=2e-2, rtol=0
    )
    torch.testing.assert_close(
        torch.stack(texts), theirs.text_embeds / theirs.text_embeds.norm(dim=-1, keepdim=True), atol=1e-5, rtol=0
    )
    cosines = images @ texts[0]
    torch.testing.assert_close(metrics.clip_score(images, texts[0]), 100 * cosines.clamp(min=0))
    assert torch.equal(metrics.frame_accuracy(images, *texts), images @ texts[0] >= images @ texts[1])
    assert metrics.temporal_consistency(images[:1]).numel() == 0
    torch.testing.assert_close(
        metrics.temporal_consistency(images[[0, 0, 1]]), torch.stack([torch.tensor(1.0), images[0] @ images[1]])
    )


def test_prompts_are_judged_by_their_words(clip_folder):
    """Weights are no words, what CLIP cannot know or read to its end is said."""
    assert metrics.words_to_judge("a (red ball:1.3), \\(round\\)", "prompt") == "a red ball, (round)"
    with gathered() as notes:
        metrics.words_to_judge("a <thing*> embedding:mine", "prompt")
        judge = metrics.load_clip_model(clip_folder)
        long = judge.text("a red ball " * 20)
    assert [
        what in text
        for what, text in zip(
            ("'<thing*>'", "'embedding:mine'", "the first 30 tokens of 'a red ball"), notes, strict=True
        )
    ] == [True] * 3 and len(notes) == 3
    assert torch.equal(long, judge.text("a red ball " * 10))


def test_a_long_clip_is_encoded_a_few_frames_at_a_time(clip_folder, monkeypatch):
    """To the same numbers as at once, the last frames of the clip too."""
    clip = metrics.load_clip_model(clip_folder)
    frames = torch.rand(35, 40, 48, 3, generator=torch.Generator().manual_seed(0))
    rows = []
    clip.model.vision_model.register_forward_pre_hook(
        lambda _, args, inputs: rows.append(len(inputs["pixel_values"])), with_kwargs=True
    )
    parts = clip.images(frames)
    monkeypatch.setattr(metrics, "FRAMES_AT_ONCE", 35)
    torch.testing.assert_close(parts, clip.images(frames), atol=1e-6, rtol=0)
    assert rows == [4] * 8 + [3, 35]


def test_a_folder_without_clip_is_named(tmp_path):
    with pytest.raises(LiveError, match="clip folder"):
        metrics.load_clip_model(tmp_path)


def test_psnr_counts_only_weighted_pixels():
    a = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    b = a.clone()
    b[0, :, :8] += 0.1
    left = torch.zeros(1, 16, 16)
    left[:, :, :8] = 1
    torch.testing.assert_close(metrics.psnr(a, b, left)[0], torch.tensor(20.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(
        metrics.psnr(a, b)[0], torch.tensor(20 + 10 * np.log10(2), dtype=torch.float32), atol=1e-3, rtol=0
    )
    assert metrics.psnr(a, b, 1 - left).isinf().all() and metrics.psnr(a, b, left * 0).isnan().all()


def test_ssim_is_one_where_equal_and_falls_with_noise():
    a = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    noisy = [
        (a + s * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1) for s in (0.0, 0.1, 0.3)
    ]
    scores = [float(metrics.ssim(a, b)) for b in noisy]
    assert scores[0] == pytest.approx(1, abs=1e-5) and scores[0] > scores[1] > scores[2]
    half = torch.zeros(1, 32, 32)
    half[..., :10] = 1
    spoiled = a.clone()
    spoiled[:, :, 16:] = 0
    assert float(metrics.ssim(a, spoiled, half)) == pytest.approx(1, abs=1e-5)


def test_the_plot_has_a_panel_a_curve_and_shows_its_values():
    rising, falling = torch.linspace(0, 1, 8), torch.linspace(1, 0, 8)
    one, two, other = (
        plot_lines(curves) for curves in ({"PSNR": rising}, {"PSNR": rising, "SSIM": falling}, {"PSNR": falling})
    )
    assert one.shape == (1, 160, 640, 3) and two.shape == (1, 320, 640, 3) and one.dtype == torch.float32
    for picture in (one, two):
        assert picture.min() >= 0 and picture.max() == 1
        # Something dark in every panel: axes and words.
        assert all((panel < 0.5).any() for panel in picture[0].split(160))
    assert plot_lines({"PSNR": rising}, width=300, height=90).shape == (1, 90, 300, 3)
    # The curve: axes, grid and words are grey.
    coloured = [(p.amax(-1) - p.amin(-1) > 0.2)[0].float() for p in (one, other)]
    left, right = (
        [
            float((c[:, half].mean(1) * torch.arange(160)).sum() / c[:, half].mean(1).sum())
            for half in (slice(0, 320), slice(320, 640))
        ]
        for c in coloured
    )
    assert left[0] > left[1] and right[0] < right[1]  # rows count downwards
    assert plot_lines({"Tem-Con": torch.empty(0), "PSNR": torch.tensor([float("nan"), 1])}).isfinite().all()


def test_half_precision_frames_are_measured_in_full():
    """512 x 512 weights do not fit a half-precision sum, nor small errors a half-precision square."""
    a, b = torch.full((1, 512, 512, 3), 0.5), torch.full((1, 512, 512, 3), 0.5 + 2**-9)
    weight = torch.ones(1, 512, 512)
    assert metrics.psnr(a.half(), b.half(), weight.half()).item() == pytest.approx(
        metrics.psnr(a, b, weight).item(), abs=1e-3
    )


def test_measuring_goes_on_with_fewer_frames_and_hears_interrupts(clip_folder, monkeypatch):
    a, b = torch.rand(2, 20, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(20, 24, 24, generator=torch.Generator().manual_seed(1))
    clip, rounds = metrics.load_clip_model(clip_folder), []

    def all_three():
        return metrics.psnr(a, b, weight), metrics.ssim(a, b, weight), clip.images(a)

    expected = all_three()
    hooks, mean = [1], metrics._weighted_mean

    def crowded(*args):
        if hooks:
            hooks.pop()
            raise torch.OutOfMemoryError("no room")
        return mean(*args)

    monkeypatch.setattr(metrics, "_weighted_mean", crowded)
    fails = [1]
    handle = clip.model.visual_projection.register_forward_hook(
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room")) if fails and fails.pop() else None
    )
    with gathered() as notes:
        found = all_three()
    handle.remove()
    assert notes == [
        "memory ran out: PSNR went on on the CPU, to the same result",
        "memory ran out: CLIP went on with 2 frames at a time",
    ]
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)

    def stop():
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt

    for measure in (lambda: metrics.psnr(a, b), lambda: metrics.ssim(a, b), lambda: clip.images(a)):
        rounds.clear()
        with pytest.raises(KeyboardInterrupt), heeding(stop):
            measure()


def test_pictures_smaller_than_the_window_have_no_ssim(clip_folder):
    a, b = torch.rand(2, 3, 5, 9, 3)
    with gathered() as notes:
        assert metrics.ssim(a, b).isnan().all() and metrics.psnr(a, b).isfinite().all()
    assert notes == [
        "SSIM: not measured in pictures of 9x5, which its window of 11 pixels does not fit; give larger ones"
    ]
    assert metrics.ssim(*torch.rand(2, 3, 6, 9, 3)).isfinite().all()
    assert metrics.load_clip_model(clip_folder).images(torch.rand(1, 8, 8, 4)).shape == (1, 16)
