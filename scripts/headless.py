"""Drive ComfyUI servers from a script: queue a workflow in API format, follow it with a bar, fetch what it saved.

    python scripts/headless.py run workflows/api/live_stable_diffusion.json --server http://127.0.0.1:8188 \\
        --set "Load LIVE Model.model=v1-5-pruned-emaonly.safetensors" --clip skiing.mp4 --photo cat.png \\
        --set "Bind Photo to Placeholder.initial_word=cat" --prompt "a man skiing in the snow" \\
        --edit-prompt "a <thing*> skiing in the snow" --seed 3 --out results/

Overrides go to the workflow's own nodes: `--clip` and `--photo` are uploaded and take the place of the workflow's clip
and photo, `--photo` once for each photo; `--set NODE.INPUT=VALUE` reaches any other input, NODE being an id or a title.
What the workflow saves or previews is written to `--out`, and what its nodes say is printed: notes on stderr. Where the
UI workflow lies beside the API file, as workflows/NAME.json beside workflows/api/NAME.json, results carry it and open
on ComfyUI's page as they were made.

A clip that is edited by instruction is shared out to several `--server`, in parts of whole windows; one of them joins
the parts and saves. What a server leaves undone goes to another, and the frames are those of one server.

`--clips FOLDER` edits each video of a folder, to a folder of its name in `--out`, and with several `--server` as many
at a time; run again, it goes on with those that are not done. `--json` prints one object for each run, on a line: clip,
outcome, seconds, files, texts, notes.

Exit codes: 0 done, 1 a workflow failed or was interrupted, 2 the command or the workflow is wrong, 3 no ComfyUI
answers, 4 not done within `--timeout`. A job that this client gives up, by time, Ctrl-C or SIGTERM, is cancelled on the
server.
Needs only aiohttp and tqdm, which ComfyUI has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import hashlib
import json
import secrets
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
from comfy_client import Client, Server, notes_in, text_of
from comfy_graph import check_places, check_words, follow, override, put_clip, put_photos, read_workflow
from comfy_parts import PartError, edit_parts, graph_of_whole, put_parts, shared_node
from comfy_results import is_output, local_name, made_of, save_files

__all__ = ["Client", "Server", "local_name", "override"]
VIDEOS = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"}
RECORD = "run.json"  # what a folder of a batch holds when its clip is done


@dataclass
class Run:
    """What is reported of a run. `graph`: a hash of all it was made from."""

    clip: str | None
    server: str
    graph: str
    outcome: str = "error"
    error: str = ""
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------------ the graph
def set_values(workflow: dict, args) -> None:
    for flag, target, value in (
        ("--prompt", "Prompt.value", args.prompt),
        ("--edit-prompt", "Edit prompt.value", args.edit_prompt),
        ("--seed", "Tune Video.seed", args.seed),
    ):
        if value is not None:
            override(workflow, target, value, flag)
    for text in args.set:
        target, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f'--set: {text!r}; write NODE.INPUT=VALUE, such as "Tune Video.clip_steps=200"')
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(value)
        override(workflow, target, value)


def hash_of(workflow: dict, files: list[Path]) -> str:
    digest = hashlib.sha256(json.dumps(workflow, sort_keys=True).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


# ------------------------------------------------------------------------------------------------------------ a run
async def run_one(
    client: Client, workflow: dict, ui: dict | None, args, clip: Path | None, out: Path, say, row: int = 0, parts=()
) -> Run:
    """The workflow with a clip of one's own, or its own: queued, followed, fetched to `out`. `say` hears each note.
    `parts`: what `edit_parts` gave, in the place of the edit."""
    from tqdm import tqdm

    graph = copy.deepcopy(workflow)
    run = Run(clip and str(clip), client.url, hash_of(graph, [file for file in (clip, *args.photo) if file]))
    started = time.monotonic()
    changed = None
    taken = ui["last_node_id"] if ui else 0
    await put_files(client, graph, args, clip, taken)
    if ui is not None and (changed := follow(ui, args.shipped, graph)) is None:
        say("the workflow beside the API file cannot follow these changes, so results carry the API graph alone")
    if parts:
        graph = graph_of_whole(graph, shared_node(graph), await put_parts(client, parts))
    with tqdm(unit="step", disable=args.quiet, position=row) as bar:

        def show(kind, data):
            if kind == "progress":
                node = graph.get(str(data["node"]), {})
                bar.set_description(node.get("_meta", {}).get("title", node.get("class_type", "")), refresh=False)
                bar.total, bar.n = data["max"], data["value"]
                bar.refresh()
            elif kind == "text":
                for text in notes_in(text_of(data)):
                    run.notes.append(text)
                    say(text)

        run.outcome, events, history = await client.run(
            graph, show, args.timeout, {"extra_pnginfo": {"workflow": changed}} if changed else None
        )
    if run.outcome != "success":
        data = events[-1][2]
        run.error = f"{data.get('node_type', '')}: {data.get('exception_message', '').strip()}"
    else:
        files, texts = made_of(history, graph)
        run.files = [str(out / name) for name in await save_files(client, files, out)]
        for (node, text), noted in texts.items():
            if text not in run.notes:
                note = noted or not await is_output(client, graph.get(node, {}).get("class_type"))
                (run.notes if note else run.texts).append(text)
                if note:
                    say(text)
    run.seconds = round(time.monotonic() - started, 2)
    return run


async def put_files(client: Client, graph: dict, args, clip: Path | None, taken: int) -> None:
    """The clip and the photos in a graph, on the client's server; new nodes are numbered above `taken`."""
    if clip:
        put_clip(graph, await client.upload(clip), taken)
    put_photos(graph, [await client.upload(photo) for photo in args.photo], taken)


