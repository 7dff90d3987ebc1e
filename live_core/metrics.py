"""Numbers for an edited clip: FateZero's CLIP measures, and fidelity of what should not change.

Frames are (f, H, W, 3), 0..1. CLIP is a transformers `CLIPModel` of any size; the papers use ViT-B/32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .memory import each_frame, in_parts
from .notes import note
from .pictures import as_clip_sees
from .prompts import PLACEHOLDER
from .syntax import EMBEDDING, check_syntax, pieces

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerFast

FRAMES_AT_ONCE = 4  # of what CLIP sees: an interrupt waits for no more
WINDOW = 11  # SSIM's, in pixels


@dataclass(frozen=True)
class CLIP:
    """CLIP's two towers, which end in one space. `tokenizer`: anything that turns a text into its model's inputs."""

    model: CLIPModel
    tokenizer: PreTrainedTokenizerFast

    @torch.no_grad()
    def images(self, frames: torch.Tensor) -> torch.Tensor:
        """(f, d), each of length 1: shorter side scaled to CLIP's size, then the middle."""
        return in_parts("CLIP", lambda part: self._images(frames[part]), len(frames), FRAMES_AT_ONCE)

    def _images(self, frames: torch.Tensor) -> torch.Tensor:
        x = as_clip_sees(frames, self.model.config.vision_config.image_size)
        pooled = self.model.vision_model(pixel_values=x).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text(self, text: str) -> torch.Tensor:
        """(d,) of length 1. What is longer than CLIP's context is cut off, and noted."""
        longest = self.model.config.text_config.max_position_embeddings
        if len(self.tokenizer(text).input_ids) > longest:
            note_cut(text, longest)
        inputs = self.tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        return F.normalize(self.model.text_projection(self.model.text_model(**inputs).pooler_output), dim=-1)[0]


def note_cut(text: str, longest: int) -> None:
    """Say that CLIP compares with the beginning of a text alone, the part that fits into its context of `longest`
    tokens.
    """
    note(
        f"prompt: CLIP reads no more than the first {longest - 2} tokens of {text!r:.60}; write a shorter one to have"
        " all of it counted"
    )


def words_to_judge(prompt: str, name: str) -> str:
    """What CLIP shall compare with, of a prompt in ComfyUI's syntax: its words, whatever they weigh. `name`: the input
    it came from. A placeholder or an embedding, which only an editing model knows, is noted."""
    check_syntax(prompt, name)
    for found in re.findall(rf"{PLACEHOLDER}|{EMBEDDING}\S+", prompt, re.IGNORECASE):
        note(f"{name}: CLIP does not know what {found!r} stands for; say in words what the frames should show")
    return "".join(piece.text for piece in pieces(prompt))


def load_clip_model(folder: Path | str) -> CLIP:
    """From a folder in transformers layout: config.json, model.safetensors and the tokenizer's files. Nothing is
    downloaded.
    """
    from .folders import read_clip

    return CLIP(*read_clip(Path(folder)))


def clip_score(images: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """(f,) 100 times the cosine of each frame with the prompt, 0 where that is negative (CLIPScore, Hessel et al.
    2021).
    """
    return 100 * (images @ text).clamp(min=0)


def temporal_consistency(images: torch.Tensor) -> torch.Tensor:
    """(f - 1,) cosines of adjacent frames: Tem-Con is their mean (FateZero, section 4.2). Empty for one frame."""
    return (images[1:] * images[:-1]).sum(-1)


def frame_accuracy(images: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """(f,) bool: nearer to the target prompt than to the source prompt. Frame-Acc is the share of True (FateZero,
    section 4.2).
    """
    return images @ target >= images @ source


def psnr(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """(f,) peak signal-to-noise ratio in dB, infinite where equal; `weight` (f, H, W), 0..1, says which pixels count.

    NaN for a frame in which none does.
    """

    def of(a: torch.Tensor, b: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        return -10 * _weighted_mean(((a.float() - b.float()) ** 2).mean(-1), *weight).log10()

    return each_frame("PSNR", of, a, b, *_of_each(weight, a))


def ssim(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """(f,) structural similarity, window of 11 pixels (Wang et al. 2004), up to 1; `weight` as for `psnr`. NaN, with a
    note, in pictures that the window does not fit."""
    import kornia

    height, width = a.shape[1:3]
    if min(height, width) <= WINDOW // 2:
        note(
            f"SSIM: not measured in pictures of {width}x{height}, which its window of {WINDOW} pixels does not fit;"
            " give larger ones"
        )
        return torch.full((len(a),), float("nan"))

    def of(a: torch.Tensor, b: torch.Tensor, *weight: torch.Tensor) -> torch.Tensor:
        x, y = (frame.permute(2, 0, 1)[None].float() for frame in (a, b))
        return _weighted_mean(kornia.metrics.ssim(x, y, WINDOW)[0].mean(0), *weight)

    return each_frame("SSIM", of, a, b, *_of_each(weight, a))


def _of_each(weight: torch.Tensor | None, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """`weight` (f or 1, H, W) of every frame of a clip, if there is one."""
    return () if weight is None else (weight.expand(len(clip), -1, -1),)


def _weighted_mean(x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Of x (H, W)."""
    return x.mean() if weight is None else (x * weight.to(x)).sum() / weight.to(x).sum()
