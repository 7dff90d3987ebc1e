"""Measures of an edited clip against the true answer, which the sprite world can draw: one idea a module.

Frames are (f, H, W, 3) uint8 of any size. Lengths, a halo of 6 pixels say, are pixels of a picture of 128 and grow with
the picture (`places.scale`), and so does a distance that is given back; only SSIM's window is 11 pixels of the picture
itself, as it is everywhere.

What a number means is seen beside two rows: the unedited clip's, and the *ceiling*'s, the true answer through the
autoencoder, which the best edit by that model would have. Steadiness and edge mean nothing without the latter.
"""

from __future__ import annotations

import numpy as np

from ..cases import Case
from .background import far_pixels_off, far_ssim, gated_total, psnr
from .errors import edit_error, ghost, object_error, residue
from .judge import candidates, nearest, shown
from .motion import motion_error, temporal_consistency
from .outline import edge, steadiness
from .places import scale, touched
from .recognition import recognised

__all__ = [
    "MEASURES",
    "VIEWED",
    "candidates",
    "measure",
    "nearest",
    "psnr",
    "recognised",
    "scale",
    "shown",
    "temporal_consistency",
    "touched",
]

# By what a viewer sees. 1: more is better; -1: less is.
VIEWED = {
    "recognised": 1,
    "edit_error": -1,
    "residue": -1,
    "ghost": -1,
    "steadiness": -1,
    "edge": 1,
    "far_ssim": 1,
    "far_pixels_off": -1,
    "gated_total": 1,
}
MEASURES = {
    "object_accuracy": 1,
    "object_error": -1,
    "motion_error_px": -1,
    "background_psnr_db": 1,
    "temporal_consistency": 1,
    **VIEWED,
}


def measure(case: Case, edited: np.ndarray, source: np.ndarray | None = None) -> dict[str, float]:
    """All of `MEASURES` of one edited clip. Those of things are means over the swapped ones. `source`: the clip as the
    editor was given it, where that is not as it was drawn (a codec makes 1 % of all pixels visibly off); what should
    not change is compared with it.
    """
    source = case.clip.frames() if source is None else source
    which = range(len(case.swaps))
    similar = far_ssim(case, edited, source)
    seen = [shown(case, edited, k) for k in which]

    def things(one) -> float:
        return float(np.mean([one(case, edited, k) for k in which]))

    return {
        "object_accuracy": float(np.mean([np.mean(list(frames.values())) for frames in seen])),
        "object_error": things(object_error),
        "motion_error_px": things(motion_error),
        "background_psnr_db": psnr(source, edited, ~touched(case)),
        "temporal_consistency": temporal_consistency(edited),
        "recognised": things(recognised),
        "edit_error": things(edit_error),
        "residue": things(residue),
        "ghost": things(ghost),
        "steadiness": things(steadiness),
        "edge": things(edge),
        "far_ssim": float(similar.mean()),
        "far_pixels_off": far_pixels_off(case, edited, source),
        "gated_total": gated_total(seen, similar),
    }
