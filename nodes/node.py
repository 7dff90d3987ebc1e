"""The base of the pack's nodes: what `live_core` notes while a node runs is shown on the node."""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from comfy_api.v0_0_2 import io

from . import host
from ..live_core.notes import gathered


class Node(io.ComfyNode):
    """A ComfyUI node whose notes (`live_core.notes`) are text on the node on the page and, for clients of the API, the "text" of its
    output in the history, after whatever text the node itself returns. A node whose outputs come from ComfyUI's cache keeps its text on the page."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        own = vars(cls).get("execute")
        if own is not None and not hasattr(own.__func__, "__wrapped__"):            # ComfyUI clones the class for each run
            cls.execute = classmethod(_noted(own.__func__))


def _noted(execute: Callable) -> Callable:
    @wraps(execute)
    def run(cls, *args, **inputs) -> io.NodeOutput:
        with gathered() as notes:
            output = execute(cls, *args, **inputs)
        host.show_notes(notes)
        if notes or output.ui is not None:
            ui = output.ui or {}
            ui = ui if isinstance(ui, dict) else ui.as_dict()
            output.ui = {**ui, "text": (*ui.get("text", ()), *notes)}
        return output
    return run
