"""The one edit loop: from a clip's inverted noise to the edited clip, under whatever a `Method` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from . import LiveError
from .agreement import Agree
from .change import Asked, Edit, asked_of
from .denoising import Batch, denoise
from .diffusion import Callback
from .fresh_noise import renewed
from .inversion import NARROW, Inversion, check_made_by, note_other_frames
from .masks import NEARLY_ALL, Finder, edit_mask
from .memory import one_run, with_less
from .methods import Method
from .notes import note
from .pretrained import LiveModel
from .records import FUSION, LOCAL_BLEND, Records, self_steps
from .seats import note_untrained, seats_of
from .sources import source_of
from .steering import InjectSelf, InjectWords, LocalBlend, Part, Recorder
from .streams import Chain, Stream, alike, common_length
from .taps import WordTap
from .things import Thing, things_of
from .token_edits import TokenEdit
from .tokenflow import self_attention_of


@dataclass(frozen=True)
class Edited:
    """`latents` (f, c, h, w); `mask` (f, H, W), 0 or 1, at pixel size: the final word mask, all ones without local
    blend. It is not grown: a cell of its map is many pixels, and the compositor grows it in pixels. `records`: what
    attention did, for `inspect.py`. `looked_for`: the words of the clip's prompt and of the edit's whose places masks
    were read from, "" where none were.
    """

    latents: torch.Tensor
    mask: torch.Tensor
    records: Records
    looked_for: tuple[str, str] = ("", "")


@one_run()
@torch.no_grad()
def edit(
    model: LiveModel,
    inversion: Inversion,
    change: Edit,
    method: Method | None = None,
    callback: Callback = lambda step, total, latents: None,
    mask: torch.Tensor | None = None,
) -> Edited:
    """Run `method` (by default the one the clip was inverted for) from the inverted noise.

    Rows of the batch: the source where it is reconstructed beside the edit (`sources.Beside`), then the edit's, from
    the unconditional to the conditional one (`edit_streams`). `mask` (f or 1, H, W), 0..1, at pixel size: where the
    edit may change the clip, besides what local blend finds. A mask that ends empty is noted: the clip then stays as it
    is. Raises LiveError for words that are not in their prompt, whatever the method does with them, and for an
    inversion by another base.
    """
    method = method or inversion.method
    check_inversion(model, inversion, method)
    concepts = model.tuning.concepts if model.tuning else ()
    asked = asked_of(model, inversion.prompt, change, concepts)
    first, total = _steps(method, inversion)
    x = inversion.at(first).to(model.unet.device)
    given = None if mask is None else edit_mask(mask, len(x), pixels_of(model, x)).to(x)
    things = changed_things(model, inversion, method, asked)
    x = renewed(x, things, method.fresh_noise, method.noise_seed)
    blends = method.blend_threshold is not None or given is not None
    token_edits = asked.token_edits(method, total)
    injects_words = any(token_edits)

    unet = model.unet
    reads_source = blends or injects_words or method.self_ratio > 0 or method.segment_length is not None
    source = source_of(
        model, inversion, method, reads_source, injects_words, steps_that_read(method, token_edits, first)
    )
    of_edit, chain = edit_streams(model, inversion, asked, method, x)
    guided = method.guidance_steps(total)
    streams = [*source.streams, *of_edit]
    streams = streams if len(guided) == total else alike(streams)  # whatever runs at a step has as many tokens
    tap = WordTap(unet.map_level, before_injection=method.source == "inversion")
    sought = words_to_find(asked, method, given is not None, total)
    asked.note_unsought(method, sought)
    note_intervals(method, blends, chain, first, total)
    finder = Finder(
        method,
        lambda: (source.maps(tap), None if tap.maps is None else tap.maps[0]),
        model.map_size(x),
        (asked.source.tokens_in(sought[0]), asked.edit.tokens_in(sought[1])),
        asked.spared(),
        given,
    )
    tokens = common_length(streams)
    words = InjectWords(
        method, unet, token_edits, source.row, (len(asked.source.ids) if source.row is None else tokens, tokens)
    )
    selves = InjectSelf(method, unet, source.row, lambda: finder.own_queries(unet.sizes(*x.shape[-2:])))
    blending = LocalBlend(method, finder, lambda: source.latents)
    recorder = Recorder(
        tap,
        source.tapped,
        self_steps(first, total),
        (asked.source, asked.edit),
        int(method.latent_prompt),
        lambda: source.acted(tap),
    )
    flowing = self_attention_of(method, unet, source, x, selves)
    agreeing = Agree(method, model.schedule, things)
    parts: list[Part] = [recorder, source, words, agreeing, *([blending] if blends else []), flowing]

    with unet.overlay(model.tuning.tensors if model.tuning else {}):
        x = denoise(
            unet,
            model.schedule,
            x,
            Batch(streams, chain, [method.frame_plan] * total, lambda: {"source": source.latents}, guided),
            parts,
            first,
            callback,
            f"give less than {method.guidance_scale:g} as guidance scale, or {NARROW}",
        )

    final = _final_mask(finder, pixels_of(model, x)) if blends else torch.ones(len(x), *pixels_of(model, x))
    note_extremes(final, method.blend_threshold is not None)
    sides = recorder.sides(source.self_maps(tap))
    records = Records(
        method=method.name,
        steps=total,
        first=first,
        map_size=model.map_size(x),
        source=sides[0],
        edit=sides[1],
        masks={LOCAL_BLEND: blending.masks, FUSION: selves.finest_masks(x.shape[-2:])},
        size=pixels_of(model, x),
    )
    return Edited(x, final, records, (asked.source.phrases(sought[0]), asked.edit.phrases(sought[1])))


def _steps(method: Method, inversion: Inversion) -> tuple[int, int]:
    """The first of the inversion's steps that the method takes, and how many there are."""
    first, total = method.first_step(inversion.steps), inversion.steps
    if first == total:
        raise LiveError(f"start: {method.start} skips all {total} steps; give less than 1")
    return first, total


