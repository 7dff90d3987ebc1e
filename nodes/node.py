"""The base of the pack's nodes: inputs are held to their schema, and what `live_core` notes is shown on the node."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from comfy_api.v0_0_2 import io

from ..live_core import LiveError
from ..live_core.encoded import Encoded, lending
from ..live_core.interrupts import heeding
from ..live_core.memory import one_run
from ..live_core.notes import gathered
from . import host
from .inputs import checked, note_unread

# What an input that 0.1 had not is declared with: `io.Float.Input("x", default=1.0, **LATER)`. Its default keeps older
# graphs as they were; the page (web/values_by_name.js) reads `since` to tell which values a workflow of 0.1 holds.
LATER = {"optional": True, "extra_dict": {"since": "0.2"}}


def if_absent(value: object) -> dict:
    """What an input of a choice is declared with whose default is for fresh nodes alone: a graph that lacks it gets
    `value`, here (inputs.py) as on the page (web/values_by_name.js).
    """
    return {"extra_dict": {"absent": value}}


_encoded = Encoded()  # what a clip was encoded to, for every node and graph


class Refused(LiveError):
    """A LiveError as it leaves a node. ComfyUI writes the class of an error with its module, which for a pack is a path
    of the machine, once before the sentence and once more as its type; of a class without a module, the name alone.
    """


Refused.__module__, Refused.__qualname__ = "builtins", LiveError.__qualname__


class Node(io.ComfyNode):
    """A ComfyUI node whose notes (`live_core.notes`) are text on the node on the page and, for clients of the API, the
    "text" of its output in the history, both after whatever text the node itself returns, and its "notes" too. Of a
    node whose outputs come from ComfyUI's cache, ComfyUI sends them again, and web/notes.js shows them.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name, wrapped in (("define_schema", _sent_again), ("execute", _noted)):
            own = vars(cls).get(name)
            if own is not None and not hasattr(own.__func__, "__wrapped__"):  # ComfyUI clones the class for each run
                setattr(cls, name, classmethod(wrapped(own.__func__)))


def _sent_again(define_schema: Callable) -> Callable:
    @wraps(define_schema)
    def schema(cls) -> io.Schema:
        made = define_schema(cls)
        made.has_intermediate_output = True  # what is said of outputs holds for those from the cache
        return made

    return schema


def _noted(execute: Callable) -> Callable:
    @wraps(execute)
    def run(cls, **inputs) -> io.NodeOutput:
        with gathered() as notes, one_run(), heeding(host.stop_if_asked), lending(_encoded):
            schema = cls.define_schema()
            note_unread(schema.inputs, host.graph_inputs())
            try:
                with host.timed(schema.display_name):
                    output = execute(cls, **checked(schema.inputs, inputs))
            except LiveError as error:
                raise Refused(str(error)).with_traceback(error.__traceback__) from error.__cause__
        ui = output.ui or {}
        ui = ui if isinstance(ui, dict) else ui.as_dict()
        own = tuple(ui.get("text", ()))
        host.show_text((*own, *(f"\u26a0 {text}" for text in notes)))
        if own or notes or ui:
            output.ui = {**ui, "text": (*own, *notes), "notes": tuple(notes)}
        return output

    return run
