"""Pictures to latents and back, a frame at a time; when memory runs out by the CPU, to the same pictures, and at the
worst in tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

from .encoded import once
from .interrupts import heed
from .memory import Call, halves, on_cpu, one_run, plainly, with_less
from .transfers import sent

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

SMALLEST_TILE = 16  # cells; of fewer the networks see too little of the picture


@one_run()
@torch.no_grad()
def encode(vae: AutoencoderKL, frames: torch.Tensor) -> torch.Tensor:
    """Pictures (f, H, W, 3), 0..1, to the posterior's mean (f, c, h, w), float32."""

    def mean(moments: torch.Tensor) -> torch.Tensor:
        return moments.chunk(2, 1)[0]

    # What a shortage of memory gave is kept for nobody: with the memory for it, it would have been otherwise.
    return _encoded(vae, frames, mean, partial(once, vae))


@one_run()
@torch.no_grad()
def posterior(vae: AutoencoderKL, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (f, c, h, w), float32, of the latents of pictures (f, H, W, 3), 0..1, of which none
    is kept for another stage."""
    mean, log_variance = _encoded(vae, frames, lambda moments: moments, lambda _frame, compute: compute()).chunk(2, 1)
    return mean, (0.5 * log_variance.clamp(-30, 20)).exp()


def _encoded(
    vae: AutoencoderKL,
    frames: torch.Tensor,
    part: Callable[[torch.Tensor], torch.Tensor],
    whole: Callable[[torch.Tensor, Callable[[], torch.Tensor]], torch.Tensor],
) -> torch.Tensor:
    """`part` of the moments of pictures (f, H, W, 3). `whole` takes a frame and what encodes it with all memory."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def compute(picture: torch.Tensor, call: Call) -> torch.Tensor:
        moments = call(vae.encoder, picture)
        return part(moments if vae.quant_conv is None else call(vae.quant_conv, moments))

    out = []
    for frame in frames:
        heed()
        picture = sent(frame.permute(2, 0, 1)[None].float() * 2 - 1, vae.encoder.conv_in.weight)
        ways = _ways(compute, picture, (picture.shape[-2] // factor, picture.shape[-1] // factor), factor, 1)
        ways[0] = "", partial(whole, frame, ways[0][1])
        out.append(with_less("the autoencoder (pictures to latents)", ways).to(vae.device, torch.float32))
    return torch.cat(out)  # a copy: what `once` gave is read alone


@one_run()
@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Latents (f, c, h, w) to pictures (f, H, W, 3), about 0..1, float32, in main memory."""
    factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def picture(z: torch.Tensor, call: Call) -> torch.Tensor:
        return call(vae.decoder, z if vae.post_quant_conv is None else call(vae.post_quant_conv, z))

    frames, _, height, width = latents.shape
    out = torch.empty(frames, height * factor, width * factor, 3)
    for i, z in enumerate(latents):
        heed()
        ways = _ways(picture, z[None].to(vae.device, vae.dtype), (height, width), 1, factor)
        drawn = with_less("the autoencoder (latents to pictures)", ways)
        out[i] = ((drawn[0].float() + 1) / 2).permute(1, 2, 0)
    return out


def _ways(
    compute: Callable[[torch.Tensor, Call], torch.Tensor],
    x: torch.Tensor,
    cells: tuple[int, int],
    read: int,
    drawn: int,
) -> list[tuple[str, Callable[[], torch.Tensor]]]:
    """`compute` of x whole, by the CPU, and in tiles. `cells`: (h, w); `read`, `drawn`: how many of x and of the result
    are one cell.
    """
    less = "whose colours differ, since each is normalised by itself; a smaller size would not need them"
    by_tile = partial(tiled, lambda part: compute(part, plainly), x, cells, read=read, drawn=drawn)
    tiles = [n for n in halves(max(cells)) if n >= SMALLEST_TILE]
    return [
        ("", lambda: compute(x, plainly)),
        ("on the CPU, to the same pictures", lambda: compute(x, on_cpu)),
        *((f"in tiles of {n}x{n} cells, {less}", partial(by_tile, n)) for n in tiles),
    ]


def tiled(
    compute: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    cells: tuple[int, int],
    tile: int,
    read: int = 1,
    drawn: int = 1,
) -> torch.Tensor:
    """`compute` of overlapping tiles of x (1, c, h read, w read), each of `tile` x `tile` of the `cells` (h, w), joined
    with soft edges: (1, c', h drawn, w drawn), float32, in main memory. Tiles are all of one size, and the overlap is a
    quarter of it or more."""
    sides = [min(tile, size) for size in cells]
    total: torch.Tensor | None = None
    weights = torch.zeros(cells[0] * drawn, cells[1] * drawn)
    for top in _starts(cells[0], sides[0]):
        for left in _starts(cells[1], sides[1]):
            heed()
            seen = x[..., top * read : (top + sides[0]) * read, left * read : (left + sides[1]) * read]
            part = compute(seen).float().cpu()
            weight = _ramp(part.shape[-2])[:, None] * _ramp(part.shape[-1])
            here = ..., slice(top * drawn, (top + sides[0]) * drawn), slice(left * drawn, (left + sides[1]) * drawn)
            total = part.new_zeros(*part.shape[:2], *weights.shape) if total is None else total
            total[here] += weight * part
            weights[here] += weight
    assert total is not None  # there is one tile at least
    return total / weights


def _starts(size: int, tile: int) -> list[int]:
    overlap = tile // 4
    count = 1 if size == tile else -(-(size - overlap) // (tile - overlap))
    return [round(i * (size - tile) / max(count - 1, 1)) for i in range(count)]


def _ramp(length: int) -> torch.Tensor:
    """(length,) rising over the first quarter, falling over the last."""
    place = torch.arange(length) + 0.5
    return (torch.minimum(place, length - place) / (length / 4)).clamp(max=1)
