"""What the best edit by a model would measure: the true answer through its autoencoder, over the source in the true
mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..cases import Case
from .places import touched

if TYPE_CHECKING:
    from live_core.pretrained import LiveModel


def ceiling(
    case: Case, model: LiveModel, source: np.ndarray, dilation: int, blur: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (f, H, W, 3) uint8, with `source` outside the mask grown by `dilation` and blurred by `blur` pixels; and
    before that composite.
    """
    import torch

    from live_core.compositing import composite, soften

    from ..frames import to_frames, to_pictures

    pictures = model.decode_frames(model.encode_frames(to_pictures(case.truth.frames())))
    mask = soften(torch.from_numpy(touched(case)).float(), dilation, blur)
    return to_frames(composite(to_pictures(source), pictures, mask)), to_frames(pictures)
