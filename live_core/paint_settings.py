"""How a clip is painted into: `paint`'s settings."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import check_settings, guidance_weight, seed_of, setting


@dataclass(frozen=True)
class Painting:
    """How a clip is painted into. A setting's range, unit and help are said with it."""

    guidance_scale: float = guidance_weight(
        5.0,
        "How strongly what is painted follows the photo or the words; 1 turns guidance off.",
    )
    steps: int = setting(50, "DDIM steps.", unit="steps", whole=True, low=1, page=(1, 1000))
    seed: int = seed_of("Draws the noise that every frame starts from. Another seed is another picture.")
    window: int = setting(
        16,
        "So many frames are painted at a time. Memory is that of one window, and the frames are the same for any.",
        unit="frames",
        whole=True,
        low=1,
        page=(1, 4096),
        advanced=True,
    )

    def __post_init__(self) -> None:
        check_settings(self, named=lambda name: name.replace("_", " "))


BY_EXAMPLE = Painting()  # guidance and steps of the published script
BY_WORDS = Painting(guidance_scale=7.5)
