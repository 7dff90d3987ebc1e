"""A clip of any length edited window by window, from file to file, in the memory of one window.

Nothing here knows what an edit is: whoever edits gets a window's frames and gives back as many. Each finished window is
a file of its own, so that a run that was stopped, or killed, is gone on with where it was.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from . import LiveError
from .files import read_safetensors, reading, write_safetensors
from .film import Sound, silent, write_film
from .footage import Footage
from .interrupts import heed
from .notes import NotesOfParts
from .windows import Window

KEPT = 3  # unfinished clips in the folder, the newest
FORM = "1"  # of the files of windows: other forms are other clips


@dataclass(frozen=True)
class Task:
    """A window to be edited, the `number`-th of `total`. `pictures` (F, H, W, 3), 0..1, are its riders and frames;
    `masks` (F, H, W), where it may be edited, of the same, or None."""

    window: Window
    number: int
    total: int
    pictures: torch.Tensor
    masks: torch.Tensor | None = None


# Of each window its own frames (f, H, W, 3), 0..1, without riders; in order, and not far ahead of what is taken.
Run = Callable[[Iterator[Task]], Generator[torch.Tensor, None, None]]


@dataclass(frozen=True)
class Job:
    """`clip` in `windows`; `masks`, of as many frames, or None. `key`: text that tells this edit, its model and its
    settings from any other, but for the clip, the masks and the windows."""

    clip: Footage
    windows: Sequence[Window]
    key: str
    masks: Footage | None = None

    @property
    def name(self) -> str:
        """32 hex digits, by which its unfinished windows are found again."""
        masks = self.masks.digest if self.masks else ""
        windows = [(window.riders, window.frames, window.after) for window in self.windows]
        return hashlib.sha256(f"{FORM} {self.clip.digest} {masks} {windows} {self.key}".encode()).hexdigest()[:32]


def stream(job: Job, run: Run, folder: Path, out: Path, sound: Sound = silent, crf: float = 18.0) -> None:
    """Edit a clip, by `run`, into the file `out`: H.264 of `crf`, with `sound`, each frame shown when the clip has it.

    In `folder` finished windows wait until all are; then they are joined, and go. A run that was stopped leaves them to
    the next of the same job, which has only the others edited. Notes of some windows say of which frames they are.
    LiveError where the disk has no room for them.
    """
    parts = _Parts(folder / job.name, job)
    parts.check_room()
    _keep_the_newest(folder, job.name)
    missing = [number for number, window in enumerate(job.windows) if not parts.has(number, window)]
    if missing and len(missing) < len(job.windows):
        logging.info("LIVE: going on with a clip of which %d windows are left", len(missing))
    if missing:
        names, notes = [job.windows[number].name for number in missing], NotesOfParts()
        with closing(run(tasks(job, missing))) as edited:
            for number, frames in zip(missing, notes.over(names, edited), strict=True):
                heed()
                parts.keep(number, in_bytes(frames))
        notes.say()
    write_film(out, parts.frames(), job.clip, sound, crf)
    shutil.rmtree(parts.folder, ignore_errors=True)


def tasks(job: Job, numbers: Sequence[int]) -> Iterator[Task]:
    """The windows of these `numbers`, each made when it is asked for."""
    windows = [job.windows[number] for number in numbers]
    masks = gathered_frames(job.masks, windows) if job.masks else None
    for number, pictures in zip(numbers, gathered_frames(job.clip, windows), strict=True):
        yield Task(job.windows[number], number, len(job.windows), pictures, None if masks is None else next(masks))


def gathered_frames(clip: Footage, windows: Sequence[Window]) -> Iterator[torch.Tensor]:
    """For each window its frames, (F, H, W, ...), as `Window.positions` has them. The clip is read once, and once more
    before where riders come later than the window after theirs; frames are held until the last window that has them.
    """
    until = {i: number for number, window in enumerate(windows) for i in window.positions}
    ahead = {i for window in windows for i in window.positions if i >= window.frames.stop + len(window.frames)}
    held = dict(clip.pictures(ahead))
    coming = clip.pictures(until.keys() - ahead)
    for number, window in enumerate(windows):
        for i in set(window.positions) - held.keys():
            while i not in held:
                held |= [next(coming)]
        yield torch.stack([held[i] for i in window.positions])
        held = {i: picture for i, picture in held.items() if until[i] > number}


def in_bytes(frames: torch.Tensor) -> torch.Tensor:
    """(f, H, W, 3), 0..1, as uint8, cut off as ComfyUI cuts them off where it saves pictures and videos."""
    return (frames * 255).clamp(0, 255).byte().cpu()


class _Parts:
    """The finished windows of a job, a file each."""

    def __init__(self, folder: Path, job: Job):
        self.folder, self.job = folder, job

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.safetensors"

    def check_room(self) -> None:
        """LiveError where the disk has no room for all of them."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        width, height = self.job.clip.size
        needed = len(self.job.clip) * width * height * 3
        kept = sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))
        free = shutil.disk_usage(self.folder.parent).free
        if needed - kept > free:
            raise LiveError(
                f"video: {len(self.job.clip)} frames of {width}x{height} take {needed / 1e9:.1f} GB until all are"
                f" edited, and {self.folder.parent} has {free / 1e9:.1f} GB free; free some space on that disk, or give"
                " a smaller size or a shorter clip"
            )

    def has(self, number: int, window: Window) -> bool:
        if not self._file(number).is_file():
            return False
        try:
            self.read(number, window)
        except LiveError as error:
            logging.warning("LIVE: %s", error)
            return False
        return True

    def keep(self, number: int, frames: torch.Tensor) -> None:
        write_safetensors({"frames": frames}, self._file(number), name="unfinished video")

    def read(self, number: int, window: Window) -> torch.Tensor:
        width, height = self.job.clip.size
        with reading(f"unfinished video: window {number + 1}", "run it again"):
            frames = read_safetensors(self._file(number))[0].get("frames", torch.empty(0))
            if frames.shape != (len(window.frames), height, width, 3) or frames.dtype != torch.uint8:
                raise ValueError("it is not what this clip's windows are")
        return frames

    def frames(self) -> Iterator[torch.Tensor]:
        for number, window in enumerate(self.job.windows):
            yield from self.read(number, window)


def _keep_the_newest(folder: Path, but: str) -> None:
    """Take away what clips that nobody went on with have left: gigabytes."""
    try:
        ours = [path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{32}", path.name) and path.name != but]
        for old in sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:  # costs only its space
        logging.info("LIVE: older unfinished videos stay in %s: %s", folder, error)
