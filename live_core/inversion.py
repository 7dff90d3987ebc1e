"""DDIM inversion of a clip, and the attention store that a later edit may read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from . import LiveError
from .attention import AttentionPlan, AttentionStore, Record
from .bases import TEXT_TO_IMAGE
from .checks import check_number, check_step, quoted
from .diffusion import Callback
from .frames import FramePlan
from .memory import one_run
from .methods import Method
from .notes import note
from .pretrained import LiveModel, Tuning
from .seats import latent_prompt_of, note_untrained
from .stores import DiskStore, RamStore, check_attention
from .streams import Stream, predict
from .taps import WordTap
from .video_unet import VideoUNet

# What helps where half precision overflows.
NARROW = "load the model with precision float32 or bfloat16"


@dataclass(frozen=True)
class Inversion:
    """`latents` (N + 1, f, c, h, w): from the clip's own latents to its noise. `store` holds what the source's queries
    and keys are made of, its word maps, and its latents, when they are a reconstruction's, by step of the edit when
    `attention` is "ram" or "disk"; with "recompute" it is None and 0 bytes are kept. `base`, `tuning`: what
    `LiveModel.fingerprint` and `tuning_fingerprint` were. `null_text` (N, L, d): the unconditional text of every step
    of the edit, once optimised for `null_guidance` by a model whose `tuning_fingerprint` was `null_tuning`.

    Bytes kept for attention, with b bytes a value, F frames, the latent prompt's among them: ``F n d b`` for each kept
    step and each layer that the method injects, of n tokens and width d: cross-attention if it injects words, in layers
    within `cross_max_tokens`, and spatial self-attention (within `self_max_tokens`), temporal attention (always), or
    both; ``L d b`` once for each such cross-attention layer; ``4 F m L`` for every step, m being the cells of the word
    maps (256 at 512 x 512); ``4 f c h w`` for every step of a reconstruction. Stable Diffusion 1.x, 8 x 512 x 512, half
    precision, 50 steps: 8.03 GB for FateZero's rows, 4.00 for self- and as much for cross-attention, and for the part r
    of the steps r times that; 13.3 for vid2vid-zero and 15.0 for LIVE (9 frames), which inject words into layers of
    4,096 tokens too.
    """

    latents: torch.Tensor
    prompt: str
    method: Method
    base: str
    tuning: str
    attention: str = "recompute"
    store: RamStore | DiskStore | None = None
    null_text: torch.Tensor | None = None
    null_guidance: float | None = None
    null_tuning: str = ""

    @property
    def steps(self) -> int:
        return len(self.latents) - 1

    def at(self, step: int) -> torch.Tensor:
        """The latents (f, c, h, w) that step `step` of an edit starts from: the noise at 0, the clip's own at N."""
        return self.latents[self.steps - step]

    def describe(self) -> str:
        kept = self.store.nbytes() if self.store else 0
        return (
            f"{self.steps} steps, {self.latents.shape[1]} frames; latents {self.latents.nbytes / 1e6:.1f} MB, "
            f"attention ({self.attention}) {kept / 1e6:.1f} MB ({kept} bytes)"
        )


def check_made_by(model: LiveModel, inversion: Inversion, node: str) -> None:
    """LiveError unless `model`, which the node of that name was given, has the base that the inversion was made with; a
    note if it has another tuning."""
    if inversion.base != model.fingerprint:
        raise LiveError(
            f"inversion: it was made with a base of fingerprint {inversion.base}, and this model is {model.name!r}"
            f" (fingerprint {model.fingerprint}); give Invert Video and {node} the same model"
        )
    if inversion.tuning != model.tuning_fingerprint:
        note(
            f"inversion: the clip was inverted with another tuning than {node} has, so it may not come back where"
            " nothing changes; give both the same model"
        )


def note_other_frames(tuning: Tuning | None, method: Method) -> None:
    """A note for a method that shows frames what they did not see while the clip was learned."""
    learned = tuning.frame_plan if tuning else None
    if learned is not None and not method.frame_plan.like(learned):
        note(
            f"method: {method.name!r} sees other frames ({method.frame_plan}) than the clip was tuned with ({learned});"
            " tune for the method of the edit"
        )


def note_other_prompt(tuning: Tuning | None, prompt: str) -> None:
    """A note for a clip's prompt that it was not learned with."""
    if tuning is not None and prompt.strip() != tuning.prompt.strip():
        note(
            f"prompt: {quoted(prompt)} is not what the model was tuned with, so the clip may not come back; give"
            f" {quoted(tuning.prompt)}"
        )


