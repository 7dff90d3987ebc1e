"""What a finished job has made: its files, under safe names, and its texts."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from comfy_client import Client

PLAYED = ("LIVE_Compare",)  # shows on the page what other nodes made, and is no result itself


def local_name(name: str) -> str:
    """The name under which a server's file is kept: what stands after its last slash of either kind, without what names
    a drive, a stream or a device, or starts like an option."""
    name = re.sub(r'[\x00-\x1f\x7f<>:"|?*]', "_", re.split(r"[/\\]", str(name))[-1]).strip(" .").lstrip("-")
    is_device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"_{name}" if not name or is_device else name[-200:]


def made_of(history: dict, graph: dict | None = None) -> tuple[list[tuple[str, dict]], dict[tuple[str, str], bool]]:
    """([(node, file)], {(node, text): whether it is among the node's notes}) of a history entry, whatever else stands
    in it; without the files of what `graph` only plays."""
    files: list[tuple[str, dict]] = []
    texts: dict[tuple[str, str], bool] = {}
    for node, outputs in (history.get("outputs") or {}).items():
        for key, group in outputs.items() if isinstance(outputs, dict) else ():
            for made in group if isinstance(group, (list, tuple)) else ():
                if isinstance(made, str):
                    texts[node, made] = texts.get((node, made), False) or key == "notes"
                elif (
                    isinstance(made, dict)
                    and made.get("type") in ("output", "temp")
                    and isinstance(made.get("filename"), str)
                ):
                    files.append((node, {"subfolder": "", **made}))
    kinds = {node: entry.get("class_type") for node, entry in (graph or {}).items()}
    return [(node, file) for node, file in files if kinds.get(node) not in PLAYED], texts


async def is_output(client: Client, kind: str | None) -> bool:
    """Whether nodes of a class are there for what they say or save; what others say is a note."""
    if not re.fullmatch(r"[\w .+-]+", kind or ""):
        return True
    _, info = await client.json("GET", f"/object_info/{kind}")
    return not isinstance(info, dict) or info.get(kind, {}).get("output_node", True)


async def save_files(client: Client, files: list[tuple[str, dict]], out: Path) -> list[str]:
    """Fetch the files into `out`, and never elsewhere; the names they have there."""
    out.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    for node, file in files:
        name = local_name(file["filename"])
        while name.lower() in map(str.lower, written):  # one name in two of the server's folders
            tried = name.startswith(f"{local_name(node)}-")
            name = f"{secrets.token_hex(4)}-{name}" if tried else local_name(f"{node}-{name}")
        draft = out / f".{secrets.token_hex(8)}.draft"
        try:
            with draft.open("xb") as writing:
                writing.write(await client.fetch(file))
            os.replace(draft, out / name)
        finally:
            draft.unlink(missing_ok=True)
        written.append(name)
    return written
