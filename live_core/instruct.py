"""Edits by instruction: a picture model that is told what to change (InstructPix2Pix, Brooks et al. 2023), frame by
frame, or with key frames that all frames read (VIA, section 4.2).

Every frame starts from the same noise. VIA's own base, MGIE, differs in its text alone, which its language model gives
for each frame: `texts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import torch

from . import LiveError
from .attention import AttentionPlan
from .bases import INSTRUCT
from .checks import check_step, is_finite, quoted
from .denoising import Batch, denoise
from .diffusion import Callback
from .engine import Engine, Here, part_of
from .frames import ALONE
from .instruct_settings import GATHER_AND_SWAP, Instruction, InstructMethod
from .inversion import NARROW
from .local import Local
from .local_latents import AdaptLocally
from .memory import one_run
from .notes import note
from .pretrained import LiveModel
from .prompts import check_prompt
from .steering import Part
from .streams import Chain, Stream, needed, predict
from .windows import windows_of


@dataclass(frozen=True)
class Seen:
    """What an edit is given of f frames: `latents` (f, c, h, w), scaled; `mask` (f, h, w), where it may act, or None;
    `texts` (f, L, d), each frame's own instruction, or None."""

    latents: torch.Tensor
    mask: torch.Tensor | None = None
    texts: torch.Tensor | None = None

    def at(self, frames: Sequence[int]) -> Seen:
        """The same of these frames, in this order."""
        chosen = list(frames)
        return Seen(
            self.latents[chosen],
            None if self.mask is None else self.mask[chosen],
            None if self.texts is None else self.texts[chosen],
        )


def texts_of(conditioning: Sequence[tuple[torch.Tensor, Mapping]]) -> torch.Tensor:
    """(n, L, d): the texts of what ComfyUI calls conditioning, entries of (b, L, d) and more: one text for all frames,
    or one for each, in one entry or in several. LiveError for what is none, or of unlike lengths; a note for what
    comes with it and is not read."""
    try:
        texts = [text for text, _ in conditioning]
        others = sorted({key for _, more in conditioning for key in more} - {"pooled_output"})
    except (TypeError, ValueError) as error:
        raise LiveError(f"conditioning: {quoted(conditioning)}; connect CLIP Text Encode") from error
    shapes = {tuple(text.shape[1:]) if isinstance(text, torch.Tensor) and text.ndim == 3 else None for text in texts}
    if len(shapes) != 1 or None in shapes:
        raise LiveError(
            f"conditioning: {len(texts)} texts of shapes {', '.join(sorted(map(str, shapes)))}; give texts of one shape"
        )
    if others:
        note(f"conditioning: {', '.join(others)} is not read, only the texts; the clip is the picture")
    return torch.cat(texts)


def instruct_streams(
    text: torch.Tensor, without: torch.Tensor, picture: torch.Tensor, method: InstructMethod
) -> tuple[list[Stream], Chain]:
    """The rows of the batch and the chain that guides them (InstructPix2Pix, eq. 3): "neither" words nor picture, the
    "picture" alone, and "both"; one that would cancel out is not run. `text` as `Stream` has it, `without` that of no
    words, `picture` (f, c, h, w), not scaled."""
    streams = [
        Stream("neither", "edit", without, picture=torch.zeros_like(picture)),
        Stream("picture", "edit", without, picture=picture),
        Stream("both", "edit", text, picture=picture),
    ]
    chain = needed([("neither", 1.0), ("picture", method.image_guidance_scale), ("both", method.guidance_scale)])
    names = [name for name, _ in chain]
    return [stream for stream in streams if stream.name in names], chain


@one_run()
@torch.no_grad()
def instruct(
    model: LiveModel,
    clip: torch.Tensor,
    instruction: Instruction,
    method: InstructMethod = GATHER_AND_SWAP,
    local: Local | None = None,
    texts: torch.Tensor | None = None,
    window: int = 16,
    callback: Callback = lambda step, total, latents: None,
    engine: Engine | None = None,
    part: str = "",
) -> torch.Tensor:
    """Latents (f, c, h, w) of `clip`, scaled latents of that shape, as the instruction has it, in main memory.

    `window`: how many frames are edited at a time, besides the key frames, which ride along: memory is that of one
    window, and the frames are the same for any. `local`: a mask; outside it the clip stays. `texts` (f or 1, L, d):
    what the U-Net reads instead of the instruction's words, MGIE's for each frame. `engine`: who runs the windows.
    `part` "i/n": the i-th of n shares of the windows alone, and its frames (`engine.part_of`). LiveError for another
    base than InstructPix2Pix, for no instruction, for a mask or texts of another length, for more key frames than
    frames.
    """
    model.check_base(INSTRUCT, "Edit by Instruction")
    check_asked(model, instruction, method, texts, len(clip))
    mask, texts = _masks_and_texts(model, clip, local, texts)
    # In main memory, where every worker can read them.
    seen = Seen(clip.cpu(), None if mask is None else mask.cpu(), None if texts is None else texts.cpu())
    steps = instruction.steps
    windows = part_of(windows_of(len(clip), window, method.frame_plans(steps) or [method.frame_plan]), part)
    # Each window has its own part of the mask, so that none is sent the whole of it.
    how = None if local is None else replace(local, mask=torch.ones(1, 1, 1))
    work = partial(_edited, instruction=instruction, method=method, local=how)
    tasks = ((seen.at(each.positions), len(each.riders)) for each in windows)

    def shown(done: float, latents: torch.Tensor) -> None:
        callback(round(done * steps), len(windows) * steps, latents)

    out = torch.empty(sum(len(each.frames) for each in windows), *clip.shape[1:])
    with closing((engine or Here()).map(work, model, tasks, shown)) as edited:
        start = 0
        for latents in edited:
            out[start : start + len(latents)] = latents
            start += len(latents)
    return out


