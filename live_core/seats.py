"""What is in the latent prompt's seat: what Tune Video trained, a photo's latent, or before any tuning the clip's first
frame; and what is said where a method asks for one that is not there."""

from __future__ import annotations

import torch

from . import LiveError
from .checks import quoted
from .concept import check_reference
from .methods import Method
from .notes import note
from .pretrained import LiveModel
from .prompts import Prompt


def latent_prompt_of(model: LiveModel, method: Method, clip: torch.Tensor) -> torch.Tensor | None:
    """The trained latent prompt (c, h, w) when the method has one; the first frame of `clip` (f, c, h, w) before any
    tuning."""
    if not method.latent_prompt:
        return None
    trained = model.tuning.latent_prompt if model.tuning else None
    if trained is not None and trained.shape != clip.shape[1:]:
        raise LiveError(
            f"tuning: its latent prompt is {tuple(trained.shape)} and the clip's latents are {tuple(clip.shape[1:])};"
            " tune on a clip of this size"
        )
    return clip[0] if trained is None else trained.to(clip)


def note_untrained(model: LiveModel, method: Method) -> None:
    """A note for a method with a latent prompt where none was trained."""
    if method.latent_prompt and (model.tuning is None or model.tuning.latent_prompt is None):
        tuning = "is not tuned" if model.tuning is None else "was tuned without one"
        note(
            f"method: {method.name!r} has a latent prompt, and the model {tuning}, so the clip's first frame takes its"
            f" seat; give the model of Tune Video, tuned for {method.name!r}"
        )


def seats_of(
    model: LiveModel, method: Method, prompt: Prompt, clip: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The latent prompts (c, h, w) of an edit's own stream and of the one that its guidance starts from. The photo is
    that of the first concept that the edit's `prompt` names. Noted are a photo that is asked for and not there, and
    image guidance between seats that hold the same."""
    trained = latent_prompt_of(model, method, clip)
    concepts = model.tuning.concepts if model.tuning and method.latent_prompt else ()
    photo = next((concept for concept in concepts if prompt.find(concept.placeholder)), None)
    if photo is not None:
        check_reference(photo, clip)
    seats = {"trained": trained, "reference": trained if photo is None else photo.reference[0].to(clip)}
    own, other = seats[method.edit_latent_prompt], seats[method.unconditional_latent_prompt]
    if photo is None:
        _note_no_photo(method, prompt)
    if own is other and method.image_guidance_scale not in (None, 1):
        note(
            f"image guidance scale: {method.image_guidance_scale:g} is not read, since both streams have the same"
            " latent prompt; give 0, or have the photo's in one of them"
        )
    return own, other


def _note_no_photo(method: Method, prompt: Prompt) -> None:
    asking = [
        name
        for name, seat in (
            ("edit latent prompt", method.edit_latent_prompt),
            ("unconditional latent prompt", method.unconditional_latent_prompt),
        )
        if seat == "reference"
    ]
    if asking and not method.latent_prompt:
        note(f"{asking[0]}: 'reference', but {method.name!r} has no latent prompt; choose 'trained', or method live")
    elif asking:
        note(
            f"{asking[0]}: 'reference', but {quoted(prompt.text)} names no photo, so the trained one stays; choose"
            " 'trained', or put a photo's placeholder into the edit prompt"
        )
