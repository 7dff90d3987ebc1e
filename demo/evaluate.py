"""Measure the demo model on held-out seeds and write the figures to demo/model/README.md.

    python -m demo.evaluate --work ~/demo-training

The judge network sees rendered pictures only, in training and in its own test; it never sees the model's.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .data import HELD_OUT
from .train import MODEL
from .training.run import to_tensor, write_safetensors
from .world import COLOURS, SCENES, SHAPES, make_picture

LABELS = {"shape": list(SHAPES), "colour": list(COLOURS), "scene": list(SCENES)}


# --------------------------------------------------------------------------------------------------------------- judge
class Judge(nn.Module):
    """(n, 3, 128, 128) in -1..1 to logits of shape, colour and scene."""

    def __init__(self):
        super().__init__()
        def block(a, b, stride):
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        self.body = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 64, 2), block(64, 64, 1), block(64, 96, 2), block(96, 96, 1), block(96, 128, 2))
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in LABELS.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.body(x)
        hidden = torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], 1)      # a thing counts wherever it is
        return {name: head(hidden) for name, head in self.heads.items()}


def labelled(seeds: range) -> tuple[torch.Tensor, dict[str, torch.Tensor], list[str]]:
    clips = [make_picture(seed, "one")[0] for seed in seeds]
    labels = {"shape": [c.things[0].shape for c in clips], "colour": [c.things[0].colour for c in clips], "scene": [c.scene for c in clips]}
    return (to_tensor(np.stack([c.frames()[0] for c in clips])), {k: torch.tensor([LABELS[k].index(v) for v in values]) for k, values in labels.items()},
            [f"a {c.things[0].name} {SCENES[c.scene].place}" for c in clips])


def train_judge(work: Path, count: int = 12_000, epochs: int = 10) -> tuple[Judge, dict[str, float]]:
    """The judge and its accuracy on 500 held-out renderings. Blur and noise in training stand for an imperfect picture's look."""
    path = work / "judge.safetensors"
    torch.manual_seed(0)
    judge = Judge()
    if path.exists():
        from safetensors.torch import load_file
        judge.load_state_dict(load_file(path))
    else:
        images, labels, _ = labelled(range(count))
        optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs * (count // 50))
        for _ in range(epochs):
            for rows in torch.randperm(count).split(50):
                x = images[rows]
                if torch.rand(()) < 0.5:
                    x = x.flip(-1)
                if torch.rand(()) < 0.3:
                    x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
                x = x + 0.1 * torch.rand(()) * torch.randn_like(x)
                loss = sum(F.cross_entropy(logits, labels[name][rows]) for name, logits in judge(x).items())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        write_safetensors(path, judge.state_dict())
    judge.eval()
    images, labels, _ = labelled(range(HELD_OUT, HELD_OUT + 500))
    return judge, accuracy(judge, images, labels)


@torch.no_grad()
def accuracy(judge: Judge, images: torch.Tensor, labels: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float((logits.argmax(-1) == labels[name]).double().mean()) for name, logits in judge(images).items()}


# --------------------------------------------------------------------------------------------------------------- model
@torch.no_grad()
def autoencoder_psnr(model, count: int = 200) -> float:
    images = np.stack([make_picture(HELD_OUT + i, "one")[0].frames()[0] for i in range(count)])
    frames = torch.from_numpy(images).float() / 255
    errors = [((model.decode_frames(model.encode_frames(frame[None])) - frame) ** 2).mean() for frame in frames]
    return float((-10 * torch.stack(errors).log10()).mean())


@torch.no_grad()
def generate(model, captions: list[str], seed: int = 0, steps: int = 30, guidance: float = 4.0, batch: int = 20) -> torch.Tensor:
    """(n, 3, 128, 128) in -1..1, by DDIM from noise."""
    generator, pictures, empty = torch.Generator().manual_seed(seed), [], model.encode_text("")
    for start in range(0, len(captions), batch):
        text = torch.stack([model.encode_text(caption) for caption in captions[start:start + batch]])
        n = len(text)
        x = torch.randn(n, 1, 4, 16, 16, generator=generator)
        for t in model.schedule.timesteps(steps):
            noise = model.unet(torch.cat([x, x]), t, torch.cat([empty.expand(n, -1, -1), text]))
            x = model.schedule.denoise(x, noise[:n] + guidance * (noise[n:] - noise[:n]), t, steps)
        pictures.append(model.decode_frames(x[:, 0]))
    return torch.cat(pictures).permute(0, 3, 1, 2) * 2 - 1


@torch.no_grad()
def word_iou(model, grow: bool, count: int = 60, noise_levels: tuple[int, ...] = (201, 401, 601), threshold: float = 0.3) -> tuple[float, float]:
    """Mean IoU of the true mask with the shape word's cross-attention, thresholded as local blend does it (smooth, at pixel size).

    And the same for a perfect map: the true mask's own share of each of the 16x16 cells. `grow`: with local blend's 3x3 maximum.
    """
    from live_core.attention import AttentionPlan, WordTap
    from live_core.masks import MaskRule, word_mask
    from live_core.prompts import read_prompt
    generator, scores = torch.Generator().manual_seed(0), []
    for i in range(count):
        clip, _ = make_picture(HELD_OUT + 10_000 + i, "one" if i % 3 else "two")
        thing = clip.things[0]
        caption = f"{' and '.join('a ' + t.name for t in clip.things)} {SCENES[clip.scene].place}"
        latents = model.encode_frames(torch.from_numpy(clip.frames()).float() / 255)
        size = model.unet.map_tokens(*latents.shape[-2:])
        tap = WordTap(size[0] * size[1])
        for t in noise_levels:
            noisy = model.schedule.add_noise(latents, torch.randn(latents.shape, generator=generator), t)
            model.unet(noisy[None], t, model.encode_text(caption)[None], plan=AttentionPlan(tap=tap))
        tokens = read_prompt(caption, model.tokenizer).tokens_of(thing.shape)
        true = torch.from_numpy(clip.masks(0)[0]).float()
        perfect = F.adaptive_avg_pool2d(true[None], size).reshape(1, -1, 1)
        pair = (word_mask(maps, words, size, true.shape, MaskRule(threshold, int(grow), smooth=True))[0] > 0 for maps, words in ((tap.maps[0], tokens), (perfect, [0])))
        scores.append([float((found & (true > 0.5)).sum() / (found | (true > 0.5)).sum().clamp_min(1)) for found in pair])
    ours, ceiling = np.mean(scores, 0)
    return float(ours), float(ceiling)


def main() -> None:
    from live_core.pretrained import load_folder
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the training's folder; the judge is kept there")
    work = parser.parse_args().work
    model = load_folder(MODEL)
    judge, on_renders = train_judge(work)
    psnr, (iou, ceiling), (grown_iou, grown_ceiling) = autoencoder_psnr(model), word_iou(model, grow=False), word_iou(model, grow=True)
    _, labels, captions = labelled(range(HELD_OUT + 20_000, HELD_OUT + 20_200))
    pictures = generate(model, captions)
    generated = accuracy(judge, pictures, labels)
    sheet = ((pictures[:40] + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    Image.fromarray(np.concatenate([np.concatenate(list(sheet[i:i + 10]), 1) for i in range(0, 40, 10)])).save(work / "generated.png")
    steps = {stage: json.loads((work / f"{stage}.log").read_text().splitlines()[-1])["step"] for stage in ("autoencoder", "diffusion")}
    rows = [("autoencoder PSNR, dB", psnr, 27), *((f"judge on renders: {k}", v, 0.97) for k, v in on_renders.items()),
            *((f"judge on 200 generated pictures: {k}", v, 0.90) for k, v in generated.items()), (f"object word's map, thresholded, against the true mask, IoU (a perfect map: {ceiling:.3f})", iou, 0.45),
            (f"the same, grown by local blend's 3x3 maximum (a perfect map: {grown_ceiling:.3f})", grown_iou, 0.45)]
    table = "\n".join(f"| {name} | {value:.3f} | {target} | {'yes' if value >= target else '**no**'} |" for name, value, target in rows)
    text = (MODEL / "README.md").read_text() if (MODEL / "README.md").exists() else "# The demo model\n\n<!-- figures -->\n<!-- /figures -->\n"
    head, rest = text.split("<!-- figures -->")
    tail = rest.split("<!-- /figures -->")[1]
    figures = (f"<!-- figures -->\nMeasured on held-out seeds by `python -m demo.evaluate` after {steps['autoencoder']} steps of the autoencoder and "
               f"{steps['diffusion']} of the U-Net.\n\n| measure | value | target | met |\n|---|---|---|---|\n{table}\n<!-- /figures -->")
    (MODEL / "README.md").write_text(head + figures + tail)
    print(table)


if __name__ == "__main__":
    main()
