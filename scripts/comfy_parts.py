"""One clip on several servers: each edits parts of its windows, and one of them joins the parts and does the rest.

A part is the workflow up to its edit, whose latents are saved; the rest is the workflow with the parts' latents in the
place of the edit. So sound, rate and files are the workflow's own, and frames are those of one server.
"""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import aiohttp
from comfy_client import Client
from comfy_graph import add, is_link, of_kind, readers
from comfy_results import made_of

EDIT, LATENTS = "LIVE_Instruct", 1  # the node whose windows are shared out, and its output for them
LOST = (aiohttp.ClientError, ConnectionError)
Say = Callable[[str], None]


class PartError(RuntimeError):
    """The edit of a part failed, or somebody stopped it."""


def shared_node(workflow: dict) -> str:
    """The node whose windows several servers share. ValueError where there is none, or more than one."""
    nodes = of_kind(workflow, EDIT)
    if len(nodes) != 1 or workflow[nodes[0]]["inputs"].get("part"):
        raise ValueError(
            f"--server: given several times, but a clip is shared out where a workflow has one Edit by Instruction,"
            f" all of it, and this has {len(nodes)}; give one --server, or --clips with a folder"
        )
    return nodes[0]


def graph_of_part(graph: dict, node: str, part: str) -> dict:
    """Part "i/n" of the edit `node`, with what it is made from, and a node that saves it."""
    waiting, kept = [node], set()
    while waiting:
        name = waiting.pop()
        if name in graph and name not in kept:
            kept.add(name)
            waiting += [value[0] for value in graph[name]["inputs"].values() if is_link(value)]
    made = {name: copy.deepcopy(graph[name]) for name in sorted(kept)}
    made[node]["inputs"]["part"] = part
    add(made, 0, "SaveLatent", "Save Latent", samples=[node, LATENTS], filename_prefix="live_parts/part")
    return made


def graph_of_whole(graph: dict, node: str, files: list[str]) -> dict:
    """`graph` with uploaded latents, joined in order, in the place of the edit `node`."""
    made = copy.deepcopy(graph)
    parts = [add(made, 0, "LoadLatent", "Load Latent", latent=file) for file in files]
    latents = {f"latents.latent{i}": [part, 0] for i, part in enumerate(parts)}
    joined = add(made, 0, "BatchLatentsNode", "Batch Latents", **latents)
    for reader, name in readers(made, [node, LATENTS]):
        made[reader]["inputs"][name] = [joined, 0]
    made[node] |= {
        "class_type": "LIVE_Decode",
        "inputs": {"model": graph[node]["inputs"]["model"], "latents": [joined, 0]},
    }
    return made


async def edit_parts(
    urls: list[str],
    node: str,
    graph_for: Callable[[Client], Coroutine[None, None, dict]],
    timeout: float,
    say: Say,
) -> tuple[list[bytes], list[str], list[str]]:
    """The latents of as many parts as there are servers, in order, the servers that are left, and what nodes noted. A
    part whose server is lost goes to another. `graph_for` gives the graph with its files on a server.

    PartError where the edit itself fails, ConnectionError where no server is left: both name the part.
    """
    count = len(urls)
    waiting, done, left, notes = list(range(count)), {}, [], []

    async def work(url: str) -> None:
        async with Client(url) as client:
            graph = await graph_for(client)
            while len(done) < count:
                if not waiting:  # what others have may come back
                    await asyncio.sleep(0.2)
                    continue
                i = waiting.pop(0)
                try:
                    made = await _latents(client, graph_of_part(graph, node, f"{i + 1}/{count}"), timeout)
                except BaseException:
                    waiting.insert(0, i)
                    raise
                done[i], texts = made
                for text in texts:
                    if text not in notes:  # as each part has them
                        notes.append(text)
                        say(text)
                say(f"part {i + 1}/{count} is done by {url}")
        left.append(url)

    async def survive(url: str) -> None:
        try:
            await work(url)
        except LOST as error:
            say(f"{url} is lost ({error}); its part goes to another")

    tasks = [asyncio.ensure_future(survive(url)) for url in urls]
    try:
        await asyncio.gather(*tasks)
    finally:  # where one failed, the others' jobs are cancelled on their servers
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if len(done) < count or not left:
        missing = ", ".join(f"{i + 1}/{count}" for i in range(count) if i not in done)
        raise ConnectionError(
            f"no server is left for part {missing}" if missing else "no server is left to join the parts"
        )
    return [done[i] for i in range(count)], [url for url in urls if url in left], notes


async def _latents(client: Client, graph: dict, timeout: float) -> tuple[bytes, list[str]]:
    """The latents file that a part's graph saves, and what its nodes noted."""
    outcome, events, history = await client.run(graph, timeout=timeout)
    if outcome != "success":
        data = events[-1][2]
        said = f"{data.get('node_type', '')}: {data.get('exception_message', '').strip()}"
        raise PartError(f"{outcome} at {client.url}: {said}")
    files, texts = made_of(history)
    latents = [file for _, file in files if file["filename"].endswith(".latent")]
    return await client.fetch(latents[-1]), [text for _, text in texts]


async def put_parts(client: Client, parts: list[bytes]) -> list[str]:
    """The parts' files in a server's input folder: their names there."""
    names = []
    with tempfile.TemporaryDirectory() as folder:
        for i, part in enumerate(parts):
            file = Path(folder) / f"live_part_{i + 1}_of_{len(parts)}.latent"
            file.write_bytes(part)
            names.append(await client.upload(file))
    return names