async def run_shared(workflow: dict, ui: dict | None, args) -> Run:
    """One clip, its windows shared out to all servers."""
    node, say, started = shared_node(workflow), say_of(None), time.monotonic()

    async def graph_for(client: Client) -> dict:
        graph = copy.deepcopy(workflow)
        await put_files(client, graph, args, args.clip, ui["last_node_id"] if ui else 0)
        return graph

    try:
        parts, left, notes = await edit_parts(args.server, node, graph_for, args.timeout, say)
    except PartError as error:
        return Run(args.clip and str(args.clip), " ".join(args.server), "", error=str(error))

    def say_anew(text: str) -> None:  # a server repeats what nodes noted whose results it kept
        if text not in notes:
            say(text)

    async with Client(left[0]) as client:
        run = await run_one(client, workflow, ui, args, args.clip, args.out, say_anew, parts=parts)
    run.notes = [*notes, *(text for text in run.notes if text not in notes)]
    run.seconds = round(time.monotonic() - started, 2)
    return run


def report(run: Run, as_json: bool) -> None:
    """A run's results on stdout, its failure on stderr."""
    if as_json:
        print(json.dumps(asdict(run)), flush=True)
    else:
        for line in (*run.files, *run.texts):
            print(line, flush=True)
    if run.outcome != "success":
        print(f"{run.outcome}: {run.error}", file=sys.stderr)


def say_of(clip: Path | None):
    prefix = f"{clip.name}: " if clip else ""

    def say(text: str) -> None:
        from tqdm import tqdm

        tqdm.write(f"{prefix}note: {text}", file=sys.stderr)

    return say


def graph_done(record: Path) -> str | None:
    """The hash of what a folder's clip was done with; None where there is no whole record."""
    try:
        done = json.loads(record.read_text())
    except (OSError, ValueError):
        return None
    return done.get("graph") if isinstance(done, dict) else None


async def run_batch(workflow: dict, ui: dict | None, args) -> int:
    """Every clip of the folder, as many at a time as there are servers; done ones are left."""
    clips = sorted(path for path in args.clips.iterdir() if path.suffix.lower() in VIDEOS)
    if not clips:
        raise ValueError(f"--clips: {str(args.clips)!r} has no video in it ({', '.join(sorted(VIDEOS))})")
    waiting, failed = [], 0
    for clip in clips:
        record = args.out / clip.name / RECORD
        if graph_done(record) != hash_of(workflow, [clip, *args.photo]):
            waiting.append(clip)
    say_of(None)(f"{len(waiting)} of {len(clips)} clips to do")

    async def work(row: int, url: str) -> None:
        nonlocal failed
        async with Client(url) as client:
            while waiting:
                clip = waiting.pop(0)
                try:
                    run = await run_one(client, workflow, ui, args, clip, args.out / clip.name, say_of(clip), row)
                except (ValueError, asyncio.TimeoutError) as error:
                    run = Run(
                        str(clip),
                        url,
                        "",
                        error=str(error) or f"not done within {args.timeout:g} s; the job is cancelled",
                    )
                except BaseException:
                    waiting.insert(0, clip)
                    raise
                report(run, args.json)
                failed += run.outcome != "success"
                if run.outcome == "success":
                    (args.out / clip.name / RECORD).write_text(json.dumps(asdict(run), indent=1) + "\n")

    ended = await asyncio.gather(*(work(row, url) for row, url in enumerate(args.server)), return_exceptions=True)
    gone = [result for result in ended if isinstance(result, BaseException)]
    if waiting:
        raise gone[0]
    for result in gone:
        say_of(None)(f"{result}: the other servers have done its clips")
    return int(failed > 0)


