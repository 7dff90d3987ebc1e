"""What a placeholder learns from, and by how many vectors: rows of the bench on photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from demo.cases import Case, Swap
from demo.frames import to_pictures
from demo.world import make_reference
from live_core.bind_settings import BindSettings
from live_core.concept import Concept, bind
from live_core.pictures import cut_out
from live_core.pretrained import LiveModel
from live_core.views import with_crops

OTHER_PHOTOS = 2_700_000_000  # their seeds: no case's, and none of training


@dataclass(frozen=True)
class Binding(BindSettings):
    """A binding to `photos` of the thing, the case's own first, the scene around it left out if `masked`."""

    photos: int = 1
    masked: bool = False


ONE_PHOTO = Binding()
# By name, with what is asked.
BINDINGS = {
    "vectors-2": (Binding(vectors=2), "two vectors for the placeholder"),
    "vectors-4": (Binding(vectors=4), "four vectors for the placeholder"),
    "photos-4": (Binding(photos=4), "four photos of the thing"),
    "crops-4": (Binding(crops=4), "the photo and four crops of it"),
    "flips": (Binding(flips=True), "the photo and its mirror image"),
    "masked": (Binding(masked=True), "the thing alone is learned, not the scene around it"),
    "masked-vectors-4": (Binding(vectors=4, masked=True), "the thing alone is learned, by four vectors"),
    "all-vectors-4": (
        Binding(vectors=4, photos=4, crops=4, flips=True, masked=True),
        "all of these: four vectors, photos, crops, mirror images, masks",
    ),
}


def bound(model: LiveModel, case: Case, binding: Binding) -> tuple[Concept, ...]:
    concepts: tuple[Concept, ...] = ()
    for swap in case.swaps:
        photos, counts = _photos(swap, binding)
        views, counts = with_crops(photos, counts, binding.crops, binding.flips)
        concepts = bind(
            swap.placeholder,
            swap.initial_word,
            model.encode_frames(views),
            model.tokenizer,
            model.text_encoder,
            concepts,
            counts,
            vectors=binding.vectors,
        )
    return concepts


def _photos(swap: Swap, binding: Binding) -> tuple[torch.Tensor, torch.Tensor | None]:
    """As Bind Photo to Placeholder takes them: (n, H, W, 3), and what counts in each."""
    photos = [swap.photo, *(make_reference(swap.target, OTHER_PHOTOS + i) for i in range(1, binding.photos))]
    pictures = to_pictures(np.concatenate([photo.frames() for photo in photos]))
    if not binding.masked:
        return pictures, None
    masks = torch.from_numpy(np.concatenate([photo.masks(0) for photo in photos])).float()
    return cut_out(pictures, masks / masks.amax(), *pictures.shape[1:3])
