"""The one edit loop: from a clip's inverted noise to the edited clip, under whatever a `Method` asks for."""
from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from . import LiveError
from .attention import AttentionPlan, SelfInjection, WordInjection, WordTap
from .concept import check_reference
from .diffusion import Callback
from .inversion import Inversion, latent_prompt_of, record_of, source_stream
from .masks import blend, blend_mask, edit_mask, resize_mask, word_mask
from .methods import Method
from .notes import note
from .pretrained import LiveModel
from .prompts import PLACEHOLDER, Prompt, align_words, at_step, place_words, read_prompt, refine_words, replace_words, reweight, split_phrases, swap_words, word_windows
from .records import FUSION, LOCAL_BLEND, SELF_STEPS, Records, SideRecorder, evenly
from .stores import RamStore
from .streams import Chain, Stream, guided, predict


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
    """`latents` (f, c, h, w); `mask` (f, H, W), 0 or 1, at pixel size: the final word mask, all ones without local blend. It is not
    grown: a cell of its map is many pixels, and the compositor grows it in pixels. `records`: what attention did, for `inspect.py`."""
    latents: torch.Tensor
    mask: torch.Tensor
    records: Records


@torch.no_grad()
def edit(model: LiveModel, inversion: Inversion, change: Edit, method: Method | None = None,
         callback: Callback = lambda step, total, latents: None, mask: torch.Tensor | None = None) -> Edited:
    """Run `method` (by default the one the clip was inverted for) from the inverted noise.

    Rows of the batch: the source where it is reconstructed beside the edit, guided too if the inversion has null text, else by its
    conditional prediction alone (DESIGN 4); then the edit's, from the unconditional to the conditional one (`_streams`). A source that is the inversion itself
    runs by itself before each step, unless a store has kept it. `mask` (f or 1, H, W), 0..1, at pixel size: where the edit may
    change the clip, besides what local blend finds. A mask that ends empty is warned of: the clip then stays as it is.
    Raises LiveError for words that are not in their prompt, whatever the method does with them, and for an inversion by another base.
    """
    method = method or inversion.method
    if not method.sees_as(inversion.method):
        raise LiveError(f"method: {method.name!r} sees other frames than {inversion.method.name!r}, which the clip was inverted for; invert it again")
    _check_model(model, inversion, method)
    schedule, unet, steps = model.schedule, model.unet, inversion.steps
    concepts = model.tuning.concepts if model.tuning else ()
    source_prompt = read_prompt(inversion.prompt, model.tokenizer)
    placeholders = tuple(c.placeholder for c in concepts)
    edit_prompt = read_prompt(change.prompt, model.tokenizer, placeholders)
    _check_words(source_prompt, edit_prompt, change, placeholders)

    first = method.first_step(steps)
    if first == steps:
        raise LiveError(f"start: {method.start} skips all {steps} steps; give less than 1")
    x = inversion.latents[steps - first].to(unet.device)
    size, map_size = x.shape[-2:], unet.map_tokens(*x.shape[-2:])
    pixels = tuple(side * model.pixels_per_latent for side in size)
    given = None if mask is None else edit_mask(mask, len(x), pixels).to(x)
    token_edits = word_edits(method, source_prompt, edit_prompt, change, steps)
    finding, blending = method.blend_threshold is not None, method.blend_threshold is not None or given is not None
    finds_queries = method.self_blend_threshold is not None and len(method.self_steps(steps)) > 0
    blend_tokens = _blend_tokens(source_prompt, edit_prompt, change) if finding or finds_queries else ([], [])
    subtracted_tokens = _subtracted_tokens(source_prompt, edit_prompt, change)
    sides = {"both": slice(0, 2), "source": slice(0, 1), "edit": slice(1, 2)}[method.mask_from]
    if finding and given is None and not any(blend_tokens[sides]):
        raise LiveError(f"mask from: {method.mask_from!r}, whose prompt has no changed word to find, so the mask would be empty; "
                        f"name {method.mask_from} words, or take the mask from 'both'")

    injects = any(token_edits) or method.self_ratio > 0
    needs_source = blending or injects
    streams, chain = _streams(model, inversion, change, method, needs_source, x)
    rows = {stream.name: i for i, stream in enumerate(streams)}
    edit_row = rows["conditional"]
    source = _Source(model, inversion, method, rows.get("source"), needs_source, injects)
    tap = WordTap(map_size[0] * map_size[1], before_injection=method.source == "inversion", rows=(edit_row,) if source.row is None else (edit_row, source.row))
    shift = int(method.latent_prompt)
    of_source, of_edit = SideRecorder(source_prompt, shift), SideRecorder(edit_prompt, shift)
    self_steps = evenly(range(first, steps), SELF_STEPS)
    masks: dict[str, dict[int, torch.Tensor]] = {LOCAL_BLEND: {}, FUSION: {}}

    def mask_of(size: tuple[int, int], grow: int, smooth: bool = False) -> torch.Tensor:
        found = torch.zeros(x.shape[0], *size).to(x)
        if finding:
            maps = (source.maps(tap)[shift:], tap.maps[0][shift:])
            found = blend_mask(maps[sides], blend_tokens[sides], subtracted_tokens[sides], map_size, size, method.blend_threshold, method.subtract_threshold, smooth,
                               grow, method.mask_neighbours)
        return found if given is None else torch.maximum(found, resize_mask(given, size))

    def query_masks() -> dict[int, torch.Tensor] | None:
        maps = source.maps(tap) if finds_queries else None
        if maps is None:
            return None
        return {h * w: word_mask(maps, blend_tokens[0], map_size, (h, w), method.self_blend_threshold).flatten(1) for h, w in unet.sizes(*size)}

    with unet.overlay(model.tuning.tensors if model.tuning else {}):
        for i, t in list(enumerate(schedule.timesteps(steps)))[first:]:
            tap.self_attention = i in self_steps
            source.before(i, t, tap.self_attention)
            words = (WordInjection(edit_row, source.row, *token_edits[i], method.cross_max_tokens),) if token_edits[i] else ()
            selves = ()
            if i in method.self_steps(steps):
                own = query_masks()
                selves = (SelfInjection(edit_row, source.row, method.self_target != "temporal", method.self_target != "spatial", method.self_max_tokens, own),)
                if own is not None:
                    masks[FUSION][i] = own[size[0] * size[1]][shift:].unflatten(-1, size).bool().cpu()
            plan = AttentionPlan(method.frames, words=words, selves=selves, tap=tap, store=source.store, step=i)
            noise = predict(unet, streams, {"source": source.x, "edit": x}, t, i, plan)
            x = schedule.denoise(x, guided(noise, chain), t, steps)
            source.after(i, t, noise)
            of_edit.step(tap.acted[0])
            if needs_source:
                of_source.step(source.acted(tap))
            if blending and i in method.blend_steps(steps):
                allowed = mask_of(size, method.mask_grow)
                x = blend(source.x, x, allowed)
                masks[LOCAL_BLEND][i] = allowed.bool().cpu()
            callback(i + 1, steps, x)
    records = Records(method.name, steps, first, map_size, of_source.side(source.self_maps(tap)), of_edit.side(tap.self_maps[0]), masks)
    final = mask_of(pixels, 0, smooth=True) if blending else torch.ones(x.shape[0], *pixels)
    if not final.any():
        note("mask: it is empty, so the clip stays as it is; subtract fewer words, or draw a larger mask")
    return Edited(x, final.cpu(), records)


