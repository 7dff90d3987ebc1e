"""A workflow in API format, changed from outside: values set, the clip and the photos replaced by one's own; and the UI
workflow that it was exported from, changed alike, so that a result dropped on ComfyUI's page has its layout and its
values."""

from __future__ import annotations

import copy
import json
from pathlib import Path

DEMO = "LIVE_DemoClip"
FRAMES, PHOTO, FPS, VIDEO, WORDS = 0, 1, 2, 3, (4, 5, 6)  # the demo node's outputs
# What may be put into a graph: the node's widgets, other inputs, and outputs, each a name and a type.
ADDED = {
    "LoadVideo": ([("file", "COMBO")], [], [("VIDEO", "VIDEO")]),
    "LoadImage": ([("image", "COMBO")], [], [("IMAGE", "IMAGE"), ("MASK", "MASK")]),
    "GetVideoComponents": (
        [],
        [("video", "VIDEO")],
        [("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT"), ("bit_depth", "INT")],
    ),
    "InvertMask": ([], [("mask", "MASK")], [("MASK", "MASK")]),
}


def is_link(value) -> bool:
    return isinstance(value, list) and len(value) == 2


def read_workflow(path: Path) -> tuple[dict, dict | None]:
    """A workflow in API format, and the UI workflow beside it, if there is one."""

    def read(file: Path) -> dict:
        try:
            return json.loads(file.read_text(encoding="utf-8-sig"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file}: not a JSON file ({error})") from error

    workflow, twin = read(path), path.resolve().parent.parent / path.name
    if isinstance(workflow, dict) and "nodes" in workflow:
        raise ValueError(
            f"{path}: this is a workflow in UI format; use its twin in workflows/api, or export with Export (API)"
        )
    if not isinstance(workflow, dict) or any(
        not isinstance(node, dict)
        or not isinstance(node.get("class_type"), str)
        or not isinstance(node.get("inputs"), dict)
        or not isinstance(node.get("_meta", {}), dict)
        for node in workflow.values()
    ):
        raise ValueError(f"{path}: this is no workflow in API format; export one with Export (API)")
    ui = read(twin) if path.resolve().parent.name == "api" and twin.is_file() else None
    return workflow, ui if ui and "nodes" in ui else None


# ------------------------------------------------------------------------------------------------------------ values
def find_node(workflow: dict, name: str, flag: str = "--set") -> str:
    """The id of a node given by id or by title; `flag` is what an error blames."""
    if name in workflow:
        return name
    found = [i for i, node in workflow.items() if node.get("_meta", {}).get("title") == name]
    if len(found) != 1:
        titles = ", ".join(sorted(node.get("_meta", {}).get("title", i) for i, node in workflow.items()))
        raise ValueError(f"{flag}: {name!r} names {len(found)} nodes of this workflow; choose one of: {titles}")
    return found[0]


def override(workflow: dict, target: str, value, flag: str = "--set") -> None:
    """Set `target`, "node.input" by the node's id or title, to `value`. Inputs may have dots in their names, and so may
    titles.
    """
    splits = [(target[:i], target[i + 1 :]) for i, letter in enumerate(target) if letter == "."]
    if not splits:
        raise ValueError(f'{flag}: {target!r}; write NODE.INPUT=VALUE, such as "Tune Video.clip_steps=200"')
    named = {*workflow, *(node.get("_meta", {}).get("title") for node in workflow.values())}
    name, field = next((split for split in splits if split[0] in named), splits[-1])
    node = workflow[find_node(workflow, name, flag)]
    if field not in node["inputs"]:
        raise ValueError(
            f"{flag}: node {name!r} ({node['class_type']}) has no input {field!r}; it has: {', '.join(node['inputs'])}"
        )
    node["inputs"][field] = value


# ------------------------------------------------------------------------------------------------------------ own
# material
def readers(workflow: dict, link: list) -> list[tuple[str, str]]:
    """(node, input) of all that read an output."""
    return [(i, name) for i, node in workflow.items() for name, value in node["inputs"].items() if value == link]


def of_kind(workflow: dict, kind: str) -> list[str]:
    """The nodes of a class, in the order of their ids."""
    return sorted((i for i, node in workflow.items() if node["class_type"] == kind), key=lambda i: (len(i), i))


def clip_places(workflow: dict) -> list[str]:
    """The nodes that give the workflow its clip: Load Video, and demo nodes whose clip is read."""
    demos = [i for i in of_kind(workflow, DEMO) if any(readers(workflow, [i, output]) for output in (FRAMES, VIDEO))]
    return demos + of_kind(workflow, "LoadVideo")


def photo_places(workflow: dict) -> list[str]:
    """The nodes that give the workflow its photos, one each: Load Image, and demo nodes whose photo is read."""
    places = [i for i in of_kind(workflow, DEMO) if readers(workflow, [i, PHOTO])]
    return places + [
        i for i in of_kind(workflow, "LoadImage") if any(name == "photo" for _, name in readers(workflow, [i, 0]))
    ]


def check_places(workflow: dict, clip: Path | None, photos: list[Path]) -> None:
    """ValueError unless the workflow has a place for the clip and for each photo."""
    if clip and not clip_places(workflow):
        raise ValueError(
            f"--clip: neither Load Video nor {DEMO} gives this workflow its clip, so there is nothing to replace"
        )
    if len(photos) > (places := len(photo_places(workflow))):
        raise ValueError(
            f"--photo: given {len(photos)} times, and this workflow takes {places}, from Load Image or {DEMO}"
        )


def check_words(workflow: dict) -> None:
    """ValueError where a clip of one's own would be edited by the demo's words."""
    for demo in of_kind(workflow, DEMO):
        for output in WORDS[:2]:
            for node, _ in readers(workflow, [demo, output]):
                title = workflow[node].get("_meta", {}).get("title", node)
                raise ValueError(
                    f"--clip: {title!r} would still have the demo's words; give --prompt and --edit-prompt"
                )


def add(workflow: dict, taken: int, kind: str, title: str, **inputs) -> str:
    node = str(max([taken, *(int(i) for i in workflow if i.isdecimal())]) + 1)
    workflow[node] = {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}
    return node


def _relink(workflow: dict, old: list, new: list) -> None:
    for node, name in readers(workflow, old):
        workflow[node]["inputs"][name] = new


def put_clip(workflow: dict, file: str, taken: int = 0) -> None:
    """An uploaded clip in the place of the workflow's: its frames, its rate and its sound. New nodes are numbered above
    `taken`.
    """
    for place in clip_places(workflow):
        if workflow[place]["class_type"] == "LoadVideo":
            workflow[place]["inputs"]["file"] = file
            continue
        clip = add(workflow, taken, "LoadVideo", "Load Video", file=file)
        _relink(workflow, [place, VIDEO], [clip, 0])
        if not readers(workflow, [place, FRAMES]):
            continue
        parts = add(workflow, taken, "GetVideoComponents", "Get Video Components", video=[clip, 0])
        for node, name in readers(workflow, [place, FPS]):
            if workflow[node]["class_type"] == "CreateVideo" and name == "fps":
                workflow[node]["inputs"].setdefault("audio", [parts, 1])
        _relink(workflow, [place, FRAMES], [parts, 0])
        _relink(workflow, [place, FPS], [parts, 2])


def put_photos(workflow: dict, files: list[str], taken: int = 0) -> None:
    """Uploaded photos in the places of the workflow's, in order; what is transparent in them does not count. New nodes
    are numbered above `taken`."""
    for place, file in zip(photo_places(workflow), files, strict=False):
        if workflow[place]["class_type"] == "LoadImage":
            photo, workflow[place]["inputs"]["image"] = place, file
        else:
            photo = add(workflow, taken, "LoadImage", "Load Image", image=file)
        binds = [
            node
            for node, name in readers(workflow, [place, 0 if photo == place else PHOTO])
            if name == "photo" and workflow[node]["class_type"] == "LIVE_BindConcept"
        ]
        if photo != place:
            _relink(workflow, [place, PHOTO], [photo, 0])
        bare = [node for node in binds if "mask" not in workflow[node]["inputs"]]
        if bare:
            opaque = add(workflow, taken, "InvertMask", "Invert Mask", mask=[photo, 1])
            for node in bare:
                workflow[node]["inputs"]["mask"] = [opaque, 0]


# ------------------------------------------------------------------------------------------------------------ the UI
# twin
def follow(ui: dict, before: dict, after: dict) -> dict | None:
    """The UI workflow `ui`, whose API format is `before`, changed as `after` is from that; None where that cannot be
    said from outside, such as for another method, which has other inputs."""
    ui = copy.deepcopy(ui)
    nodes = {str(node["id"]): node for node in ui["nodes"]}
    places = {i: _widget_places(nodes[i], before[i]["inputs"]) for i in before if i in nodes}
    corner = min(node["pos"][0] for node in ui["nodes"]) - 420, min(node["pos"][1] for node in ui["nodes"])
    for row, i in enumerate(sorted(after.keys() - before.keys(), key=int)):
        if after[i]["class_type"] not in ADDED:
            return None
        nodes[i] = _new_node(int(i), after[i], [corner[0], corner[1] + 380 * row])
        ui["nodes"].append(nodes[i])
        ui["last_node_id"] = max(ui["last_node_id"], int(i))
    for i, node in after.items():
        old = before.get(i, {"inputs": {}})["inputs"]
        for name, value in node["inputs"].items():
            if name in old and old[name] == value and type(old[name]) is type(value):
                continue
            done = i in nodes and (
                _link(ui, nodes, i, name, value)
                if is_link(value)
                else i not in before or _set(ui, nodes[i], places[i], old, name, value)
            )
            if not done:
                return None
    return ui


def _new_node(i: int, node: dict, place: list[float]) -> dict:
    widgets, inputs, outputs = ADDED[node["class_type"]]
    return {
        "id": i,
        "type": node["class_type"],
        "pos": place,
        "size": [340, 330],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{"name": name, "type": kind, "link": None} for name, kind in inputs],
        "outputs": [{"name": name, "type": kind, "links": []} for name, kind in outputs],
        "properties": {"Node name for S&R": node["class_type"]},
        "widgets_values": [node["inputs"][name] for name, _ in widgets],
    }