def changed_things(model: LiveModel, inversion: Inversion, method: Method, asked: Asked) -> list[Thing]:
    """The things whose noise is fresh and on which frames agree, where either is asked for. A note where the clip's
    prompt names none that changes."""
    asking = [name for name in ("fresh_noise", "agree_ratio") if getattr(method, name) > 0]
    if not asking:
        return []
    words, _ = asked.looked_for()
    if not words:
        note(
            f"{asking[0].replace('_', ' ')}: {getattr(method, asking[0]):g}, but no word of the clip's prompt changes,"
            " so there is no old thing to look for; name it in source words, or give 0"
        )
        return []
    return things_of(model, inversion, method, asked.source, words)


def steps_that_read(method: Method, token_edits: Sequence[TokenEdit | None], first: int) -> list[int]:
    """The steps from `first` on at which an edit reads its source's attention: to inject it, or to find words for a
    mask; the last mask of all is found after the last step."""
    total = len(token_edits)
    masked = {*method.blend_steps(total), total - 1} if method.blend_threshold is not None else set()
    injected = {i for i, edit in enumerate(token_edits) if edit is not None}
    return sorted(step for step in masked | injected | set(method.self_steps(total)) if step >= first)


def note_intervals(method: Method, blends: bool, chain: Chain, first: int, total: int) -> None:
    """Note a mask, found or given, that acts after none of the steps from `first` on, and guidance at none of them."""
    if blends and not any(step >= first for step in method.blend_steps(total)):
        note(
            f"blend start, blend end: {method.blend_start:g} to {method.blend_end:g} holds none of the {total - first}"
            " steps, so no mask keeps the clip; widen it, or take more steps"
        )
    if len(chain) > 1 and not any(step >= first for step in method.guidance_steps(total)):
        note(
            f"guidance start, guidance end: {method.guidance_start:g} to {method.guidance_end:g} holds none of the"
            f" {total - first} steps, so nothing guides the edit; widen it, or take more steps"
        )


def note_extremes(mask: torch.Tensor, spares: bool) -> None:
    """Note a mask that keeps all of the clip, or, where it `spares` some by what was asked, next to nothing."""
    if not mask.any():
        note("mask: it is empty, so the clip stays as it is; subtract fewer words, or draw a larger mask")
    elif spares and mask.mean() >= NEARLY_ALL:
        note(
            "mask: it covers the whole picture, so nothing of the clip's background is kept; raise the blend threshold,"
            " name source words and edit words of a smaller thing, or draw a smaller mask"
        )


