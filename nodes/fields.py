"""Settings of `live_core` as inputs of nodes: their range, their help and where they stand on a page are said there."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..live_core.settings import Setting
from .node import LATER


def input_of(name: str, setting: Setting, default: Any, **more: Any) -> io.Input:
    """The input of a setting, with this default. `more`: what is otherwise on this node."""
    options = {
        "default": 0 if default is None else default,
        "tooltip": setting.help,
        "advanced": setting.advanced or None,
        **(LATER if setting.later else {}),
        **more,
    }
    if setting.choices:
        return io.Combo.Input(name, options=list(setting.choices), **options)
    if not setting.is_number:
        return io.Boolean.Input(name, **options)
    options["min"], options["max"] = setting.page or (setting.low, setting.high)
    if setting.whole:
        return io.Int.Input(name, **options)
    return io.Float.Input(name, step=setting.step, round=setting.round, **options)