class _Source:
    """The source beside an edit: its latents `x` at the edit's step, its word maps, and where its queries and keys are to be read."""

    def __init__(self, model: LiveModel, inversion: Inversion, method: Method, row: int | None, needed: bool, injects: bool):
        self.model, self.inversion, self.method, self.row, self.needed, self.injects = model, inversion, method, row, needed, injects
        self.x = inversion.latents[inversion.steps - method.first_step(inversion.steps)].to(model.unet.device)
        self.stream = source_stream(model, method, inversion.prompt, inversion.latents[0].to(self.x))
        self.store = inversion.store
        self.step_maps: torch.Tensor | None = None                # (F, tokens, L) of the step, where they do not come from the batch
        self._sum: torch.Tensor | None = None
        self._self_sum: torch.Tensor | None = None                # (1, F, n, n), of an inversion that is run by itself

    def before(self, i: int, t: int, self_attention: bool) -> None:
        """A source that is the inversion: its latents and attention of the step, from the store or computed now (then, if asked, `self_attention` for the records)."""
        if not self.needed or self.row is not None:
            return
        if self.method.source == "inversion":
            self.x = self.inversion.latents[self.inversion.steps - 1 - i].to(self.x)
            if self.inversion.store is None:
                self.store = RamStore()                           # holds one step
                height, width = self.model.unet.map_tokens(*self.x.shape[-2:])
                tap = WordTap(height * width, self_attention=self_attention, self_maps=self._self_sum)
                plan = AttentionPlan(self.method.frames, tap=tap, record=record_of(self.method, self.store) if self.injects else None, step=i)
                predict(self.model.unet, [self.stream], {"source": self.x}, t, i, plan)
                self.step_maps, self._self_sum = tap.maps[0], tap.self_maps
                return
        self.step_maps = self.store.read(f"{i:04d}/maps").to(self.x)
        self._sum = self.step_maps if self._sum is None else self._sum + self.step_maps

    def after(self, i: int, t: int, noise: dict[str, torch.Tensor]) -> None:
        """A source that is reconstructed: its latents after the step."""
        if self.row is not None:
            chain = [(name, self.method.guidance_scale) for name in ("source unconditional", "source") if name in noise]
            self.x = self.model.schedule.denoise(self.x, guided(noise, chain), t, self.inversion.steps)
        elif self.needed and self.method.source == "reconstruction":
            self.x = self.store.read(f"{i:04d}/latents").to(self.x)

    def maps(self, tap: WordTap) -> torch.Tensor | None:
        """What a mask reads: a reconstruction's maps so far, None before the first, or the inversion's of this step alone (FateZero)."""
        if self.row is not None:
            return None if tap.maps is None else tap.maps[1]
        return self.step_maps if self.method.source == "inversion" else self._sum

    def acted(self, tap: WordTap) -> torch.Tensor:
        """(F, n, L): the step's own word maps."""
        return self.step_maps if self.row is None else tap.acted[1]

    def self_maps(self, tap: WordTap) -> torch.Tensor | None:
        """(F, n, n): the sum of self-attention over the steps, None where the source did not run."""
        if self.row is not None:
            return tap.self_maps[1]
        return None if self._self_sum is None else self._self_sum[0]


