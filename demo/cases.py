"""The shipped cases: a clip, a photo, the words for both, and (drawn again when asked) the true answer.

python -m demo.cases        # writes demo/cases/<name>/clip.mp4, photo.png and case.json again
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from .world import Clip, Thing, make_clip, make_reference

FOLDER = Path(__file__).parent / "cases"
FPS = 8


@dataclass(frozen=True)
class Swap:
    """`photo` shows `target`; `placeholder` stands for it in the edit prompt."""

    target: Thing
    photo: Clip
    placeholder: str = "<thing*>"
    initial_word: str = "thing"  # what a person would call the thing in the photo, in the model's vocabulary


@dataclass(frozen=True)
class Case:
    """`swaps[i]` takes the place of the clip's thing i; things beyond the swaps stay."""

    name: str
    clip: Clip
    swaps: tuple[Swap, ...]

    @property
    def prompt(self) -> str:
        return self.clip.caption

    @property
    def edit_prompt(self) -> str:
        prompt = self.prompt
        for thing, swap in zip(self.clip.things, self.swaps, strict=False):
            prompt = prompt.replace(thing.name, swap.placeholder, 1)
        return prompt

    @property
    def truth(self) -> Clip:
        clip = self.clip
        for i, swap in enumerate(self.swaps):
            clip = clip.swap(i, swap.target)
        return clip


def make_case(
    name: str,
    seed: int,
    scene: str,
    source: Thing,
    target: Thing,
    initial_word: str = "thing",
    frames: int = 8,
    **options,
) -> Case:
    swap = Swap(target, make_reference(target, seed + 1), initial_word=initial_word)
    return Case(name, make_clip(seed, frames, (source,), scene, **options), (swap,))


# The first four photos show what the model has words for, though no prompt says them; the last two show what it has
# none for.
CASES = {
    case.name: case
    for case in (
        make_case("ball-to-star", 2_000_000_011, "meadow", Thing("ball", "red"), Thing("star", "blue"), "star"),
        make_case("box-to-heart", 2_000_000_033, "snow", Thing("box", "green"), Thing("heart", "red"), "heart"),
        make_case("tree-to-fish", 2_000_000_055, "sea", Thing("tree", "white"), Thing("fish", "orange"), "fish"),
        make_case("cone-to-moon", 2_000_000_066, "night", Thing("cone", "pink"), Thing("moon", "yellow"), "moon"),
        make_case(
            "heart-to-banded-house",
            2_000_000_022,
            "sea",
            Thing("heart", "purple"),
            Thing("house", "orange", "banded", "black"),
        ),
        make_case(
            "fish-to-two-tone-gem",
            2_000_000_044,
            "road",
            Thing("fish", "yellow"),
            Thing("gem", "purple", "two-tone", "pink"),
        ),
    )
}
# Two things and two photos in one edit, a seed in which the things never touch; the photos are those of the first two
# cases.
CASES["ball-and-box"] = Case(
    "ball-and-box",
    make_clip(2_000_000_103, 8, (Thing("ball", "red"), Thing("box", "green")), "desert", speed=0.7),
    (CASES["ball-to-star"].swaps[0], replace(CASES["box-to-heart"].swaps[0], placeholder="<other*>")),
)


def write_video(path: Path, frames: np.ndarray, fps: int = FPS) -> None:
    """(f, H, W, 3) uint8 to H.264 of high quality."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    for case in CASES.values():
        folder = FOLDER / case.name
        folder.mkdir(parents=True, exist_ok=True)
        write_video(folder / "clip.mp4", case.clip.frames())
        Image.fromarray(case.swaps[0].photo.frames()[0]).save(folder / "photo.png")
        words = {
            "prompt": case.prompt,
            "edit_prompt": case.edit_prompt,
            "placeholder": case.swaps[0].placeholder,
            "initial_word": case.swaps[0].initial_word,
        }
        (folder / "case.json").write_text(json.dumps(words, indent=1) + "\n")
