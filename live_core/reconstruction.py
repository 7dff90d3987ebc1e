"""What comes back of a clip from its inverted noise, nothing edited: the inversion's own check."""

from __future__ import annotations

from dataclasses import replace

import torch

from .denoising import Batch, denoise
from .diffusion import Callback
from .inversion import NARROW, Inversion, check_made_by, source_stream
from .memory import one_run
from .pretrained import LiveModel


@one_run()
@torch.no_grad()
def reconstruct(
    model: LiveModel,
    inversion: Inversion,
    callback: Callback = lambda step, total, latents: None,
    guidance_scale: float = 1.0,
) -> torch.Tensor:
    """(f, c, h, w), sampled from the inverted noise with the source prompt.

    At `guidance_scale` 1 by the conditional prediction alone; above, guided, by the null text if there is one.
    """
    check_made_by(model, inversion, "its reconstruction")
    x = inversion.at(0).to(model.unet.device)
    clip = source_stream(model, inversion.method, inversion.prompt, inversion.at(inversion.steps).to(x))
    streams = [replace(clip, latents="edit")]
    if guidance_scale != 1:
        null = model.encode_text("") if inversion.null_text is None else inversion.null_text.to(clip.text)
        streams.insert(0, replace(streams[0], name="unconditional", text=null))
    batch = Batch(
        streams, [(stream.name, guidance_scale) for stream in streams], [inversion.method.frame_plan] * inversion.steps
    )
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        return denoise(
            model.unet,
            model.schedule,
            x,
            batch,
            [],
            callback=callback,
            remedy=NARROW,
            stage="reconstruction",
        )
