"""Root pairs: what an instruction makes of a few frames under several seeds, of which adaptation learns one (VIA,
section 4.1).

The paper's were made of one random frame and picked by hand; its limitations ask for a model that does so. Here the
frames are spread evenly, and each result has a score, by the model that made it: no other network is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .adapt_settings import RootSettings
from .attention import AttentionPlan
from .bases import INSTRUCT
from .change_map import change_mask
from .checks import check_mask_fits
from .compositing import soften
from .diffusion import Callback
from .frames import ALONE
from .instruct import Seen, check_instruction, edit_window
from .instruct_settings import INSTRUCT_PIX2PIX, Instruction, InstructMethod, Search
from .memory import one_run
from .notes import gathered
from .pretrained import LiveModel
from .preview import plot_captioned
from .streams import Stream, predict

NOISE_LEVELS = (0.15, 0.3, 0.45, 0.6, 0.75)  # parts of the schedule at which the model looks at a result
SEARCH = Search(threshold=0.15, draws=2)  # of what an edit may change
# Chosen on 29 of the demo's clips, with made results: the right one comes before the clip as it was in all, and before
# itself with the rest destroyed in 28. Of four seeds' edits the best was done in 19 of 19, all in 92 of 100.
CHANGE, ENOUGH = 10.0, 0.05  # the weight of what changed; more than this counts as no more
DAMAGE = 3.0
DEFAULTS = RootSettings()


@dataclass(frozen=True)
class RootPair:
    """`before`, `after` (H, W, 3), 0..1: frame `frame`, 0 the first, and what `seed` made of it.

    `agreement`: by how much the instruction helps the model to see the noise in a noised result, the mean over
    `NOISE_LEVELS` of ``1 - error with it / error without``. Bayes' rule for diffusion models (Li et al. 2023, "Your
    Diffusion Model is Secretly a Zero-Shot Classifier"): it is above 0 where the result is likelier with the
    instruction than without, and below where another thing was done. Where many answers are right it can take what was
    not done for one of them, so that something must have changed too. `change`, `damage`: mean differences, 0..1, where
    the edit may act, and elsewhere.
    """

    before: torch.Tensor
    after: torch.Tensor
    frame: int
    seed: int
    agreement: float
    change: float
    damage: float

    @property
    def score(self) -> float:
        return self.agreement + CHANGE * min(self.change, ENOUGH) - DAMAGE * self.damage


@one_run()
@torch.no_grad()
def root_pairs(
    model: LiveModel,
    frames: torch.Tensor,
    instruction: Instruction,
    settings: RootSettings = DEFAULTS,
    method: InstructMethod = INSTRUCT_PIX2PIX,
    mask: torch.Tensor | None = None,
    callback: Callback = lambda step, total, latents: None,
) -> list[RootPair]:
    """What becomes of a few of pictures (f, H, W, 3), 0..1, by the base model: for each frame what each seed makes of
    it, the first `instruction.seed`. `method` guides; each frame is by itself. `mask` (f or 1, H, W),
    0..1: where the edit may act; without one the model's own change map. LiveError for another base than
    InstructPix2Pix, no instruction, or a mask that does not fit.
    """
    model.check_base(INSTRUCT, "Adapt to Edit")
    check_instruction(model, instruction)
    which, seeds = settings.of(len(frames)), settings.candidates
    model, method = replace(model, tuning=None), replace(method, frame_plan=ALONE)
    before = frames[which].float().cpu()
    clip = model.encode_frames(before)
    changed = _changed(model, clip, instruction, mask, which, len(frames))
    found = []
    for k in range(seeds):

        def shown(step: int, steps: int, x: torch.Tensor, k: int = k) -> None:
            callback(k * steps + step, seeds * steps, x)

        seeded = replace(instruction, seed=(instruction.seed + k) % 2**64)
        after = model.decode_frames(edit_window(model, Seen(clip), seeded, method, None, shown))
        agrees = agreement(model, before, after, instruction)
        parts = torch.stack([agrees, changes(before, after, changed), changes(before, after, 1 - changed)], 1).tolist()
        found.append([RootPair(before[i], after[i], which[i], seeded.seed, *part) for i, part in enumerate(parts)])
    return [each[i] for i in range(len(which)) for each in found]


def _changed(
    model: LiveModel,
    clip: torch.Tensor,
    instruction: Instruction,
    mask: torch.Tensor | None,
    which: Sequence[int],
    frames: int,
) -> torch.Tensor:
    """(n, H, W), 0..1: where the edit may act in the frames `which` of so many, whose latents are `clip`."""
    if mask is None:
        with gathered():  # that the instruction changes all, or nothing, is no fault here
            return soften(change_mask(model, clip, instruction, SEARCH), model.pixels_per_latent)
    height, width = (side * model.pixels_per_latent for side in clip.shape[-2:])
    check_mask_fits(mask, frames, (height, width))
    return mask.float().cpu().expand(frames, -1, -1)[list(which)]


@torch.no_grad()
def agreement(model: LiveModel, before: torch.Tensor, after: torch.Tensor, instruction: Instruction) -> torch.Tensor:
    """(f,): that of pictures `before` and `after`, (f, H, W, 3), 0..1, with the instruction (`RootPair`)."""
    picture = model.encode_frames(before) / model.vae.config.scaling_factor
    latents = model.encode_frames(after)
    streams = [
        Stream(name, "edit", model.encode_text(text), picture=picture)
        for name, text in (("with", instruction.text), ("without", ""))
    ]
    generator, found = torch.Generator().manual_seed(0), torch.zeros(len(latents))
    for level in NOISE_LEVELS:
        t = round(level * (model.schedule.length - 1))
        noise = torch.randn(1, *latents.shape[1:], generator=generator).to(latents).expand_as(latents)
        noisy, target = model.schedule.add_noise(latents, noise, t), model.schedule.target(latents, noise, t)
        told = predict(model.unet, streams, {"edit": noisy}, t, plan=AttentionPlan(ALONE))
        error = {name: (each - target).square().mean((1, 2, 3)) for name, each in told.items()}
        found += (1 - error["with"] / error["without"].clamp_min(1e-12)).cpu() / len(NOISE_LEVELS)
    return found


def changes(before: torch.Tensor, after: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(f,): mean difference of pictures (f, H, W, 3), 0..1, within `where` (f, H, W), 0..1; 0 where that is nowhere."""
    return ((after - before).abs().mean(-1) * where).sum((1, 2)) / where.sum((1, 2)).clamp_min(1)


def chosen(pairs: Sequence[RootPair], choice: int) -> int:
    """The place of the pair that is learned: the `choice`-th, 1 the first, or at 0 the one of the best score."""
    return choice - 1 if choice else max(range(len(pairs)), key=lambda i: pairs[i].score)


def sheet(pairs: Sequence[RootPair], choice: int) -> torch.Tensor:
    """(1, H', W', 3), 0..1: a row for each frame, as it was and as each seed made it, with number, score and seed; the
    one that is learned in bold."""
    seeds = sum(pair.frame == pairs[0].frame for pair in pairs)
    pictures, captions = [], []
    for i, pair in enumerate(pairs):
        if i % seeds == 0:
            pictures.append(pair.before)
            captions.append(f"frame {pair.frame + 1}")
        pictures.append(pair.after)
        captions.append(f"{i + 1}: score {pair.score:.2f}, seed {pair.seed}")
    place = chosen(pairs, choice)
    return plot_captioned(pictures, captions, seeds + 1, place + place // seeds + 1)
