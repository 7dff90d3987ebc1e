"""README's picture of edits by instruction: four frames of four clips, as they are, edited frame by frame, and with key
frames that all frames read.

    python -m bench.quality.pictured docs/instruct.jpg        # two minutes

Clips are not chosen: they are those of the first seeds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.frames import to_frames, to_pictures
from demo.instructions import instruct as ask
from demo.train import MODEL
from demo.training.instructed import PICTURE, WORDS
from demo.world import Clip, make_clip
from live_core.instruct import instruct
from live_core.instruct_settings import GATHER_AND_SWAP, INSTRUCT_PIX2PIX, Instruction
from live_core.pretrained import LiveModel, load_folder

FIRST_SEED, CLIPS, STEPS = 2_600_002_000, 4, 10
COLUMNS, GAP = 2, 12  # GAP: white pixels between clips


@torch.no_grad()
def rows(model: LiveModel, text: str, clip: Clip) -> np.ndarray:
    """(H, W, 3) uint8: a row each of the clip, the edit frame by frame and that with key frames."""
    latents = model.encode_frames(to_pictures(clip.frames()))
    clips = [clip.frames()]
    for method in (INSTRUCT_PIX2PIX, GATHER_AND_SWAP):
        method = replace(method, guidance_scale=WORDS, image_guidance_scale=PICTURE)
        edited = instruct(model, latents, Instruction(text, STEPS), method)
        clips.append(to_frames(model.decode_frames(edited)))
    return np.concatenate([np.concatenate(list(frames[::2]), 1) for frames in clips])


def main(path: Path) -> None:
    model = load_folder(MODEL.with_name("model_instruct"))
    blocks = []
    for seed in range(FIRST_SEED, FIRST_SEED + CLIPS):
        clip = make_clip(seed)
        text, _ = ask(clip, "any-colour", np.random.default_rng(seed))
        blocks.append(rows(model, text, clip))
    height, width = (side + GAP for side in blocks[0].shape[:2])
    sheet = Image.new("RGB", (COLUMNS * width - GAP, -(-len(blocks) // COLUMNS) * height - GAP), "white")
    for i, block in enumerate(blocks):
        sheet.paste(Image.fromarray(block), (i % COLUMNS * width, i // COLUMNS * height))
    sheet.save(path, quality=88, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