def _final_mask(finder: Finder, size: tuple[int, int]) -> torch.Tensor:
    """(f, *size), 0 or 1, in main memory."""
    return with_less(
        "the mask",
        [
            ("", lambda: finder.mask(size, 0, smooth=True).cpu()),
            ("on the CPU", lambda: finder.mask(size, 0, smooth=True, device="cpu")),
        ],
    )


def edit_streams(
    model: LiveModel, inversion: Inversion, asked: Asked, method: Method, x: torch.Tensor
) -> tuple[list[Stream], Chain]:
    """The edit's rows of the batch, and the chain that guides it: "unconditional" (no words, the unconditional latent
    prompt), "wordless" (no words, the edit's latent prompt) and "conditional"; one of the first two that would cancel
    out is not run. "No words" are a negative prompt's, where there is one."""
    concepts = model.tuning.concepts if model.tuning else ()
    own, other = seats_of(model, method, asked.edit, inversion.at(inversion.steps).to(x))
    null = None if method.decoupled_guidance else inversion.null_text
    negative = asked.change.negative_prompt.strip()
    if negative and null is not None:
        raise LiveError(
            f"negative prompt: {negative!r}, but the inversion's null text takes its place; leave it empty, give Invert"
            " Video's inversion, or choose decoupled guidance, by which null text guides the clip alone"
        )
    without = model.encode_text(negative, concepts)
    if null is not None:
        without = null.to(without)
    w = method.guidance_scale
    s = 1.0 if own is other else w if method.image_guidance_scale is None else method.image_guidance_scale
    chain = [*([("unconditional", 1.0)] if s != 1 else []), *([("wordless", s)] if s != w else []), ("conditional", w)]
    if negative and chain[0][0] == "conditional":
        note(f"negative prompt: {negative!r} is not read at a guidance scale of 1; give more")
    edits = {
        "unconditional": (without, other),
        "wordless": (without, own),
        "conditional": (model.encode_text(asked.edit.text, concepts), own),
    }
    return [Stream(name, "edit", *edits[name]) for name, _ in chain], chain


def words_to_find(asked: Asked, method: Method, masked: bool, steps: int) -> tuple[list[int], list[int]]:
    """The words, in either prompt, whose places masks need. LiveError where a mask could find nothing, unless one is
    given (`masked`)."""
    finds_queries = method.self_blend_threshold is not None and len(method.self_steps(steps)) > 0
    if method.blend_threshold is None and not finds_queries:
        return [], []
    source, edit = asked.looked_for()
    if method.blend_threshold is None or method.mask_from == "source":
        edit = []
    elif method.mask_from == "edit" and not finds_queries:
        source = []
    looked_at = {"both": source + edit, "source": source, "edit": edit}[method.mask_from]
    if method.blend_threshold is not None and not masked and not looked_at:
        raise LiveError(
            f"mask from: {method.mask_from!r}, whose prompt has no changed word to find, so the mask would be empty; "
            f"name {method.mask_from} words, or take the mask from 'both'"
        )
    return source, edit


def pixels_of(model: LiveModel, latents: torch.Tensor) -> tuple[int, int]:
    """(height, width) in pixels of latents (..., h, w)."""
    height, width = (side * model.pixels_per_latent for side in latents.shape[-2:])
    return height, width


def check_inversion(model: LiveModel, inversion: Inversion, method: Method) -> None:
    """LiveError for an inversion by another base, or for a method that sees other frames; a note for one by another
    tuning, or with null text of another guidance scale.
    """
    if not method.sees_as(inversion.method):
        raise LiveError(
            f"method: {method.name!r} sees other frames than {inversion.method.name!r}, which the clip was inverted"
            " for; invert it again"
        )
    check_made_by(model, inversion, "Edit Video")
    note_other_frames(model.tuning, method)
    note_untrained(model, method)
    if inversion.null_text is not None and inversion.null_tuning != model.tuning_fingerprint:
        note(
            "inversion: its null text was found with another tuning than Edit Video has, so the clip may not come back"
            " under it; give Null-Text Inversion and Edit Video the same model"
        )
    if inversion.null_text is not None and inversion.null_guidance != method.guidance_scale:
        note(
            f"guidance scale: {method.guidance_scale:g}, but null text was found at {inversion.null_guidance:g}, so the"
            " clip does not come back under it; use one for both"
        )
