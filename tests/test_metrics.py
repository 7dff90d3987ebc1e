"""CLIP measures against transformers' own CLIP, fidelity measures against scipy-simple cases."""
import numpy as np
import pytest
import torch
from live_core import LiveError, metrics


def test_clip_s_embeddings_are_transformers_own(clip_folder):
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
    model, tokenizer = CLIPModel.from_pretrained(clip_folder).eval(), CLIPTokenizer.from_pretrained(clip_folder)
    y, x = np.mgrid[0:96, 0:128] / 128
    frames = torch.tensor(np.stack([np.stack([0.5 + 0.5 * np.sin(5 * x + i), y, x * y], -1) for i in range(3)]), dtype=torch.float32)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = processor([Image.fromarray((f.numpy() * 255).round().astype(np.uint8)) for f in frames], return_tensors="pt").pixel_values
    with torch.no_grad():
        theirs = model(**tokenizer(["a red ball", "a blue star"], return_tensors="pt", padding=True), pixel_values=pixels)
    clip = metrics.load_clip(clip_folder)
    images, texts = clip.images(frames), [clip.text(text) for text in ("a red ball", "a blue star")]
    torch.testing.assert_close(images, theirs.image_embeds / theirs.image_embeds.norm(dim=-1, keepdim=True), atol=2e-2, rtol=0)      # 8-bit resizing there
    torch.testing.assert_close(torch.stack(texts), theirs.text_embeds / theirs.text_embeds.norm(dim=-1, keepdim=True), atol=1e-5, rtol=0)
    cosines = images @ texts[0]
    torch.testing.assert_close(metrics.clip_score(images, texts[0]), 100 * cosines.clamp(min=0))
    assert torch.equal(metrics.frame_accuracy(images, *texts), images @ texts[0] >= images @ texts[1])
    assert metrics.temporal_consistency(images[:1]).numel() == 0
    torch.testing.assert_close(metrics.temporal_consistency(images[[0, 0, 1]]), torch.stack([torch.tensor(1.0), images[0] @ images[1]]))


def test_a_folder_without_clip_is_named(tmp_path):
    with pytest.raises(LiveError, match="clip folder"):
        metrics.load_clip(tmp_path)


def test_psnr_counts_only_weighted_pixels():
    a = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(0))
    b = a.clone()
    b[0, :, :8] += 0.1
    left = torch.zeros(1, 16, 16)
    left[:, :, :8] = 1
    torch.testing.assert_close(metrics.psnr(a, b, left)[0], torch.tensor(20.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(metrics.psnr(a, b)[0], torch.tensor(20 + 10 * np.log10(2), dtype=torch.float32), atol=1e-3, rtol=0)
    assert metrics.psnr(a, b, 1 - left).isinf().all() and metrics.psnr(a, b, left * 0).isnan().all()


def test_ssim_is_one_where_equal_and_falls_with_noise():
    a = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    noisy = [(a + s * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1) for s in (0.0, 0.1, 0.3)]
    scores = [float(metrics.ssim(a, b)) for b in noisy]
    assert scores[0] == pytest.approx(1, abs=1e-5) and scores[0] > scores[1] > scores[2]
    half = torch.zeros(1, 32, 32)
    half[..., :10] = 1
    spoiled = a.clone()
    spoiled[:, :, 16:] = 0
    assert float(metrics.ssim(a, spoiled, half)) == pytest.approx(1, abs=1e-5)