def source_stream(model: LiveModel, method: Method, prompt: str, clip: torch.Tensor) -> Stream:
    """The clip under its own prompt, as `method` sees it: what an inversion walks and an edit's source is."""
    return Stream("source", "source", model.encode_text(prompt), latent_prompt_of(model, method, clip))


@one_run()
@torch.no_grad()
def invert(
    model: LiveModel,
    clip: torch.Tensor,
    prompt: str,
    method: Method,
    steps: int = 50,
    attention: str = "recompute",
    folder: Path | None = None,
    callback: Callback = lambda step, total, latents: None,
    kept_steps: float = 1.0,
) -> Inversion:
    """Walk `clip` (f, c, h, w), scaled latents, to noise in `steps` DDIM steps at guidance 1, under the prompt and the
    frames that `method` inverts under.

    `attention`: "recompute" keeps nothing; "ram" and "disk" (in `folder`) keep the source's attention, so that edits
    need not run it again: that of the inversion itself, or, for a method whose source is a reconstruction, of one more
    pass from the noise. `kept_steps`: the part of the edit's steps, from the noisiest, whose attention is kept.
    """
    model.check_base(TEXT_TO_IMAGE, "Invert Video")
    model.check_clip_prompt(prompt, model.tuning.concepts if model.tuning else ())
    check_attention(attention, method)
    check_number("kept steps", kept_steps, 0, 1)
    note_other_frames(model.tuning, method)
    note_untrained(model, method)
    note_other_prompt(model.tuning, prompt)
    schedule = model.schedule
    timesteps = schedule.timesteps(steps)
    x = clip.to(model.unet.device)
    stream = source_stream(model, method, prompt, x)
    walked = stream if method.inversion_prompt == "clip" else replace(stream, text=model.encode_text(""))
    store = _new_store(attention, folder)
    within, beside = (None, store) if method.source == "reconstruction" else (store, None)
    total = steps if beside is None else 2 * steps
    path = [x.cpu()]

    def noise_of(
        x: torch.Tensor, i: int, stream: Stream, frames: FramePlan, store: AttentionStore | None
    ) -> torch.Tensor:
        """The noise at step i of the edit, its attention kept in `store`."""
        plan = AttentionPlan(frames)
        if store is not None:
            record = record_of(method, model.unet, store) if i < kept_steps * steps else None
            plan = AttentionPlan(frames, tap=WordTap(model.unet.map_level), record=record, step=i)
        noise = predict(model.unet, [stream], {"source": x}, timesteps[i], i, plan)["source"]
        if store is not None and plan.tap is not None and plan.tap.maps is not None:
            store.write(f"{i:04d}/maps", plan.tap.maps[0])
        return noise

    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i in reversed(range(steps)):
            x = schedule.invert(x, noise_of(x, i, walked, method.inverted_under, within), timesteps[i], steps)
            path.append(x.to("cpu", non_blocking=True))  # there before the check of x is through
            check_step("inversion", steps - i, steps, x, NARROW)
            callback(steps - i, total, x)
        if beside is not None:
            for i in range(steps):
                x = schedule.denoise(x, noise_of(x, i, stream, method.frame_plan, beside), timesteps[i], steps)
                beside.write(f"{i:04d}/latents", x)
                check_step("reconstruction", i + 1, steps, x, NARROW)
                callback(steps + i + 1, total, x)
    return Inversion(torch.stack(path), prompt, method, model.fingerprint, model.tuning_fingerprint, attention, store)


def _new_store(attention: str, folder: Path | None) -> RamStore | DiskStore | None:
    if attention == "recompute":
        return None
    if attention == "ram":
        return RamStore()
    if folder is None:
        raise LiveError("attention: 'disk' without a folder; give one, or choose attention \"recompute\"")
    return DiskStore(folder)


def record_of(method: Method, unet: VideoUNet, store: AttentionStore, words: bool | None = None) -> Record:
    """What an edit by `method` will want to read; how far its ratios reach aside. `words`: whether it injects any
    word's attention, which a word's own window may ask for; None, before the edit is known: whether the method does."""
    selves = method.self_ratio > 0
    return Record(
        store,
        cross=method.cross_ratio > 0 if words is None else words,
        spatial=selves and method.self_target != "temporal",
        temporal=selves and method.self_target != "spatial",
        cross_level=unet.level_within(method.cross_max_tokens),
        self_level=unet.level_within(method.self_max_tokens),
    )
