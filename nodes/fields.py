"""Settings of `live_core` as inputs of nodes: their range, their help and where they stand on a page are said there."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..live_core.settings import settings_of
from .node import LATER


def input_of(row: Any, name: str, called: str | None = None, **more: Any) -> io.Input:
    """The input of the setting `name` of a row, or of a class of rows, with the value it has there. `called`: its name
    on the node, if it is another. `more`: what is otherwise on this node."""
    setting = settings_of(row if isinstance(row, type) else type(row))[name]
    options = {
        "default": value_on_page(row, name),
        "tooltip": setting.help,
        "advanced": setting.advanced or None,
        **(LATER if setting.later else {}),
        **more,
    }
    name = called or name
    if setting.choices:
        return io.Combo.Input(name, options=list(setting.choices), **options)
    if setting.prompt:
        return io.String.Input(name, multiline=True, dynamic_prompts=True, **options)
    if not setting.is_number:
        return io.Boolean.Input(name, **options)
    options["min"], options["max"] = setting.page or (setting.low, setting.high)
    if setting.whole:
        return io.Int.Input(name, step=setting.step, **options)
    return io.Float.Input(name, step=setting.step or 0.01, round=setting.round, **options)


def value_on_page(row: Any, name: str) -> Any:
    """A setting's value as its input shows it: 0 stands for None."""
    value = getattr(row, name)
    return 0 if value is None else value


def memory_input(*choices: str) -> io.Input:
    """How a node's run saves memory: by itself, or in one of these ways of `live_core.economy`."""
    said = {
        "checkpointing": "activations are computed again in the backward pass, to the same bits",
        "streams apart": "source and edit run one after another, not in one batch",
        "in parts": "the largest tensors are made for one frame at a time",
    }
    return io.Combo.Input(
        "memory",
        options=["auto", "none", *choices],
        default="auto",
        advanced=True,
        tooltip=" ".join(
            (
                "How to save memory. auto: by an estimate, as much as needed for what is free; the node says what it"
                " chose. none: not before it runs out.",
                *(f"{choice}: {said[choice]}." for choice in choices),
            )
        ),
        **LATER,
    )
