"""Edits by prompts of clips of any length: how `streaming` and an engine have a window edited."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from .bases import TEXT_TO_IMAGE
from .diffusion import Callback
from .long_clips import edit_window
from .long_settings import LongEdit
from .pretrained import LiveModel
from .streaming import Task
from .windows import Window


@dataclass(frozen=True)
class PromptedWindows:
    """What `long_clips.edit_long` is asked, of a clip of so many `frames` that comes in windows."""

    asked: LongEdit
    frames: int

    def windows(self, model: LiveModel) -> list[Window]:
        """Those of the clip. LiveError for another base, and where the method needs the whole clip at once."""
        model.check_base(TEXT_TO_IMAGE, "Edit Long Video")
        return self.asked.windows(self.frames)

    def key(self, model: LiveModel) -> str:
        """Text that tells this edit by this model from any other."""
        concepts = model.tuning.concepts if model.tuning else ()
        change, digest = self.asked.change, hashlib.sha256()
        told = [model.encode_text(self.asked.prompt), model.encode_text("")]
        told += [model.encode_text(text, concepts) for text in (change.prompt, change.negative_prompt)]
        told += [concept.reference for concept in concepts]
        for tensor in told:
            digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().numpy().tobytes())
        return f"{model.state_fingerprint} {model.tuning_fingerprint} {self} {digest.hexdigest()}"


def edit_task(model: LiveModel, task: Task, callback: Callback, asked: PromptedWindows) -> torch.Tensor:
    """(f, H, W, 3), 0..1: a window's own frames as the prompts have them. `callback` is told of its steps."""
    edited = edit_window(model, task.pictures, task.window, asked.frames, asked.asked, task.masks, callback)
    return edited.images
