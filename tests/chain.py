"""LIVE's chain on the demo model, small: a case, the shortest tuning, and what tests of its stages share; its fixtures
are in conftest.py.
"""

import torch

from demo.cases import CASES
from live_core.concept import bind
from live_core.pictures import cover
from live_core.tuning import TuneSettings

CASE = CASES["ball-to-star"]
FAST = TuneSettings(clip_steps=2, photo_steps=2, clip_rate=1e-3, latent_prompt_rate=1e-2, photo_rate=1e-2)


def frames(count: int = 3, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.from_numpy(CASE.clip.frames()[:count, :height, :width]).float() / 255


def bound(model, case, side: int, placeholder: str = "<thing*>", others=()):
    photo = torch.from_numpy(case.swaps[0].photo.frames()).float() / 255
    return bind(
        placeholder, "thing", model.encode_frames(cover(photo, side, side)), model.tokenizer, model.text_encoder, others
    )


def weights(model):
    return {n: p.clone() for n, p in model.unet.named_parameters()}


def assert_untouched(model, before):
    assert all(torch.equal(p, before[n]) and not p.requires_grad for n, p in model.unet.named_parameters())


def assert_same(a, b):
    assert a.tensors.keys() == b.tensors.keys() and all(torch.equal(t, b.tensors[n]) for n, t in a.tensors.items())
    assert (
        torch.equal(a.latent_prompt, b.latent_prompt)
        and torch.equal(a.concepts[0].vectors, b.concepts[0].vectors)
        and a.losses == b.losses
    )
