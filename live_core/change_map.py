"""Where an instruction would change a clip, as the model itself sees it: where its predictions with and without the
instruction differ (DiffEdit, Couairon et al. 2023, section 3.2; for InstructPix2Pix as in Mirzaei et al., "Watch Your
Steps", 2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .attention import AttentionPlan
from .bases import INSTRUCT
from .checks import check_step
from .diffusion import Callback
from .frames import ALONE
from .instruct import check_instruction, instruct_streams
from .instruct_settings import INSTRUCT_PIX2PIX, Instruction, Search
from .inversion import NARROW
from .memory import one_run
from .notes import note
from .pretrained import LiveModel
from .streams import predict

OUTLIERS = 0.99  # part of the clip's cells whose greatest difference counts as one


@one_run()
@torch.no_grad()
def change_mask(
    model: LiveModel,
    clip: torch.Tensor,
    instruction: Instruction,
    search: Search,
    callback: Callback = lambda step, total, latents: None,
) -> torch.Tensor:
    """(f, H, W), 0 or 1, at pixel size: where the clip's latents (f, c, h, w), noised to the search's level, are seen
    differently with the instruction than without it: mean of its noises and of the channels, above its threshold of the
    clip's greatest. All frames have one scale, so one without the thing is empty. A note where nothing, or nearly all,
    is found.
    """
    model.check_base(INSTRUCT, "Mask by Instruction")
    check_instruction(model, instruction)
    picture, without = clip / model.vae.config.scaling_factor, model.encode_text("")
    text, t = model.encode_text(instruction.text), round(search.noise_level * (model.schedule.length - 1))
    generator = torch.Generator().manual_seed(instruction.seed)
    noises = torch.randn(search.draws, 1, *clip.shape[1:], generator=generator)
    heat = torch.empty(len(clip), *clip.shape[-2:])
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i in range(len(clip)):
            frame, shown = clip[i : i + 1].to(model.unet.device), picture[i : i + 1].to(model.unet.device)
            streams, _ = instruct_streams(text, without, shown, INSTRUCT_PIX2PIX)
            apart = []
            for noise in noises.to(frame):
                x = model.schedule.add_noise(frame, noise, t)
                told = predict(model.unet, streams[1:], {"edit": x}, t, plan=AttentionPlan(ALONE))
                apart.append((told["both"] - told["picture"]).abs().mean(1)[0])
            heat[i] = check_step("mask", i + 1, len(clip), torch.stack(apart).mean(0).cpu(), NARROW)
            callback(i + 1, len(clip), frame)
    greatest = torch.quantile(heat.flatten()[:: max(1, heat.numel() // 2**23)], OUTLIERS)
    size = tuple(side * model.pixels_per_latent for side in clip.shape[-2:])
    grown = F.interpolate(heat[:, None] / greatest.clamp_min(1e-12), size, mode="bilinear", align_corners=False)[:, 0]
    mask = (grown > search.threshold).float()
    if not mask.any() or mask.mean() > 0.9:
        found = "the whole picture" if mask.any() else "nothing"
        note(f"threshold: {search.threshold:g} finds {found}; {'raise' if mask.any() else 'lower'} it, or draw a mask")
    return mask
