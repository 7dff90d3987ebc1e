"""Painting into a clip where a mask says, frame by frame: what a photo shows (Paint by Example, Yang et al. 2023), or
what words say (Stable Diffusion's inpainting models, Rombach et al. 2022).

Frames see nothing of one another. They share the noise that they start from, which neither paper speaks of: with noise
of its own each would show another thing. Outside the mask the picture is the model's, near to the clip's: as published,
nothing is pasted, which is Composite's part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from . import LiveError
from .bases import INPAINTING, PAINT_BY_EXAMPLE
from .checks import check_text
from .compositing import check_mask
from .denoising import Batch, denoise
from .diffusion import Callback
from .frames import ALONE
from .inversion import NARROW
from .memory import one_run
from .notes import note
from .paint_settings import BY_EXAMPLE, BY_WORDS, Painting
from .pictures import NEUTRAL
from .pretrained import LiveModel
from .streams import Stream, needed
from .windows import windows_of


def paint_photo(
    model: LiveModel,
    frames: torch.Tensor,
    mask: torch.Tensor,
    photo: torch.Tensor,
    painting: Painting = BY_EXAMPLE,
    callback: Callback = lambda step, total, latents: None,
) -> torch.Tensor:
    """Scaled latents (f, c, h, w), in main memory, of `frames` (f, H, W, 3), 0..1, with what `photo` (1, H', W', 3)
    shows where `mask` (f or 1, H, W) is 0.5 or more.

    LiveError for another base than Paint-by-Example, for a mask that is empty or of another length or size, for more
    than one photo, or one with transparency.
    """
    model.check_base(PAINT_BY_EXAMPLE, PAINT_BY_EXAMPLE.edits)
    if photo.shape[-1] == 4 and photo[..., 3].min() < 1:
        raise LiveError("photo: it is transparent in places; put it on a background first, since all of it is seen")
    token, no_photo = model.encode_photo(photo)
    return _paint(model, frames, mask, token, no_photo, painting, callback)


def paint_words(
    model: LiveModel,
    frames: torch.Tensor,
    mask: torch.Tensor,
    prompt: str,
    negative_prompt: str = "",
    painting: Painting = BY_WORDS,
    callback: Callback = lambda step, total, latents: None,
) -> torch.Tensor:
    """The same with what `prompt` says, by an inpainting model."""
    model.check_base(INPAINTING, INPAINTING.edits)
    check_text("prompt", prompt)
    check_text("negative prompt", negative_prompt)
    text, without = model.encode_text(prompt), model.encode_text(negative_prompt)
    return _paint(model, frames, mask, text, without, painting, callback)


@one_run()
@torch.no_grad()
def _paint(
    model: LiveModel,
    frames: torch.Tensor,
    mask: torch.Tensor,
    condition: torch.Tensor,
    without: torch.Tensor,
    painting: Painting,
    callback: Callback,
) -> torch.Tensor:
    """`condition` and `without` (L, d): what the U-Net reads of what is asked for, and of nothing."""
    shown = what_is_shown(model, frames, mask)
    height, width = shown.shape[-2:]
    generator = torch.Generator().manual_seed(painting.seed)
    noise = torch.randn(1, model.latent_channels, height, width, generator=generator).to(shown)
    windows = windows_of(len(shown), painting.window, [ALONE])
    out, total = torch.empty(len(shown), *noise.shape[1:]), len(windows) * painting.steps
    chain = needed([("without", 1.0), ("with", painting.guidance_scale)])
    for done, each in enumerate(windows):

        def counted(step: int, steps: int, x: torch.Tensor, done: int = done) -> None:
            callback(done * steps + step, total, x)

        part = shown[each.positions]
        streams = [
            Stream("without", "edit", without, picture=part),
            Stream("with", "edit", condition, picture=part),
        ]
        names = [name for name, _ in chain]
        batch = Batch([stream for stream in streams if stream.name in names], chain, [ALONE] * painting.steps)
        painted = denoise(
            model.unet,
            model.schedule,
            noise.expand(len(part), -1, -1, -1),
            batch,
            [],
            callback=counted,
            remedy=f"give less than {painting.guidance_scale:g} as guidance scale, or {NARROW}",
        )
        out[each.frames.start : each.frames.stop] = painted.cpu()
    return out


def what_is_shown(model: LiveModel, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(f, c, h, w) float32: what `model.base` has its U-Net shown of `frames` (f, H, W, 3) beside noise: their scaled
    latents, made of pictures that are mid-grey where `mask` is 0.5 or more, and the mask at that size, 0 or 1."""
    model.check_clip(frames)
    made = _made(mask, frames)
    picture = model.encode_frames(torch.where(made[..., None] > 0, NEUTRAL, frames))
    # Bilinear, as Paint by Example was trained, and rounded, as inpainting models know masks.
    cells = F.interpolate(made[:, None], picture.shape[-2:], mode="bilinear").round().to(picture)
    return model.base.join({"picture": picture, "mask": 1 - cells if model.base.keeps else cells})


def _made(mask: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """(f, H, W): 1 where the picture is to be made, else 0. LiveError for a mask that leaves nothing to do."""
    check_mask(mask, frames)
    made = (mask >= 0.5).float()
    empty = [i + 1 for i, frame in enumerate(made) if not frame.any()]
    if len(empty) == len(made):
        raise LiveError("mask: it is black, so there is nothing to paint; give one that is white (0.5 or more) there")
    if empty:
        listed = ", ".join(map(str, empty[:8])) + (" and others" if len(empty) > 8 else "")
        note(f"mask: it is black in frames {listed} of {len(made)}, where nothing is painted")
    if made.all():
        note("mask: it is white all over, so nothing of the clip is seen; leave black what shall stay")
    return made.to(frames.device).expand(len(frames), -1, -1)
