"""What binding a photo to a placeholder is asked to do: by how many vectors, and from what besides the photo."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import check_settings, setting


@dataclass(frozen=True)
class BindSettings:
    """How a placeholder learns: see `concept.bind` and `views.with_crops`."""

    vectors: int = setting(
        1,
        "How many embeddings stand for the placeholder, one after another. More can hold more of a look, and take as"
        " many tokens of a prompt.",
        unit="vectors",
        whole=True,
        low=1,
        high=8,
        advanced=True,
        later=True,
    )
    crops: int = setting(
        0,
        "So many crops of every photo, of 75 to 100 % of its sides, are learned beside it, the same ones each time: the"
        " thing a little larger and to a side.",
        unit="crops of a photo",
        whole=True,
        low=0,
        high=16,
        advanced=True,
        later=True,
    )
    flips: bool = setting(
        False,
        "Learn mirror images too, of a thing that may face either way. Not for writing.",
        advanced=True,
        later=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)
