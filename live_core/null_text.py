"""Null-text inversion (Mokady et al. 2022): the unconditional text under which guided sampling gives the clip back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from . import LiveError
from .attention import AttentionPlan
from .checks import check_number, check_step, check_whole, is_finite
from .descent import descend
from .diffusion import Callback
from .estimates import Work
from .inversion import NARROW, Inversion, check_made_by, source_stream
from .memory import one_run
from .notes import note
from .pretrained import LiveModel
from .streams import guided, predict
from .video_unet import VideoUNet


@one_run()
@torch.no_grad()
def find_null_text(
    model: LiveModel,
    inversion: Inversion,
    guidance_scale: float = 7.5,
    inner_steps: int = 10,
    callback: Callback = lambda step, total, latents: None,
) -> Inversion:
    """Null-text inversion (Mokady et al. 2022): the inversion with an unconditional text for every step, under which
    guided sampling follows the inversion's own path. One embedding for all frames.

    Each step starts from the last one's embedding and takes up to `inner_steps` Adam steps, at rate 0.01 (1 - i / 2N),
    until the squared error before the step was below 1e-5 + 2e-5 i (values of its notebook and of Video-P2P, where
    N = 50). Frames see what they saw in the inversion.
    """
    check_made_by(model, inversion, "Null-Text Inversion")
    _check_null_text(inversion, guidance_scale, inner_steps)
    method, steps = inversion.method, inversion.steps
    with torch.inference_mode(False):
        x = inversion.at(0).to(model.unet.device, copy=True)
        conditional = source_stream(model, method, inversion.prompt, inversion.at(steps).to(x, copy=True))
        if conditional.latent_prompt is not None:  # of a tuning that was loaded under inference mode
            conditional = replace(conditional, latent_prompt=conditional.latent_prompt.clone())
        null = model.encode_text("").clone()
        chain = [("unconditional", 1.0), ("source", guidance_scale)]
        plan = AttentionPlan(method.inverted_under)
        work = model.unet.work(x[None], conditional.latent_prompt is not None, plan)

        def step_from(x: torch.Tensor, i: int, t: int) -> Callable[[torch.Tensor], torch.Tensor]:
            """The guided step from `x`, as a function of the unconditional text."""
            told = predict(model.unet, [conditional], {"source": x}, t, i, plan)

            def stepped(null: torch.Tensor) -> torch.Tensor:
                unconditional = replace(conditional, name="unconditional", text=null)
                noise = told | predict(model.unet, [unconditional], {"source": x}, t, i, plan)
                return model.schedule.denoise(x, guided(noise, chain), t, steps)

            return stepped

        found = []
        with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
            for i, t in enumerate(model.schedule.timesteps(steps)):
                target = inversion.at(i + 1).to(x, copy=True)  # what the host hands on is made under inference mode
                stepped = step_from(x, i, t)
                null = _descended(model.unet, work, null, stepped, target, i, steps, inner_steps)
                found.append(null.cpu())
                remedy = f"give less than {guidance_scale:g} as guidance scale, or {NARROW}"
                x = check_step("null text", i + 1, steps, stepped(null), remedy)
                callback(i + 1, steps, x)
    return replace(
        inversion,
        null_text=torch.stack(found),
        null_guidance=guidance_scale,
        null_tuning=model.tuning_fingerprint,
    )


def _check_null_text(inversion: Inversion, guidance_scale: float, inner_steps: int) -> None:
    if inversion.store is not None and inversion.method.source == "reconstruction":
        raise LiveError(
            f"inversion: attention {inversion.attention!r} has kept an unguided reconstruction, which null text would"
            ' no longer give; invert with "recompute"'
        )
    check_number("guidance scale", guidance_scale)
    check_whole("inner steps", inner_steps, 1)
    if guidance_scale <= 1:
        raise LiveError(
            f"guidance scale: {guidance_scale}; null text acts on guidance only, so give more than 1, such as 7.5"
        )


def _descended(
    unet: VideoUNet,
    work: Work,
    null: torch.Tensor,
    stepped: Callable[[torch.Tensor], torch.Tensor],
    target: torch.Tensor,
    i: int,
    steps: int,
    inner_steps: int,
) -> torch.Tensor:
    """The unconditional text, from `null` on, under which step i of `steps` comes near `target`."""
    null = null.clone().requires_grad_()
    optimizer = torch.optim.AdamW([null], lr=1e-2 * (1 - i / (2 * steps)), weight_decay=0.0)  # which is Adam
    scale = 2.0**16 if unet.dtype == torch.float16 else 1.0  # keeps small half-precision gradients from vanishing

    def compared() -> tuple[float, torch.Tensor]:
        loss = torch.nn.functional.mse_loss(stepped(null), target)
        return float(loss.detach()), torch.autograd.grad(loss * scale, null)[0] / scale

    for _ in range(inner_steps):
        with torch.enable_grad():
            loss, gradient = unet.retried(compared, work)
        if not math.isfinite(loss):
            break
        if not is_finite(gradient):  # an optimiser never forgets a NaN
            note(
                f"precision: a gradient overflowed in step {i + 1} of {steps}, so its null text is as far as it came;"
                f" {NARROW}"
            )
            break
        descend(optimizer, [null], [gradient])
        if loss < 1e-5 + 2e-5 * i:
            break
    return null.detach()