def _edited(
    model: LiveModel,
    task: tuple[Seen, int],
    callback: Callback,
    *,
    instruction: Instruction,
    method: InstructMethod,
    local: Local | None,
) -> torch.Tensor:
    """The frames of a window that are not its riders: those after as many as the task says."""
    seen, riders = task

    def shown(step: int, steps: int, latents: torch.Tensor) -> None:
        callback(step, steps, latents[riders:])

    return edit_window(model, seen, instruction, method, local, shown)[riders:]


def _masks_and_texts(
    model: LiveModel, clip: torch.Tensor, local: Local | None, texts: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The mask (f, h, w) and the frames' texts (f, L, d), None for what was not given."""
    height, width = clip.shape[-2:]
    pixels = height * model.pixels_per_latent, width * model.pixels_per_latent
    mask = None if local is None else local.on_latents(len(clip), pixels, (height, width))
    return mask, None if texts is None else texts.expand(len(clip), -1, -1)


def check_asked(
    model: LiveModel, instruction: Instruction, method: InstructMethod, texts: torch.Tensor | None, frames: int
) -> None:
    """LiveError or notes for what is asked of a clip of so many frames, by an instruction or by `texts`."""
    if texts is None:
        check_instruction(model, instruction)
        if model.tuning is not None and model.tuning.prompt != instruction.text:
            note(
                f"instruction: {quoted(instruction.text)}, and the model is adapted to {quoted(model.tuning.prompt)};"
                " give Adapt to Edit the same, or leave it out"
            )
    else:
        if instruction.text.strip():
            note(f"instruction: {quoted(instruction.text)} is not read where texts are given; leave one of them out")
        _check_texts(texts, frames, model.unet.unet.config.cross_attention_dim)
    if method.guidance_scale == 0:
        note("guidance scale: 0, so the instruction is not followed; give more, 7.5 is usual")


def check_instruction(model: LiveModel, instruction: Instruction) -> None:
    """LiveError unless it says something that the model can read; notes as of any prompt (`prompts.check_prompt`)."""
    instruction.check()
    prompt = model.read(instruction.text)
    if not prompt.words:
        raise LiveError(f"instruction: {instruction.text!r} has no words; say what to change")
    check_prompt(prompt, "instruction", model.tokenizer)


def _check_texts(texts: torch.Tensor, frames: int, width: int) -> None:
    """LiveError unless they are finite, and one (L, width) for all of so many frames or for each."""
    if len(texts) not in (1, frames):
        raise LiveError(
            f"conditioning: {len(texts)} texts for a clip of {frames} frames; give one for all, or one for each of its"
            " frames"
        )
    if texts.shape[-1] != width or not texts.shape[1]:
        raise LiveError(
            f"conditioning: texts of {texts.shape[1]} vectors of {texts.shape[2]} numbers, and this model reads vectors"
            f" of {width}; connect CLIP Text Encode with the CLIP of the model's own checkpoint"
        )
    if not is_finite(texts):
        raise LiveError(
            "conditioning: it has values that are not finite (NaN or infinite); make it anew, or give another"
        )


def edit_window(
    model: LiveModel,
    seen: Seen,
    instruction: Instruction,
    method: InstructMethod,
    local: Local | None = None,
    callback: Callback = lambda step, total, latents: None,
) -> torch.Tensor:
    """(f, c, h, w) of the frames of one window as the U-Net sees them, riders first, on its device. `local`: how their
    mask acts, if they have one."""
    clip = seen.latents.to(model.unet.device)
    picture, without = clip / model.vae.config.scaling_factor, model.encode_text("")
    text = model.encode_text(instruction.text) if seen.texts is None else seen.texts[None].to(without)
    generator = torch.Generator().manual_seed(instruction.seed)
    noise = torch.randn(1, *clip.shape[1:], generator=generator).to(clip).expand_as(clip)
    parts: list[Part] = []
    if local is not None and seen.mask is not None:
        clip_at = CLIP_AT[local.origin](model, clip, noise, instruction.steps)
        parts = [AdaptLocally(seen.mask.to(clip), local.boundary, clip_at)]
    with model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        return denoise(
            model.unet,
            model.schedule,
            noise,
            Batch(*instruct_streams(text, without, picture, method), method.frame_plans(instruction.steps)),
            parts,
            callback=callback,
            remedy=f"give less than {method.guidance_scale:g} as guidance scale, or {NARROW}",
        )


def noised(model: LiveModel, clip: torch.Tensor, noise: torch.Tensor, steps: int) -> Callable[[int], torch.Tensor]:
    """The clip's latents (f, c, h, w) that each of so many steps starts from, with the edit's own `noise`; after the
    last step they are the clip's own."""
    timesteps = model.schedule.timesteps(steps)
    return lambda step: clip if step == steps else model.schedule.add_noise(clip, noise, timesteps[step])


def inverted(model: LiveModel, clip: torch.Tensor, noise: torch.Tensor, steps: int) -> Callable[[int], torch.Tensor]:
    """The same by DDIM inversion, each frame by itself, without words and with its picture, unguided, by the base as it
    was before it was adapted to any edit."""
    stream = Stream("clip", "clip", model.encode_text(""), picture=clip / model.vae.config.scaling_factor)
    path = [clip]
    for i, t in reversed(list(enumerate(model.schedule.timesteps(steps)))):
        told = predict(model.unet, [stream], {"clip": path[-1]}, t, i, AttentionPlan(ALONE))["clip"]
        path.append(check_step("inversion", steps - i, steps, model.schedule.invert(path[-1], told, t, steps), NARROW))
    return lambda step: path[steps - step]


CLIP_AT = {"inverted": inverted, "noised": noised}  # by `Local.origin`
