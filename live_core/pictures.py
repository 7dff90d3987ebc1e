"""Pictures brought to a size, and a photo cut down to what counts in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from . import LiveError
from .checks import check_frames, quoted
from .notes import note

NEUTRAL = 0.5  # what stands where a photo does not count: mid-grey
# CLIP's, of its training pictures.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def cover(pictures: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(f, H, W, c), 0..1, scaled to cover `height` x `width` pixels and cropped in the middle."""
    scale = max(height / pictures.shape[1], width / pictures.shape[2])
    size = max(height, round(pictures.shape[1] * scale)), max(width, round(pictures.shape[2] * scale))
    scaled = F.interpolate(pictures.permute(0, 3, 1, 2).float(), size, mode="bicubic", antialias=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled.clamp(0, 1).permute(0, 2, 3, 1)[:, top : top + height, left : left + width]


def as_clip_sees(pictures: torch.Tensor, side: int) -> torch.Tensor:
    """(f, 3, side, side) of pictures (f, H, W, 3 or more), 0..1: the shorter side scaled, the middle cut out, in CLIP's
    units."""
    fitted = cover(pictures[..., :3], side, side)
    mean, std = (torch.tensor(values).to(fitted) for values in (CLIP_MEAN, CLIP_STD))
    return ((fitted - mean) / std).permute(0, 3, 1, 2)


def check_pictures(name: str, pictures: torch.Tensor) -> None:
    """LiveError unless `pictures` of the input `name` are (f, H, W, c) floats with at least one frame and a pixel in
    each.
    """
    if pictures.ndim != 4 or 0 in pictures.shape:
        raise LiveError(
            f"{name}: shape {tuple(pictures.shape)}; expected (frames, height, width, 3) with at least one frame."
            " ComfyUI reads none of an animated WebP with Load Video: open it with Load Image, or save it as mp4"
        )
    if not pictures.is_floating_point():
        raise LiveError(f"{name}: {quoted(pictures)}; expected floats from 0 to 1, so divide 8-bit values by 255")


def check_clip(frames: torch.Tensor, multiple: int, side: int | None = None) -> None:
    """LiveError unless `frames` is a clip (f, H, W, 3) of at least one frame whose sides are multiples of `multiple`; a
    note where it is far larger or smaller than what a model made for `side` x `side` pixels edits well."""
    check_pictures("images", frames)
    count, height, width, channels = frames.shape
    if channels != 3:
        raise LiveError(
            f"images: {channels} channels; expected 3 (RGB), so put a picture with transparency on a background first"
        )
    if height % multiple or width % multiple:
        fitting = "x".join(str(max(length // multiple, 1) * multiple) for length in (width, height))
        raise LiveError(
            f"images: {width}x{height} pixels; width and height must be multiples of {multiple}, such as {fitting}: put"
            " Fit Clip in the place of Get Video Components, or Resize Image/Mask before this"
        )
    if side is None:
        return
    area = width * height / side**2
    if area > 4 or count * area > 48:
        note(
            f"images: {count} frames of {width}x{height}, {count * area:.0f} times the pixels of one picture of the"
            f" {side}x{side} this model was made for; 8 to 24 times are usual, and memory and time grow faster than"
            " pixels. Fit Clip makes a clip smaller"
        )
    elif area < 1 / 8:
        note(
            f"images: {width}x{height} pixels, and this model was made for {side}x{side}; in so few it draws little."
            " Raise longest_side of Fit Clip, or scale up"
        )


def check_photo(photo: torch.Tensor) -> None:
    """LiveError unless `photo` is one picture (1, H, W, 3), or (1, H, W, 4) with how opaque it is."""
    if photo.shape[0] != 1:
        raise LiveError(f"photo: {photo.shape[0]} pictures; give exactly one")
    if photo.shape[-1] not in (3, 4):
        raise LiveError(f"photo: {photo.shape[-1]} channels; expected 3 (RGB), or 4 with transparency")
    check_frames("photo", photo)


def cut_out(
    photos: torch.Tensor, mask: torch.Tensor | None, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Photos at a clip's size, and what counts in each: (n, height, width, 3) and (n, height, width), 0..1, or None
    where all does.

    `photos` (n, H, W, 3 or 4), a fourth channel being opacity; `mask` (n, H, W), 1 where a photo counts. What does not
    count is mid-grey. LiveError for a mask of another number or size than the photos, or that leaves nothing of what is
    in a picture.
    """
    check_pictures("photo", photos)
    if mask is not None and len(mask) != len(photos):
        raise LiveError(f"mask: {len(mask)} frames, and there are {len(photos)} photos; give one for each photo")
    masks = [None] * len(photos) if mask is None else list(mask.split(1))
    cut = [_cut_one_out(photo, one, height, width) for photo, one in zip(photos.split(1), masks, strict=True)]
    pictures = torch.cat([picture for picture, _ in cut])
    if all(counts is None for _, counts in cut):
        return pictures, None
    return pictures, torch.cat([torch.ones_like(p[..., 0]) if counts is None else counts for p, counts in cut])


def _cut_one_out(
    photo: torch.Tensor, mask: torch.Tensor | None, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    check_photo(photo)
    if (scale := max(height / photo.shape[1], width / photo.shape[2])) > 2:
        note(
            f"photo: {photo.shape[2]}x{photo.shape[1]} pixels, which is scaled up {scale:.3g} times, so it shows"
            " little; give a larger one"
        )
    counts = _counts(photo, mask)
    if counts is None:
        return cover(photo[..., :3], height, width), None
    kept = photo[..., :3][counts > 0.5]
    if len(kept) and (kept.amax(0) - kept.amin(0)).max() < 1e-3:
        note(
            "mask: what it leaves of the photo is of one colour; white is what counts, and Load Image's mask is white"
            " where the photo is transparent, so put Invert Mask between them"
        )
    counts = counts.to(photo)[..., None]
    # Multiplied first: nothing of the rest seeps in.
    fitted = cover(torch.cat([photo[..., :3] * counts, counts], -1), height, width)
    colours, counts = fitted[..., :3], fitted[..., 3]
    if counts.max() < 0.5:
        what = "photo: its transparency" if mask is None else "mask: it"
        raise LiveError(
            f"{what} leaves nothing of the photo once that is cropped to {width}x{height}; give a photo with the thing"
            " in the middle"
        )
    return (colours + NEUTRAL * (1 - counts[..., None])).clamp(0, 1), counts


def _counts(photo: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """(1, H, W): how much each pixel of the photo counts, by its mask and its opacity; None where all count."""
    size = tuple(photo.shape[1:3])
    if mask is not None:
        check_frames("mask", mask)
        if not mask.max() > 0:
            raise LiveError(
                "mask: it is black, so nothing of the photo counts; white is what counts. Load Image's mask is black"
                " where the photo is opaque, so put Invert Mask between them"
            )
        if mask.min() == 1:
            mask = None  # of any size: Load Image's of an opaque photo is 64x64
        elif tuple(mask.shape[1:]) != size:
            raise LiveError(
                f"mask: {mask.shape[2]}x{mask.shape[1]} pixels, and the photo has {size[1]}x{size[0]}; give a mask of"
                " the photo's size"
            )
    opaque = photo[..., 3] if photo.shape[-1] == 4 and photo[..., 3].min() < 1 else None
    if opaque is None or mask is None:
        if opaque is not None:
            note(
                f"photo: {1 - float(opaque.mean()):.0%} of it is transparent, and only the rest is learned; connect a"
                " mask to choose otherwise"
            )
        return mask if opaque is None else opaque
    return mask.to(opaque) * opaque
