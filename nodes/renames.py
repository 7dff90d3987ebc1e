"""Nodes that have been renamed: a graph that names the old one runs with the new one in its place, through the API and
on the page.
"""

from comfy_api.v0_0_2 import ComfyAPI, io

from . import host

# The old name of a node -> its name now. Inputs and outputs are those of the new node.
RENAMES: dict[str, str] = {}


async def register_renames(renames: dict[str, str]) -> None:
    """Tell ComfyUI and the page of `renames`, and have graphs that come through the API use the new names.

    ComfyUI replaces nodes itself, but drops every input that the table does not name, on the page those of a choice
    too, and fails where a graph lacks one that is named or has no `_meta`: so names are changed before it looks. (The
    page: web/renames.js.)
    """
    for old, new in renames.items():
        await ComfyAPI().node_replacement.register(io.NodeReplace(new_node_id=new, old_node_id=old))
    if renames:
        host.before_queueing(lambda request: _renamed(request, renames))


def _renamed(request: dict, renames: dict[str, str]) -> dict:
    """`request`, the body of a POST to /prompt, with the nodes of its graph under their names of today."""
    for node in request["prompt"].values():
        if node.get("class_type") in renames:
            node["class_type"] = renames[node["class_type"]]
    return request