def check_paths(args) -> None:
    """ValueError for files that cannot be read and a folder that cannot be written, before anything is queued."""
    for flag, files in (("--clip", [args.clip] if args.clip else []), ("--photo", args.photo)):
        for file in files:
            if not file.is_file():
                raise ValueError(f"{flag}: {str(file)!r} is no file; give one")
    if args.clips and not args.clips.is_dir():
        raise ValueError(f"--clips: {str(args.clips)!r} is no folder; give one of videos")
    if not args.timeout > 0:
        raise ValueError(f"--timeout: {args.timeout:g}; give seconds above 0")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        draft = args.out / f".{secrets.token_hex(8)}.draft"
        draft.touch(exist_ok=False)
        draft.unlink()
    except OSError as error:
        raise ValueError(f"--out: {str(args.out)!r} cannot be written in ({error.strerror}); give a folder") from error


def heed_signals() -> None:
    """Have SIGTERM, and SIGHUP of a terminal that closes, cancel this task, as Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for name in ("SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError, NotImplementedError):  # as on Windows
            loop.add_signal_handler(getattr(signal, name), task.cancel)


async def _run(args) -> int:
    heed_signals()
    workflow, ui = read_workflow(args.workflow)
    args.shipped = copy.deepcopy(workflow)
    args.server = args.server or ["http://127.0.0.1:8188"]
    for url in args.server:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--server: {url!r}; write it with http:// or https://, such as http://127.0.0.1:8188")
    check_paths(args)
    if args.clips and args.clip:
        raise ValueError("--clips: given with --clip; give one of them")
    check_places(workflow, args.clip or args.clips, args.photo)
    set_values(workflow, args)
    if args.clip or args.clips:
        check_words(workflow)
    if args.clips:
        return await run_batch(workflow, ui, args)
    if len(args.server) > 1:
        run = await run_shared(workflow, ui, args)
        report(run, args.json)
        return int(run.outcome != "success")
    async with Client(args.server[0]) as client:
        run = await run_one(client, workflow, ui, args, args.clip, args.out, say_of(None))
    report(run, args.json)
    return int(run.outcome != "success")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run = parser.add_subparsers(required=True).add_parser("run", help="queue a workflow on a running ComfyUI")
    run.add_argument("workflow", type=Path, help="workflow in API format")
    run.add_argument(
        "--server",
        action="append",
        default=[],
        help="http://127.0.0.1:8188; several times for a batch, or one clip, on several",
    )
    run.add_argument("--clip", type=Path)
    run.add_argument("--clips", type=Path, metavar="FOLDER", help="each video of a folder")
    run.add_argument(
        "--photo", type=Path, action="append", default=[], help="once for each photo that the workflow binds"
    )
    run.add_argument("--prompt")
    run.add_argument("--edit-prompt")
    run.add_argument("--seed", type=int)
    run.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE")
    run.add_argument("--out", type=Path, default=Path("output"))
    run.add_argument("--timeout", type=float, default=86_400, help="seconds")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    run.add_argument("--json", action="store_true", help="print one JSON object for each run")
    args = parser.parse_args()
    try:
        return asyncio.run(_run(args))
    except asyncio.TimeoutError:
        print(f"--timeout: not done within {args.timeout:g} s; the job is cancelled", file=sys.stderr)
        return 4
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("the job is cancelled", file=sys.stderr)
        return 130
    except (aiohttp.ClientConnectorError, aiohttp.WSServerHandshakeError):
        print(f"no ComfyUI answers at {' or '.join(args.server)}; start it or give --server", file=sys.stderr)
        return 3
    except aiohttp.InvalidURL:
        print(f"--server: {' or '.join(args.server)} is no address; write http://127.0.0.1:8188", file=sys.stderr)
        return 2
    except (aiohttp.ClientError, ConnectionError) as error:
        print(f"{error}: {' or '.join(args.server)}", file=sys.stderr)
        return 3
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
