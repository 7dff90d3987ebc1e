"""The one edit loop: from a clip's inverted noise to the edited clip, under whatever a `Method` asks for."""
from __future__ import annotations

from dataclasses import dataclass

import torch

from . import LiveError
from .attention import AttentionPlan, FramePlan, SelfInjection, WordInjection, WordTap
from .inversion import Callback, Inversion, latent_prompt_of
from .masks import blend, blend_mask
from .methods import Method
from .pretrained import LiveModel
from .prompts import Prompt, align_words, at_step, read_prompt, refine_words, replace_words, reweight, split_phrases, swap_words, word_windows
from .streams import Stream, batch_latent_prompts, batch_text


@dataclass(frozen=True)
class Edit:
    """What to change, in words.

    `keep_words`: comma-separated words whose attention comes from the source, None for all shared ones; only for a method that
    swaps words. `source_words`, `edit_words`: what local blend looks for in the source prompt and in `prompt`; empty means the
    words without a partner when the two prompts are aligned. `subtract_words`: what it spares, in either prompt. `weights`: (word of `prompt`, factor on its
    attention) while words are injected. `windows`: (word of `prompt`, (start, end)), parts of the steps, in place of the
    method's for that word.
    """
    prompt: str
    keep_words: str | None = None
    source_words: str = ""
    edit_words: str = ""
    subtract_words: str = ""
    weights: tuple[tuple[str, float], ...] = ()
    windows: tuple[tuple[str, tuple[float, float]], ...] = ()


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
    token_edits = word_edits(method, source_prompt, edit_prompt, change, steps)
    needs_source = method.needs_source or any(token_edits)
    streams = _streams(model, inversion, change, method, needs_source, x)
    rows = {stream.name: i for i, stream in enumerate(streams)}
    text, seats = batch_text(streams), batch_latent_prompts(streams)
    source_row, edit_row = rows.get("source"), rows["conditional"]
    selves = (SelfInjection(edit_row, source_row, method.self_target != "temporal", method.self_target != "spatial", method.self_max_tokens),)

    map_size = unet.map_tokens(*x.shape[-2:])
    blending = method.blend_threshold is not None
    if blending:
        blend_tokens = _blend_tokens(source_prompt, edit_prompt, change)
        spared_tokens = _spared_tokens(source_prompt, edit_prompt, change)
    tap = WordTap(map_size[0] * map_size[1]) if blending else None
    stored_maps = None
    shift = int(method.latent_prompt)

    def mask_of(size, smooth=False):
        source_maps = tap.maps[source_row] if source_row is not None else stored_maps
        return blend_mask((source_maps[shift:], tap.maps[edit_row][shift:]), blend_tokens, spared_tokens, map_size, size,
                          method.blend_threshold, method.subtract_threshold, smooth)

    with unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i, t in enumerate(schedule.timesteps(steps)):
            words = (WordInjection(edit_row, source_row, *token_edits[i]),) if token_edits[i] else ()
            plan = AttentionPlan(FramePlan(method.frame_plan), words=words, selves=selves if i in method.self_steps(steps) else (),
                                 tap=tap, store=inversion.store, step=i)
            batch = torch.stack([x_source if stream.latents == "source" else x for stream in streams])
            noise = unet(batch, t, text, seats, plan)
            guided = noise[edit_row]
            if "unconditional" in rows:
                guided = noise[rows["unconditional"]] + method.guidance_scale * (guided - noise[rows["unconditional"]])
            x = schedule.denoise(x, guided, t, steps)
            if source_row is not None:
                x_source = schedule.denoise(x_source, noise[source_row], t, steps)
            elif needs_source:
                x_source = inversion.store.read(f"{i:04d}/latents").to(x)
                maps = inversion.store.read(f"{i:04d}/maps").to(x)
                stored_maps = maps if stored_maps is None else stored_maps + maps
            if blending and i in method.blend_steps(steps):
                x = blend(x_source, x, mask_of(x.shape[-2:]))
            callback(i + 1, steps, x)
    pixels = tuple(side * model.pixels_per_latent for side in x.shape[-2:])
    mask = mask_of(pixels, smooth=True) if blending else torch.ones(x.shape[0], *pixels)
    return Edited(x, mask.cpu())


def _streams(model: LiveModel, inversion: Inversion, change: Edit, method: Method, needs_source: bool, x: torch.Tensor) -> list[Stream]:
    concepts = model.tuning.concepts if model.tuning else ()
    seat = latent_prompt_of(model, method, inversion.latents[0].to(x))
    other = seat
    if method.latent_prompt and method.asymmetric_guidance and concepts:
        other = concepts[0].reference[0].to(x)
    streams = []
    if needs_source and inversion.store is None:
        streams.append(Stream("source", "source", model.encode_text(inversion.prompt), seat))
    if method.guidance_scale != 1:
        streams.append(Stream("unconditional", "edit", model.encode_text(""), other))
    return streams + [Stream("conditional", "edit", model.encode_text(change.prompt, concepts), seat)]


def word_edits(method: Method, source: Prompt, edit: Prompt, change: Edit, steps: int) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
    """The word injection's (mapping, keep) at every step, weights and windows applied; None where no word's window is open."""
    if change.keep_words is not None and method.word_edit != "swap":
        raise LiveError(f"keep words: {change.keep_words!r}, but {method.word_edit!r} takes its words by itself; leave them out or choose word_edit 'swap'")
    opened = word_windows(edit, steps, (0, method.cross_ratio), dict(change.windows))
    if not opened.any():
        return [None] * steps
    token_edit = {"swap": lambda: swap_words(source, edit, change.keep_words), "replace": lambda: replace_words(source, edit),
                  "refine": lambda: refine_words(source, edit)}[method.word_edit]()
    factors = reweight(edit, dict(change.weights))
    return [at_step(token_edit, factors, row) if row.any() else None for row in opened]


def _spared_tokens(source: Prompt, edit: Prompt, change: Edit) -> tuple[list[int], list[int]]:
    """Tokens of the subtracted words in either prompt; one that neither has is an error."""
    phrases = split_phrases(change.subtract_words)
    for phrase in phrases:
        if not source.find(phrase):
            edit.tokens_of(phrase, "subtract words")
    return [t for phrase in phrases for t in source.find(phrase)], [t for phrase in phrases for t in edit.find(phrase)]


def _blend_tokens(source_prompt, edit_prompt, change: Edit) -> tuple[list[int], list[int]]:
    """Tokens of the changed words in either prompt: those named, else those without a partner in the other prompt."""
    found = []
    shared = list(zip(*align_words(source_prompt, edit_prompt))) or [(), ()]
    for prompt, kept, phrases, name in ((source_prompt, shared[0], change.source_words, "source words"), (edit_prompt, shared[1], change.edit_words, "edit words")):
        if phrases.strip():
            tokens = [t for phrase in split_phrases(phrases) for t in prompt.tokens_of(phrase, name)]
        else:
            tokens = [t for i, (a, b) in enumerate(prompt.spans) if i not in kept for t in range(a, b)]
        found.append(tokens)
    if not found[0] and not found[1]:
        raise LiveError(f"edit prompt: {edit_prompt.text!r} has the same words as the source prompt, so there is nothing to look for; "
                        "change a word, or name source words and edit words")
    return found[0], found[1]
