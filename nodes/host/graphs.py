"""The graph that is queued, and that which runs."""

from __future__ import annotations

from collections.abc import Callable

import folder_paths


def before_queueing(change: Callable[[dict], dict]) -> None:
    """Have every request that queues a graph go through `change` first."""
    from server import PromptServer

    PromptServer.instance.add_on_prompt_handler(change)


def graph_inputs() -> dict:
    """What the graph that runs has written for the node that runs, by input; nothing outside a run."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context = get_executing_context()
    if context is None:
        return {}
    graphs = {
        prompt_id: graph for _, prompt_id, graph, *_ in PromptServer.instance.prompt_queue.currently_running.values()
    }
    return graphs.get(context.prompt_id, {}).get(context.node_id, {}).get("inputs", {})


def linked(graph: dict, value: object) -> str | None:
    """The node that a link comes from, of an API graph; None for what is no link to a node of the graph."""
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    return value[0] if is_link and value[0] in graph else None


def check_opaque(prompt: dict | None, node: str, name: str, remedy: str) -> None:
    """LiveError, with `remedy`, when the picture that comes to the input `name` of `node` is a file with transparency,
    of which Load Image passes the colours alone: those under it come too, whatever they are."""
    from PIL import Image

    from ...live_core import LiveError

    file = _loaded_image(prompt or {}, node, name)
    if file is None:
        return
    with Image.open(folder_paths.get_annotated_filepath(file)) as picture:
        clear = picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema()[0] < 255
    if clear:
        raise LiveError(
            f"{name}: {file!r} is transparent in places, and what lies under them would be seen too; {remedy}"
        )


def _loaded_image(prompt: dict, node: str, name: str) -> str | None:
    """What Load Image loads for an input, where it is linked to it or through nodes of one link each, beside what is
    typed into core's primitives.
    """
    while (before := linked(prompt, prompt.get(node, {}).get("inputs", {}).get(name))) is not None:
        node, inputs = before, prompt[before]["inputs"]
        if prompt[node]["class_type"] == "LoadImage":
            return inputs["image"] if isinstance(inputs["image"], str) else None
        links = [field for field, value in inputs.items() if linked(prompt, value) and not _is_typed(prompt, value)]
        if len(links) != 1:
            return None
        name = links[0]
    return None


def _is_typed(prompt: dict, link: list) -> bool:
    return prompt[link[0]].get("class_type", "").startswith("Primitive")