def _streams(model: LiveModel, inversion: Inversion, change: Edit, method: Method, needs_source: bool, x: torch.Tensor) -> tuple[list[Stream], Chain]:
    """The rows of the batch, and the chain that guides the edit: "unconditional" (no words, the unconditional latent prompt), "wordless" (no
    words, the edit's latent prompt) and "conditional"; one of the first two that would cancel out is not run."""
    concepts = model.tuning.concepts if model.tuning else ()
    seat = latent_prompt_of(model, method, inversion.latents[0].to(x))
    if method.latent_prompt and concepts:
        check_reference(concepts[0], x)
    seats = {"trained": seat, "reference": concepts[0].reference[0].to(x) if method.latent_prompt and concepts else seat}
    empty = model.encode_text("")
    null = empty if inversion.null_text is None else inversion.null_text.to(empty)
    streams = []
    if needs_source and inversion.store is None and method.source == "reconstruction":
        streams.append(Stream("source", "source", model.encode_text(inversion.prompt), seat))
        if inversion.null_text is not None and method.guidance_scale != 1:
            streams.append(Stream("source unconditional", "source", null, seat))
    without = empty if method.decoupled_guidance else null
    own, other = seats[method.edit_latent_prompt], seats[method.unconditional_latent_prompt]
    w = method.guidance_scale
    s = 1.0 if own is other else w if method.image_guidance_scale is None else method.image_guidance_scale
    chain = [*([("unconditional", 1.0)] if s != 1 else []), *([("wordless", s)] if s != w else []), ("conditional", w)]
    edits = {"unconditional": (without, other), "wordless": (without, own), "conditional": (model.encode_text(change.prompt, concepts), own)}
    return streams + [Stream(name, "edit", *edits[name]) for name, _ in chain], chain


