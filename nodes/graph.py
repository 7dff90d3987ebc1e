"""What a node can know of the graph it stands in, before the nodes after it run."""

from __future__ import annotations

TEXTS = ("PrimitiveString", "PrimitiveStringMultiline")  # core nodes whose one output is the text typed into them


def prompts_after(graph: dict | None, node: str, kind: str) -> list[str]:
    """The prompts of the nodes of class `kind` whose model comes from `node`, of an API graph: those typed into them,
    or into a node of `TEXTS` that is linked to them. What other nodes make is not known before they run."""
    found = []
    for other in (graph or {}).values():
        inputs = other.get("inputs", {})
        if other.get("class_type") == kind and inputs.get("model") == [node, 0]:
            prompt = inputs.get("prompt")
            if isinstance(prompt, list) and prompt and graph.get(prompt[0], {}).get("class_type") in TEXTS:
                prompt = graph[prompt[0]].get("inputs", {}).get("value")
            if isinstance(prompt, str):
                found.append(prompt)
    return found
