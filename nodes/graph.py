"""What a node can know of the graph it stands in, before the nodes after it run."""

from __future__ import annotations

from . import host
from .load import demo_words

TEXTS = ("PrimitiveString", "PrimitiveStringMultiline")  # core nodes that hand on the text typed into them, or linked


def prompts_after(graph: dict | None, node: str, kinds: tuple[str, ...]) -> list[str]:
    """The prompts of the nodes of classes `kinds` whose model comes from `node`, of an API graph, as far as they are
    known before those run (`text_of`).
    """
    graph = graph or {}
    nodes = [other.get("inputs", {}) for other in graph.values() if other.get("class_type") in kinds]
    texts = [text_of(graph, inputs.get("prompt")) for inputs in nodes if inputs.get("model") == [node, 0]]
    return [text for text in texts if text is not None]


def text_of(graph: dict, value: object) -> str | None:
    """What an input of text gets whose graph says `value`: what is typed there, or into a node of `TEXTS` before it,
    or the words of a demo case. None for what other nodes make."""
    seen = 0
    while (before := host.linked(graph, value)) is not None and seen <= len(graph):
        made, seen = graph[before], seen + 1
        inputs = made.get("inputs", {})
        if made.get("class_type") == "LIVE_DemoClip":
            return demo_words(inputs.get("case"), value[1])
        value = inputs.get("value") if made.get("class_type") in TEXTS else None
    return value if isinstance(value, str) else None
