"""One-clip tuning (LIVE, section 3.3): by turns a step of each objective, until the shorter runs out."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from . import LiveError
from .bases import TEXT_TO_IMAGE
from .concept import Concept, check_reference
from .diffusion import Callback
from .held_back import HeldBack
from .learning import Losses, key_of, learn
from .memory import one_run
from .notes import note
from .objectives import ClipObjective, Learned, PhotoObjective
from .pretrained import LiveModel
from .tune_settings import TuneSettings
from .tunings import Tuning

DEFAULTS = TuneSettings()


@one_run()
def tune(
    model: LiveModel,
    clip: torch.Tensor,
    prompt: str,
    concepts: tuple[Concept, ...],
    settings: TuneSettings = DEFAULTS,
    callback: Callback = lambda step, total, latents: None,
    unfinished: Path | None = None,
    losses: Losses | None = None,
) -> Tuning:
    """Learn `clip` (f, c, h, w), scaled latents, described by `prompt`, and the concepts' photos.

    `callback(step, total, latents)` runs after every step and may raise to stop; the model is then as it was before.
    Its latents are the clip's, or its last window's, and then the photos', each as its last step left it: less the
    noise that the model saw in it; before its first step, as it is. In the folder `unfinished`, if given, a tuning that
    was stopped leaves a file named by its `tuning_key`, from which the same call goes on, to the same bits as if it had
    never stopped; the file goes away with the last step. The folder keeps the newest few. A file that cannot be read or
    written costs a warning, never the tuning. `losses`: two empty lists for those of the clip's and of the photos'
    steps, to be looked at as they grow.
    """
    model.check_base(TEXT_TO_IMAGE, "Tune Video")
    if settings.clip_steps + settings.photo_steps < 1:
        raise LiveError("steps: clip steps and photo steps are both 0; at least one must be positive")
    if not concepts and settings.photo_steps:
        raise LiveError(
            f"photo steps: {settings.photo_steps} asked for and no concept given; bind a photo or set photo steps to 0"
        )
    model.check_clip_prompt(prompt, concepts)
    model.check_concepts(concepts)
    for concept in concepts:
        check_reference(concept, clip)
    if concepts and not settings.photo_steps:
        note(
            f"photo steps: 0, so the photo of {concepts[0].placeholder!r} is not learned, and in prompts it means "
            f"{concepts[0].initial_word!r}; give it steps, or leave the concept out"
        )
    if model.tuning is not None:
        note(
            "model: it is tuned already, and Tune Video starts again from its base; connect Load LIVE Model, or use the"
            " tuning as it is"
        )
    with torch.inference_mode(False), torch.enable_grad():
        file = unfinished and unfinished / f"{tuning_key(model, clip, prompt, concepts, settings)}.safetensors"
        return _tune(model, clip.clone(), prompt, concepts, settings, callback, file, losses)


def tuning_key(
    model: LiveModel, clip: torch.Tensor, prompt: str, concepts: tuple[Concept, ...], settings: TuneSettings
) -> str:
    """A hash of everything that a tuning depends on."""
    with torch.no_grad():
        # What the prompt is to this text encoder, of which the fingerprint sees samples.
        text = model.encode_text(prompt)
    photos = (t for c in concepts for t in (c.views, c.vectors, c.mask) if t is not None)
    facts = [prompt, asdict(settings), [c.placeholder for c in concepts]]
    return key_of(model, facts, (clip, text, *photos))


def _tune(
    model: LiveModel,
    clip: torch.Tensor,
    prompt: str,
    concepts: tuple[Concept, ...],
    settings: TuneSettings,
    callback: Callback,
    file: Path | None,
    losses: Losses | None,
) -> Tuning:
    clip = clip.to(model.unet.device)
    learned = Learned(model, clip, concepts, settings)
    of_clip = ClipObjective(model, clip, prompt, settings, learned)
    of_photos = PhotoObjective(model, concepts, settings, learned)
    objectives, shown = (of_clip, of_photos), [clip[: of_clip.frames], *(views[:1] for views in of_photos.views)]
    held_back = HeldBack(model, objectives, learned, settings) if settings.stop_when_learned else None
    losses = learn(
        model, learned, objectives, _turns(settings), settings.seed, shown, callback, file, losses, held_back
    )
    if held_back is not None:
        held_back.say()
    seat = learned.latent_prompt
    return Tuning(
        tensors=learned.overlay() if settings.clip_steps or settings.temporal_in_photo_steps else {},
        latent_prompt=None if seat is None else seat.detach().cpu().clone(),
        concepts=tuple(
            replace(concept, vectors=vectors.detach().cpu().clone(), base=model.fingerprint)
            for concept, vectors in zip(concepts, learned.vectors, strict=True)
        ),
        prompt=prompt,
        base=model.fingerprint,
        settings=asdict(settings),
        losses=(tuple(losses[0]), tuple(losses[1])),
        base_name=model.name,
    )


def _turns(settings: TuneSettings) -> list[int]:
    """0 for a clip step, 1 for a photo step: by turns, then the rest of the longer."""
    clip, photo = settings.clip_steps, settings.photo_steps
    shared = min(clip, photo) if settings.alternate else 0
    return [0, 1] * shared + [0] * (clip - shared) + [1] * (photo - shared)
