"""What a node is given, held to its own schema: what comes by a link never meets the limits that ComfyUI sets for a
widget, and what a graph writes in the place of a link meets none at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from comfy_api.v0_0_2 import io

from ..live_core import LiveError
from ..live_core.checks import check_choice, check_frames, check_number, check_text, check_whole, is_finite, quoted
from ..live_core.notes import note
from ..live_core.pictures import check_pictures
from . import host
from .sockets import MAKERS, is_of

SLACK = 0.01  # by which pixels may leave 0..1, as scaled pictures do


def checked(fields: Sequence[io.Input], inputs: Mapping, owner: str = "") -> dict:
    """`inputs` of `fields` as a node's `execute` wants them: whole numbers as int, masks with a frame axis, an optional
    input that nothing came for left out, or in a choice (`owner`) what graphs without it get. LiveError, which names
    the input, for what its schema does not allow.
    """
    given = {}
    for field in fields:
        name = f"{owner}.{field.id}" if owner else field.id
        value = inputs.get(field.id)
        if isinstance(field, io.DynamicCombo.Input):
            given[field.id] = _choice(field, value, name)
        elif value is not None:
            given[field.id] = _value(field, value, name)
        elif not field.optional:
            raise LiveError(f"{name}: nothing came; {_wanted(field)}")
        elif owner:
            given[field.id] = (field.extra_dict or {}).get("absent", getattr(field, "default", None))
    return given


def _choice(field: io.DynamicCombo.Input, value: Mapping | None, name: str) -> dict:
    """One that is none of the options, or comes by a link, ComfyUI leaves out; but the graph has it."""
    if not isinstance(value, Mapping) or field.id not in value:
        written = host.graph_inputs().get(name, value)
        written = "a link" if isinstance(written, list) else quoted(written)
        raise LiveError(f"{name}: {written}; choose {', '.join(option.key for option in field.options)}")
    check_choice(name, value[field.id], [option.key for option in field.options])
    option = next(option for option in field.options if option.key == value[field.id])
    return {field.id: option.key, **checked(option.inputs, value, name)}


def _value(field: io.Input, value: object, name: str) -> object:
    kind = field.get_io_type()
    if isinstance(field, (io.Int.Input, io.Float.Input)):
        whole = isinstance(field, io.Int.Input)
        low, high = -math.inf if field.min is None else field.min, math.inf if field.max is None else field.max
        value = int(value) if whole and isinstance(value, float) and value.is_integer() else value
        (check_whole if whole else check_number)(name, value, low, high)
        return int(value) if whole else float(value)
    if isinstance(field, io.Boolean.Input):
        check_choice(name, value, [True, False])
    elif isinstance(field, io.String.Input):
        check_text(name, value)
    elif isinstance(field, io.Combo.Input):
        check_choice(name, value, field.options)
    elif not is_of(kind, value):
        raise LiveError(f"{name}: {quoted(value)}; {_wanted(field)}")
    elif kind in ("IMAGE", "MASK"):
        return _frames(kind, value, name)
    return value


def _frames(kind: str, frames, name: str):
    """A clip (f, H, W, 3 or 4), or a mask (f, H, W), of finite values; a note for what is not 0..1."""
    if frames.layout != torch.strided or frames.is_meta:
        raise LiveError(f"{name}: {quoted(frames)} whose values cannot be read; give a dense tensor that holds them")
    if kind == "MASK":
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or 0 in frames.shape:
            raise LiveError(
                f"{name}: shape {tuple(frames.shape)}; expected (frames, height, width) with at least one frame"
            )
        if not frames.is_floating_point():
            raise LiveError(f"{name}: {quoted(frames)}; expected floats from 0 to 1")
    else:
        check_pictures(name, frames)
        if frames.shape[-1] not in (3, 4):
            raise LiveError(f"{name}: {frames.shape[-1]} channels; expected 3 (RGB), or 4 with transparency")
    extremes = torch.stack([torch.stack(frame.aminmax()) for frame in frames]).float()
    if not is_finite(extremes):
        check_frames(name, frames)  # says which
    low, high = extremes[:, 0].min(), extremes[:, 1].max()
    if low < -SLACK or high > 1 + SLACK:
        note(f"{name}: values from {low:g} to {high:g}, where 0 is black and 1 is white; divide 8-bit values by 255")
    return frames


def _wanted(field: io.Input) -> str:
    kind = field.get_io_type()
    return f"connect {MAKERS[kind]}" if kind in MAKERS else "give a value"


def note_unread(fields: Sequence[io.Input], written: Mapping) -> None:
    """A note for every name in what the graph has `written` for a node that is none of its inputs, as it is set:
    ComfyUI drops it.
    """
    known = set(_names(fields, written))
    for name in written:
        if name not in known:
            note(
                f"{name}: as it is set, this node has no such input, so it was not read; correct its name, or take"
                " it out"
            )


def _names(fields: Iterable[io.Input], written: Mapping, owner: str = "") -> Iterator[str]:
    for field in fields:
        name = f"{owner}.{field.id}" if owner else field.id
        yield name
        if isinstance(field, io.DynamicCombo.Input):
            for option in field.options:
                if option.key == written.get(name):
                    yield from _names(option.inputs, written, name)
