"""What one-clip tuning is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from .frames import FramePlan
from .settings import check_settings, seed_of, setting

PHOTO_LOSSES = ("log", "square")

_steps = partial(setting, unit="steps", whole=True, low=0, page=(0, 100_000))
_rate = partial(setting, unit="learning rate", low=0, high=1, step=1e-6, round=1e-7, advanced=True)


@dataclass(frozen=True)
class TuneSettings:
    """Defaults are those of LIVE (section 4), for Stable Diffusion 1.4 at 512 x 512, where nothing else is said."""

    clip_steps: int = _steps(500, "Steps that learn the clip.")
    photo_steps: int = _steps(500, "Steps that learn the photo, in turn with the clip's.")
    clip_rate: float = _rate(3e-5, "Learning rate of the clip's steps.")
    # The papers give none. At the clip's 3e-5 it stays the first frame: 60 steps of the demo move it by less than a
    # thousandth of its deviation, 60 at 3e-3 by 0.025.
    latent_prompt_rate: float = _rate(1e-3, "Learning rate of the latent prompt. At 0 it stays the first frame.")
    photo_rate: float = _rate(5e-3, "Learning rate of the placeholder's embedding.", step=1e-4, round=1e-6)
    # Without is the paper's ablation (Fig. 6) and, with the frames of `methods.TAV_DDIM`, Tune-A-Video.
    latent_prompt: bool = True
    # It learns from the photo by the mean squared error at the clip's rate.
    temporal_in_photo_steps: bool = setting(
        False,
        "Let temporal attention act and learn while the photo is learned: the paper's ablation (Fig. 7).",
        advanced=True,
    )
    # Steps of clip and photo by turns, until the shorter runs out; without, all of the clip's first.
    alternate: bool = True
    # The papers show it. Then the seat shows what the vector should learn, and it learns less (bench/APPENDIX.md).
    photo_latent_prompt: bool = setting(
        False,
        "Show the photo's own latent as the latent prompt while it is learned, as the paper does. The placeholder"
        " learns more without.",
        advanced=True,
    )
    # The vector descends the logarithm of the mean squared error, or that itself, which is the papers'. What an edit
    # will show is decided where most is noise; there the error is small, and so is its gradient: on the demo model 30
    # to 55 times smaller at the noisiest timesteps than at the cleanest. The logarithm's, the gradient over the error,
    # is within a factor of 3 at all timesteps. Weights learned for each noise level end close to it (Karras et al.
    # 2024).
    photo_loss: str = setting(
        "log",
        "What the placeholder's embedding descends. log: every noise level counts alike. square: the paper's, in which"
        " the low ones outvote the high, where the edit is decided.",
        choices=PHOTO_LOSSES,
        advanced=True,
    )
    frame_plan: FramePlan = FramePlan(("latent_prompt", "first", "previous"))
    seed: int = seed_of("The same seed and inputs give the same tuning.")
    # Tune-A-Video and LIVE learn clips of 8 to 32 frames whole.
    window: int = setting(
        0,
        "For long clips: each step learns so many successive frames, drawn at random, and the frames that these read."
        " Memory is that of one window. 0: the whole clip at every step.",
        unit="frames",
        whole=True,
        low=0,
        page=(0, 4096),
        advanced=True,
        later=True,
    )

    stop_when_learned: bool = setting(
        False,
        "Stop the clip's steps, and the photo's, when the loss on noise that no step draws no longer falls. clip_steps"
        " and photo_steps are then the most. The node says where each stopped. Off: all steps, as in the papers.",
        advanced=True,
        later=True,
    )

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))
