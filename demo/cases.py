"""The shipped cases: a clip, a photo, the words for both, and (drawn again when asked) the true answer.

    python -m demo.cases        # writes demo/cases/<name>/clip.mp4, photo.png and case.json again
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .world import Clip, Thing, make_clip, make_reference

FOLDER = Path(__file__).parent / "cases"
FPS = 8


@dataclass(frozen=True)
class Case:
    """`clip` has one thing to replace by `target`, whose photo is `photo`."""
    name: str
    clip: Clip
    target: Thing
    photo: Clip
    placeholder: str = "<thing*>"
    initial_word: str = "thing"                  # what a person would call the thing in the photo, in the model's vocabulary

    @property
    def prompt(self) -> str:
        return self.clip.caption

    @property
    def edit_prompt(self) -> str:
        return self.prompt.replace(self.clip.things[0].name, self.placeholder)

    @property
    def truth(self) -> Clip:
        return self.clip.swap(0, self.target)


def make_case(name: str, seed: int, scene: str, source: Thing, target: Thing, initial_word: str = "thing", frames: int = 8, **options) -> Case:
    return Case(name, make_clip(seed, frames, (source,), scene, **options), target, make_reference(target, seed + 1), initial_word=initial_word)


# The first two photos show what the model has words for, though no prompt says them; the last two show what it has none for.
CASES = {case.name: case for case in (
    make_case("ball-to-star", 2_000_000_011, "meadow", Thing("ball", "red"), Thing("star", "blue"), "star"),
    make_case("box-to-heart", 2_000_000_033, "snow", Thing("box", "green"), Thing("heart", "red"), "heart"),
    make_case("heart-to-banded-house", 2_000_000_022, "sea", Thing("heart", "purple"), Thing("house", "orange", "banded", "black")),
    make_case("fish-to-two-tone-gem", 2_000_000_044, "road", Thing("fish", "yellow"), Thing("gem", "purple", "two-tone", "pink")),
)}


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
        Image.fromarray(case.photo.frames()[0]).save(folder / "photo.png")
        (folder / "case.json").write_text(json.dumps({"prompt": case.prompt, "edit_prompt": case.edit_prompt, "placeholder": case.placeholder,
                                                      "initial_word": case.initial_word}, indent=1) + "\n")
