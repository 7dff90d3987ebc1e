"""The one edit loop: from a clip's inverted noise to the edited clip, under whatever a `Method` asks for."""
from __future__ import annotations

from dataclasses import dataclass

import torch

from . import LiveError
from .attention import AttentionPlan, FramePlan, SelfInjection, WordInjection, WordTap
from .inversion import Callback, Inversion, latent_prompt_of
from .masks import word_mask
from .methods import Method
from .pretrained import LiveModel
from .prompts import read_prompt, swap_words
from .streams import Stream, batch_latent_prompts, batch_text


@dataclass(frozen=True)
class Edit:
    """What to change, in words.

    `keep_words`: comma-separated words whose attention comes from the source, None for all shared ones. `source_words`,
    `edit_words`: what local blend looks for in the source prompt and in `prompt`; empty means the words only one prompt has.
    """
    prompt: str
    keep_words: str | None = None
    source_words: str = ""
    edit_words: str = ""


@dataclass(frozen=True)
class Edited:
    """`latents` (f, c, h, w); `mask` (f, H, W), 0 or 1, at pixel size: the final word mask, all ones without local blend."""
    latents: torch.Tensor
    mask: torch.Tensor


@torch.no_grad()
def edit(model: LiveModel, inversion: Inversion, change: Edit, method: Method | None = None,
         callback: Callback = lambda step, total, latents: None) -> Edited:
    """Run `method` (by default the one the clip was inverted for) from the inverted noise.

    Rows of the batch: the source, where the method needs one and no store holds it, then the unconditional and the
    conditional edit. The source is reconstructed by its conditional prediction alone (DESIGN 4).
    """
    method = method or inversion.method
    if (method.frame_plan, method.latent_prompt) != (inversion.method.frame_plan, inversion.method.latent_prompt):
        raise LiveError(f"method: {method.name!r} sees other frames than {inversion.method.name!r}, which the clip was inverted for; invert it again")
    schedule, unet, steps = model.schedule, model.unet, inversion.steps
    concepts = model.tuning.concepts if model.tuning else ()
    placeholders = tuple(c.placeholder for c in concepts)
    source_prompt = read_prompt(inversion.prompt, model.tokenizer)
    edit_prompt = read_prompt(change.prompt, model.tokenizer, placeholders)

    x = inversion.latents[-1].to(unet.device)
    x_source = x
    streams = _streams(model, inversion, change, method, x)
    rows = {stream.name: i for i, stream in enumerate(streams)}
    text, seats = batch_text(streams), batch_latent_prompts(streams)
    source_row, edit_row = rows.get("source"), rows["conditional"]
    words, selves = _injections(method, source_prompt, edit_prompt, change, source_row, edit_row)

    map_size = unet.map_tokens(*x.shape[-2:])
    blending = method.blend_threshold is not None
    if blending:
        source_tokens, edit_tokens = _blend_tokens(source_prompt, edit_prompt, change)
    tap = WordTap(map_size[0] * map_size[1]) if blending else None
    stored_maps = None
    shift = int(method.latent_prompt)

    def mask_of(size, smooth=False):
        source_maps = tap.maps[source_row] if source_row is not None else stored_maps
        return torch.maximum(word_mask(source_maps[shift:], source_tokens, map_size, size, method.blend_threshold, smooth),
                             word_mask(tap.maps[edit_row][shift:], edit_tokens, map_size, size, method.blend_threshold, smooth))

    with unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i, t in enumerate(schedule.timesteps(steps)):
            plan = AttentionPlan(FramePlan(method.frame_plan), words=words if i < method.cross_steps(steps) else (),
                                 selves=selves if i < method.self_steps(steps) else (), tap=tap, store=inversion.store, step=i)
            batch = torch.stack([x_source if stream.latents == "source" else x for stream in streams])
            noise = unet(batch, t, text, seats, plan)
            guided = noise[edit_row]
            if "unconditional" in rows:
                guided = noise[rows["unconditional"]] + method.guidance_scale * (guided - noise[rows["unconditional"]])
            x = schedule.denoise(x, guided, t, steps)
            if source_row is not None:
                x_source = schedule.denoise(x_source, noise[source_row], t, steps)
            elif method.needs_source:
                x_source = inversion.store.read(f"{i:04d}/latents").to(x)
                maps = inversion.store.read(f"{i:04d}/maps").to(x)
                stored_maps = maps if stored_maps is None else stored_maps + maps
            if blending and i >= int(method.blend_start * steps):
                x = x_source + mask_of(x.shape[-2:])[:, None] * (x - x_source)
            callback(i + 1, steps, x)
    pixels = tuple(side * model.pixels_per_latent for side in x.shape[-2:])
    mask = mask_of(pixels, smooth=True) if blending else torch.ones(x.shape[0], *pixels)
    return Edited(x, mask.cpu())


def _streams(model: LiveModel, inversion: Inversion, change: Edit, method: Method, x: torch.Tensor) -> list[Stream]:
    concepts = model.tuning.concepts if model.tuning else ()
    seat = latent_prompt_of(model, method, inversion.latents[0].to(x))
    other = seat
    if method.latent_prompt and method.asymmetric_guidance and concepts:
        other = concepts[0].reference[0].to(x)
    streams = []
    if method.needs_source and inversion.store is None:
        streams.append(Stream("source", "source", model.encode_text(inversion.prompt), seat))
    if method.guidance_scale != 1:
        streams.append(Stream("unconditional", "edit", model.encode_text(""), other))
    return streams + [Stream("conditional", "edit", model.encode_text(change.prompt, concepts), seat)]


def _injections(method, source_prompt, edit_prompt, change, source_row, edit_row):
    words = selves = ()
    if method.cross_ratio:
        mapping, keep = swap_words(source_prompt, edit_prompt, change.keep_words)
        words = (WordInjection(edit_row, source_row, mapping, keep),)
    if method.self_ratio:
        selves = (SelfInjection(edit_row, source_row, method.self_target != "temporal", method.self_target != "spatial", method.self_max_tokens),)
    return words, selves


def _blend_tokens(source_prompt, edit_prompt, change: Edit) -> tuple[list[int], list[int]]:
    """Tokens of the changed words in either prompt: those named, else those the other prompt lacks."""
    found = []
    for prompt, other, phrases, name in ((source_prompt, edit_prompt, change.source_words, "source words"), (edit_prompt, source_prompt, change.edit_words, "edit words")):
        if phrases.strip():
            tokens = [t for phrase in phrases.split(",") if phrase.strip() for t in prompt.tokens_of(phrase.strip(), name)]
        else:
            others = {w.lower() for w in other.words}
            tokens = [t for word, (a, b) in zip(prompt.words, prompt.spans) if word.lower() not in others for t in range(a, b)]
        found.append(tokens)
    if not found[0] and not found[1]:
        raise LiveError(f"edit prompt: {edit_prompt.text!r} has the same words as the source prompt, so there is nothing to look for; "
                        "change a word, or name source words and edit words")
    return found[0], found[1]