def word_edits(method: Method, source: Prompt, edit: Prompt, change: Edit, steps: int) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
    """The word injection's (mapping, keep) at every step, weights and windows applied; None where no word's window is open."""
    if change.keep_words is not None and method.word_edit != "swap":
        raise LiveError(f"keep words: {change.keep_words!r}, but {method.word_edit!r} takes its words by itself; leave them out or choose word_edit 'swap'")
    opened = word_windows(edit, steps, (0, method.cross_ratio), dict(change.windows))
    if not opened.any():
        return [None] * steps
    token_edit = {"swap": lambda: swap_words(source, edit, change.keep_words), "replace": lambda: replace_words(source, edit),
                  "refine": lambda: refine_words(source, edit)}[method.word_edit]()
    placed = place_words(source, edit, token_edit)
    factors = reweight(edit, dict(change.weights))
    return [at_step(placed if i in method.place_steps(steps) else token_edit, factors, row) if row.any() else None for i, row in enumerate(opened)]


def _check_model(model: LiveModel, inversion: Inversion, method: Method) -> None:
    """LiveError for an inversion by another base; a warning for one by another tuning, or with null text of another guidance scale."""
    if inversion.base != model.fingerprint:
        raise LiveError(f"inversion: it was made with a base of fingerprint {inversion.base}, and this model is {model.name!r} (fingerprint {model.fingerprint}); "
                        "give Invert Video and Edit Video the same model")
    if inversion.tuning != model.tuning_fingerprint:
        note("inversion: the clip was inverted with another tuning than the edit has, so it may not come back where nothing changes; give both the same model")
    if inversion.null_text is not None and inversion.null_guidance != method.guidance_scale:
        note(f"guidance scale: {method.guidance_scale:g}, but null text was found at {inversion.null_guidance:g}, so the clip does not come back under it; "
             "use one for both")


def _check_words(source: Prompt, edit: Prompt, change: Edit, placeholders: tuple[str, ...]) -> None:
    """LiveError for a phrase that is not in its prompt, whether the method reads it or not, and for a placeholder that no photo is bound to."""
    for name in re.findall(PLACEHOLDER, edit.text):
        if name not in edit.words:
            raise LiveError(f"edit prompt: {name!r} stands for no photo here, or comes after the last token that the model reads; "
                            f"placeholders of this model's tuning: {', '.join(placeholders) or 'none'}")
    keep = split_phrases(change.keep_words or "")
    for prompt, phrases, name in ((source, split_phrases(change.source_words), "source words"), (edit, split_phrases(change.edit_words), "edit words"),
                                  (source, keep, "keep words"), (edit, keep, "keep words"), (edit, [word for word, _ in change.weights], "word weights"),
                                  (edit, [word for word, _ in change.windows], "word windows")):
        for phrase in phrases:
            prompt.tokens_of(phrase, name)


def _subtracted_tokens(source: Prompt, edit: Prompt, change: Edit) -> tuple[list[int], list[int]]:
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
                        "change a word, name source words and edit words, or set blend threshold and self blend threshold to 0")
    return found[0], found[1]
