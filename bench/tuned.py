"""What of a one-clip tuning acts: each group of what it learns alone, on the clip itself and under another prompt.

    $COMFYUI_PYTHON -m bench.tuned [--cases inside-0 slow-0] [--steps 25]

A clip of the sweep seeds is tuned as the demo's workflow does, without its photo, and once more at ten times the rates.
Then a group of what was learned is put on at a time: the attention queries, temporal attention, or the latent prompt
(the clip's first frame otherwise). Nothing is injected, masked or pasted, so what is seen is the tuning's own:

- *loss*: of the noise prediction on the clip, at timesteps and noises that tuning never drew, as a share of the base's;
- *moves*, *moves another*: how far the prediction is from the base's, as a share of its size, under the clip's prompt
  and under one with another thing in it;
- *back*, dB: the clip from its inverted noise, against the clip through the autoencoder;
- *steadiness*: the other thing, sampled from the same noise under the other prompt, along the old one's track.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from demo.cases import Case
from demo.frames import to_frames, to_pictures
from demo.measure import psnr
from demo.measure.judge import shown
from demo.measure.outline import steadiness
from demo.train import MODEL
from live_core.attention import AttentionPlan
from live_core.change import Edit
from live_core.editing import edit
from live_core.inversion import invert
from live_core.pretrained import LiveModel, load_folder
from live_core.reconstruction import reconstruct
from live_core.tuning import tune
from live_core.tunings import Tuning

from .quality.cases import all_cases, bare
from .quality.variants import METHOD, TUNING

PLAIN = replace(
    METHOD,
    cross_ratio=0.0,
    place_ratio=0.0,
    self_ratio=0.0,
    blend_threshold=None,
    edit_latent_prompt="trained",
    unconditional_latent_prompt="trained",
    image_guidance_scale=None,
)
DRAWS = 12  # timesteps and noises, spread evenly over all noise levels
COLUMNS = ("loss", "moves", "moves another", "back, dB", "right thing", "steadiness")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", default=["inside-0", "slow-0", "fast-0"], help="of the sweep seeds")
    parser.add_argument("--steps", type=int, default=25, help="DDIM steps")
    args = parser.parse_args()
    cases = {bare(case.name): case for case in all_cases("sweep")}
    if unknown := [name for name in args.cases if name not in cases]:
        parser.error(f"--cases {' '.join(unknown)}: there is none such; choose from {', '.join(cases)}")
    model, rows = load_folder(MODEL), {}
    for name in args.cases:
        for row, values in measured(model, cases[name], args.steps):
            rows.setdefault(row, []).append(values)
            print(
                f"{name} {row}: " + ", ".join(f"{c} {v:.4g}" for c, v in zip(COLUMNS, values, strict=True)), flush=True
            )
    print(f"\n| {len(args.cases)} clips | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for row, values in rows.items():
        print(f"| {row} | {' | '.join(f'{mean:.3g}' for mean in np.mean(values, 0))} |")


def measured(model: LiveModel, case: Case, steps: int) -> Iterator[tuple[str, list[float]]]:
    """Row by row: what is put on, and its figures, in the order of `COLUMNS`."""
    clip = model.encode_frames(to_pictures(case.clip.frames()))
    through = to_frames(model.decode_frames(clip))
    other = case.prompt.replace(case.clip.things[0].name, case.swaps[0].target.name, 1)
    base = None
    for row, tuning in tunings(model, case, clip):
        put_on = model.with_tuning(tuning)
        on_clip, on_other = predictions(put_on, clip, case.prompt), predictions(put_on, clip, other)
        base = base or (on_clip, on_other)
        loss = on_clip[1] / base[0][1]
        moves = [
            float((now[0] - then[0]).norm() / then[0].norm())
            for now, then in zip((on_clip, on_other), base, strict=True)
        ]
        inversion = invert(put_on, clip, case.prompt, PLAIN, steps)
        back = to_frames(model.decode_frames(reconstruct(put_on, inversion)))
        edited = to_frames(model.decode_frames(edit(put_on, inversion, Edit(other), PLAIN).latents))
        everywhere = np.ones(through.shape[:3], bool)
        right = np.mean(list(shown(case, edited).values()))
        yield row, [loss, *moves, psnr(back, through, everywhere), right, steadiness(case, edited, 0)]


def tunings(model: LiveModel, case: Case, clip: torch.Tensor) -> Iterator[tuple[str, Tuning]]:
    settings = replace(TUNING, photo_steps=0)
    all_of_it = tune(model, clip, case.prompt, (), settings)
    base = {name: p.detach().cpu().clone() for name, p in model.unet.trainable().items()}

    def only(kept: str) -> dict[str, torch.Tensor]:
        return {n: t if kept and kept in n else base[n] for n, t in all_of_it.tensors.items()}

    held = clip[0].cpu()
    yield "nothing", replace(all_of_it, tensors=only(""), latent_prompt=held)
    yield "queries", replace(all_of_it, tensors=only(".to_q."), latent_prompt=held)
    yield "temporal attention", replace(all_of_it, tensors=only(".attn_temp."), latent_prompt=held)
    yield "latent prompt", replace(all_of_it, tensors=only(""))
    yield "all, as in the demo", all_of_it
    faster = replace(settings, clip_rate=10 * settings.clip_rate)
    yield "all, weights at ten times the rate", tune(model, clip, case.prompt, (), faster)


@torch.no_grad()
def predictions(model: LiveModel, clip: torch.Tensor, prompt: str) -> tuple[torch.Tensor, float]:
    """The noise predicted at all draws, and its mean squared error."""
    text, plan, found, errors = model.encode_text(prompt)[None], AttentionPlan(PLAIN.frame_plan), [], []
    with model.unet.overlay(model.tuning.tensors):
        for draw in range(DRAWS):
            t = int((draw + 0.5) / DRAWS * model.schedule.length)
            noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(10_000 + draw))
            noisy = model.schedule.add_noise(clip, noise, t)
            seat = model.tuning.latent_prompt.to(clip)[None]
            found.append(model.unet(noisy[None], t, text, seat, plan)[0])
            errors.append(float((found[-1] - model.schedule.target(clip, noise, t)).square().mean()))
    return torch.stack(found), float(np.mean(errors))


if __name__ == "__main__":
    main()
