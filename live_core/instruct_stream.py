"""Edits by instruction of clips of any length: how `streaming` has a window edited."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .bases import INSTRUCT
from .diffusion import Callback
from .instruct import Seen, check_asked, edit_window
from .instruct_settings import GATHER_AND_SWAP, Instruction, InstructMethod
from .local import Local
from .memory import one_run
from .pretrained import LiveModel
from .streaming import Task
from .windows import Window, windows_of


@dataclass(frozen=True)
class InstructedWindows:
    """What `instruct.instruct` is asked, of a clip that comes in windows. `local`: how masks act, if the clip has any;
    its own is not read. `texts` (f or 1, L, d): in the place of the instruction."""

    instruction: Instruction
    method: InstructMethod = GATHER_AND_SWAP
    local: Local | None = None
    texts: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.local is not None:  # no worker is sent the masks of a whole clip
            object.__setattr__(self, "local", replace(self.local, mask=torch.empty(0)))

    def windows(self, model: LiveModel, frames: int, size: int) -> list[Window]:
        """Those of a clip of so many frames, `size` each. LiveError as `instruct` has it."""
        model.check_base(INSTRUCT, "Edit Long Video by Instruction")
        check_asked(model, self.instruction, self.method, self.texts, frames)
        return windows_of(frames, size, self.method.frame_plans(self.instruction.steps) or [self.method.frame_plan])

    def key(self, model: LiveModel) -> str:
        """Text that tells this edit by this model from any other."""
        digest = hashlib.sha256()
        for told in (model.encode_text(self.instruction.text), model.encode_text(""), self.texts):
            if told is not None:
                digest.update(str(tuple(told.shape)).encode() + told.detach().float().cpu().numpy().tobytes())
        local = self.local and (self.local.boundary, self.local.origin, self.local.grow, self.local.feather)
        return f"{model.state_fingerprint} {self.instruction} {self.method} {local} {digest.hexdigest()}"

    def texts_at(self, positions: Sequence[int]) -> torch.Tensor | None:
        """(F, L, d), those of a window's frames."""
        if self.texts is None:
            return None
        return self.texts[positions] if len(self.texts) > 1 else self.texts.expand(len(positions), -1, -1)


@one_run()
def edit_task(model: LiveModel, task: Task, callback: Callback, asked: InstructedWindows) -> torch.Tensor:
    """(f, H, W, 3), 0..1: a window's own frames as the instruction has them. `callback` is told of its steps."""
    riders = len(task.window.riders)
    latents = model.encode_frames(task.pictures, "video")
    cells = latents.shape[2], latents.shape[3]
    mask = None if asked.local is None or task.masks is None else asked.local.softened(task.masks, cells)
    seen = Seen(latents, mask, asked.texts_at(task.window.positions))

    def shown(step: int, steps: int, x: torch.Tensor) -> None:
        callback(step, steps, x[riders:])

    edited = edit_window(model, seen, asked.instruction, asked.method, asked.local, shown)
    return model.decode_frames(edited[riders:])