def _unlink(ui: dict, slot: dict) -> None:
    gone, slot["link"] = slot.get("link"), None
    ui["links"] = [link for link in ui["links"] if link[0] != gone]
    for node in ui["nodes"]:
        for output in node.get("outputs", []):
            output["links"] = [number for number in output.get("links") or [] if number != gone]


def _link(ui: dict, nodes: dict, i: str, name: str, value: list) -> bool:
    origin, output = nodes.get(value[0]), value[1]
    slot = next((slot for slot in nodes[i].get("inputs", []) if slot["name"] == name), None)
    if origin is None or slot is None or output >= len(origin["outputs"]):
        return False
    _unlink(ui, slot)
    ui["last_link_id"] = number = ui["last_link_id"] + 1
    slot["link"] = number
    origin["outputs"][output]["links"] = [*(origin["outputs"][output].get("links") or []), number]
    ui["links"].append(
        [number, origin["id"], output, int(i), nodes[i]["inputs"].index(slot), origin["outputs"][output]["type"]]
    )
    return True


def _set(ui: dict, node: dict, places: dict[str, int], old: dict, name: str, value) -> bool:
    if name not in places or any(other.startswith(f"{name}.") for other in old):
        return False
    for slot in node.get("inputs", []):
        if slot["name"] == name and slot.get("link") is not None:
            _unlink(ui, slot)
    node["widgets_values"][places[name]] = value
    return True


def _widget_places(node: dict, inputs: dict) -> dict[str, int]:
    """Which of the node's widget values an input is: both stand in one order, the page's own widgets
    (control_after_generate) among them.
    """
    values = node.get("widgets_values")
    linked = {slot["name"] for slot in node.get("inputs", []) if "widget" in slot}
    places, at = {}, 0
    for name, value in inputs.items() if isinstance(values, list) else ():
        if is_link(value) and name not in linked:
            continue
        found = next((i for i in range(at, len(values)) if is_link(value) or values[i] == value), None)
        if found is not None:
            places[name], at = found, found + 1
    return places
