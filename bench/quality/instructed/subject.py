"""One case, and what runs rows on it; what two rows share (mask, chosen edit, adapted weights) is made once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from demo.frames import to_frames, to_pictures
from demo.training.judge import Judge
from demo.world import SCENES
from live_core.adapt_settings import AdaptSettings
from live_core.adaptation import adapt
from live_core.change_map import change_mask
from live_core.compositing import composite, soften
from live_core.editing import Edit, edit
from live_core.instruct import instruct
from live_core.instruct_settings import Instruction, Search
from live_core.inversion import invert
from live_core.local import Local
from live_core.pretrained import LiveModel
from live_core.root_pairs import RootPair, chosen, root_pairs
from live_core.steadying import steady
from live_core.tunings import Tuning
from live_core.video_unet import EDIT

from ..rows import UNEDITED
from ..text import TextCase, method_for
from .cases import InstructCase
from .measures import measure
from .rows import ATTENTION, ROWS, STEADIED, WORDS_ROWS, Row, Steadied

CEILING = "ceiling"
STEPS, WORDS_STEPS = 10, 20  # VIA's own; methods by words, which begin from inverted noise, get twice as many
LEARNING_RATE = 1e-3  # of an adaptation of the demo model, and the mask's threshold: as via_whole ships
SEARCH = Search(threshold=0.15)
SEED = 1000  # of the edits; those of which one is learned start from 0


@dataclass
class Models:
    """`instructed`: the demo model that follows instructions; `told`: the one that knows captions alone."""

    instructed: LiveModel
    told: LiveModel
    judge: Judge


class Subject:
    """`adapted`: the numbers of steps after which the adapted weights are kept, where a row asks for any of them."""

    def __init__(self, models: Models, case: InstructCase, adapted: Sequence[int] = ()):
        self.models, self.case, self.steps = models, case, tuple(adapted)
        self.pictures = to_pictures(case.clip.frames())
        self._shown: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def run(self, name: str) -> tuple[dict[str, float], np.ndarray]:
        """A row's measures, and its frames (f, H, W, 3) uint8."""
        started = time.process_time()
        frames = self._frames(name)
        seconds = time.process_time() - started
        return {**measure(self.case, self.models.judge, frames), "seconds": seconds}, frames

    def _frames(self, name: str) -> np.ndarray:
        if name not in self._shown:
            self._shown[name] = self._made(name)
        return self._shown[name]

    def _made(self, name: str) -> np.ndarray:
        if name == UNEDITED:
            return self.case.clip.frames()
        model = self.models.instructed
        if name == CEILING:
            return to_frames(model.decode_frames(model.encode_frames(to_pictures(self.case.after.frames()))))
        if name in WORDS_ROWS:
            return self._by_words(name)
        if name in STEADIED:
            return self._steadied(STEADIED[name])
        row = ROWS[name]
        model = self._adapted[1][row.adapted] if row.adapted else model
        asked = Instruction(self.case.text, STEPS, SEED)
        return to_frames(model.decode_frames(instruct(model, self._latents, asked, row.method, self._local(row))))

    def _steadied(self, row: Steadied) -> np.ndarray:
        """A scene as it was: there is no one thing to agree on."""
        frames = self._frames(row.of)
        if self.case.kind == "scene":
            return frames
        source, edited = (torch.from_numpy(each).float() / 255 for each in (self.case.clip.frames(), frames))
        agreed = steady(edited, source, self._mask, row.reach)
        return to_frames(composite(source, agreed, soften(self._mask, row.dilation, row.blur)))

    def _by_words(self, name: str) -> np.ndarray:
        model, case, method = self.models.told, self.case, WORDS_ROWS[name].method(self.case.kind)
        gone = not case.after.things
        prompt = f"nothing {SCENES[case.clip.scene].place}" if gone else case.after.caption
        words = case.clip.things[0].name if gone else ""
        method = method_for(TextCase(case.name, case.clip, prompt, case.after, (), words), method)
        inversion = invert(model, model.encode_frames(self.pictures), case.clip.caption, method, WORDS_STEPS)
        return to_frames(model.decode_frames(edit(model, inversion, Edit(prompt, source_words=words), method).latents))

    @cached_property
    def _latents(self) -> torch.Tensor:
        return self.models.instructed.encode_frames(self.pictures)

    def _local(self, row: Row) -> Local | None:
        """None for a scene too, of which everything changes."""
        if not row.boundary or self.case.kind == "scene":
            return None
        return Local(self._mask, row.boundary, row.origin)

    @cached_property
    def _mask(self) -> torch.Tensor:
        return change_mask(self.models.instructed, self._latents, Instruction(self.case.text, STEPS), SEARCH)

    @cached_property
    def _adapted(self) -> tuple[RootPair, dict[int, LiveModel]]:
        """The edit of the best score, and the model after it has learned it for each number of steps; all are on one
        way, for a step depends on none after it."""
        model, asked = self.models.instructed, Instruction(self.case.text, STEPS)
        pairs = root_pairs(model, self.pictures, asked, method=ATTENTION["per-frame"].method)
        root, models = pairs[chosen(pairs, 0)], {}

        def keep(step: int, _total: int, _latents: torch.Tensor) -> None:
            if step in self.steps:
                now = {name: weight.detach().clone() for name, weight in model.unet.trainable(EDIT).items()}
                tuning = Tuning(now, None, (), self.case.text, model.fingerprint, learns=EDIT)
                models[step] = replace(model, tuning=tuning)

        adapt(model, root.before, root.after, asked, AdaptSettings(max(self.steps), LEARNING_RATE), keep)
        return root, models
