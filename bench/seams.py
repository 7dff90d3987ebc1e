"""What a viewer sees where two windows of a long clip meet: an edit's change from a frame to the next, across a border
and within a window.

    $COMFYUI_PYTHON -m bench.seams [--frames 40] [--steps 8] [--window 8] [--methods live]

The demo's red ball to and fro on its meadow, 128x128. Each clip is edited twice, in windows that begin at other frames,
so that the same two frames are on either side of a border in one edit and within a window in the other. Change is that
of the edit less the clip's own, in levels of 255: of the background, far from all that may change, and of the rest.
"agreed" is live with frames that agree, not tuned. p: of a difference of the background so large, or larger, if across
and within were one (4,000 draws).
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from demo.cases import CASES, Case
from demo.measure.places import far
from demo.world import Track
from live_core.change import Edit
from live_core.long_clips import edit_window
from live_core.long_settings import LongEdit
from live_core.methods import FATEZERO_ATTRIBUTE, LIVE
from live_core.pretrained import LiveModel, load_folder
from live_core.tune_settings import TuneSettings
from live_core.tuning import tune
from live_core.windows import window_at

FOLDER = Path(__file__).resolve().parents[1] / "demo" / "model"
# The demo model's values of LIVE, but for those of a photo: the edits are by words.
BY_WORDS = replace(
    LIVE,
    unconditional_latent_prompt="trained",
    guidance_scale=3.5,
    place_ratio=0.6,
    self_ratio=0.7,
    blend_threshold=0.4,
    blend_start=0.2,
)
AGREED = replace(BY_WORDS, name="agreed", fresh_noise=1.0, agree_ratio=0.9)


@dataclass(frozen=True)
class Seams:
    """Change from a frame to the next, levels, (n, 2): of the background and of the rest, at n pairs of frames, with a
    border between the two and, of the same, without."""

    across: np.ndarray
    within: np.ndarray

    @property
    def ratio(self) -> float:
        """Of the background's, across to within."""
        return float(self.across[:, 0].mean() / self.within[:, 0].mean())

    @property
    def p(self) -> float:
        signs = np.random.default_rng(0).choice([-1, 1], (4000, len(self.across)))
        differences = (self.across - self.within)[:, 0]
        return float(((signs * differences).mean(1) >= differences.mean()).mean())


def to_and_fro(frames: int) -> Case:
    """The demo's first case, its ball 2 pixels further in every frame."""
    case = CASES["ball-to-star"]
    clip, (track,) = case.clip, case.clip.tracks
    x = [30.0 + 2 * min(i % 68, 68 - i % 68) for i in range(frames)]
    still = (np.full(frames, values[0]).tolist() for values in (track.y, track.radius, track.angle))
    moving = Track(tuple(x), *(tuple(values) for values in still))
    phase = tuple(clip.phase[0] + 0.1 * i for i in range(frames))
    return replace(case, clip=replace(clip, tracks=(moving,), phase=phase))


def seams(model: LiveModel, images: torch.Tensor, background: np.ndarray, asked: LongEdit) -> Seams:
    """Of an edit of `images` (f, H, W, 3), 0..1, whose `background` is given (f, H, W)."""
    size, half = asked.window, asked.window // 2
    either = [_changes(model, images, background, asked, range(first, len(images), size)) for first in (0, half)]
    pairs = [i for i in range(half, len(images) - 1) if (i + 1) % half == 0]  # frames i and i + 1
    crossing = [((i + 1) // half) % 2 for i in pairs]  # which of the two edits has a border there
    return Seams(
        np.stack([either[which][i] for i, which in zip(pairs, crossing, strict=True)]),
        np.stack([either[1 - which][i] for i, which in zip(pairs, crossing, strict=True)]),
    )


def _changes(
    model: LiveModel, images: torch.Tensor, background: np.ndarray, asked: LongEdit, starts: range
) -> np.ndarray:
    """(f - 1, 2): how much the edit of windows that begin at `starts` changes from each frame to the next."""
    frames, left = len(images), images.clone()
    for start in starts:
        window = window_at(start, frames, asked.window, asked.plans, asked.neighbours)
        left[start : window.frames.stop] -= edit_window(model, images[window.positions], window, frames, asked).images
    left[: starts.start] = 0
    change = left.diff(dim=0).abs().mean(-1).numpy() * 255
    both = background[1:] & background[:-1]
    return np.stack([(change * where).sum((1, 2)) / where.sum((1, 2)) for where in (both, ~both)], 1)


def tuned_in_windows(model: LiveModel, images: torch.Tensor, prompt: str, window: int) -> LiveModel:
    settings = TuneSettings(clip_steps=60, photo_steps=0, clip_rate=3e-4, latent_prompt_rate=3e-3, window=window)
    return model.with_tuning(tune(model, model.encode_frames(images), prompt, (), settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--methods", nargs="*", help="of fatezero-attribute, live and agreed; all, if not given")
    args = parser.parse_args()
    torch.set_num_threads(1)
    case, model = to_and_fro(args.frames), load_folder(FOLDER)
    images = torch.from_numpy(case.clip.frames()).float() / 255
    blue, star = (Edit(f"a blue {thing} moving on the meadow") for thing in ("ball", "star"))
    for method, change, tunes in ((FATEZERO_ATTRIBUTE, blue, False), (BY_WORDS, star, True), (AGREED, star, False)):
        if args.methods and method.name not in args.methods:
            continue
        asked = LongEdit(case.prompt, change, method, args.steps, args.window)
        ready = tuned_in_windows(model, images, case.prompt, args.window) if tunes else model
        found = seams(ready, images, far(case), asked)
        told = {"ratio": found.ratio, "p": found.p}
        for i, what in enumerate(("background", "rest")):
            told |= {f"{what}, across": found.across[:, i].mean(), f"{what}, within": found.within[:, i].mean()}
        numbers = {name: round(float(value), 3) for name, value in told.items()}
        print(json.dumps({"method": method.name, "borders": len(found.across), **numbers}), flush=True)


if __name__ == "__main__":
    main()
