"""Drive a ComfyUI server from a script: queue a workflow in API format, follow it with a bar, fetch what it saved.

    python scripts/headless.py run workflows/api/live_stable_diffusion.json --server http://127.0.0.1:8188 \\
        --set "Load LIVE Model.model=v1-5-pruned-emaonly.safetensors" --clip skiing.mp4 --photo cat.png --set "Bind Photo to Placeholder.initial_word=cat" \\
        --prompt "a man skiing in the snow" --edit-prompt "a <thing*> skiing in the snow" --seed 3 --out results/

Overrides go to the workflow's own nodes: `--clip` and `--photo` are uploaded and take the place of the demo clip and photo, `--photo` once
for each photo; `--set NODE.INPUT=VALUE` reaches any other input, NODE being an id or a title. What the workflow saves or previews is
written to `--out`, and texts are printed. Exit codes: 0 done, 1 the workflow failed or was interrupted, 2 the command or the
workflow is wrong, 3 no ComfyUI answers, 4 not done within `--timeout`. A job that this client gives up, by time or Ctrl-C, is
cancelled on the server. Needs only aiohttp and tqdm, which ComfyUI has.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import aiohttp

TEXT = (3).to_bytes(4, "big")                     # how a binary message begins that shows a text on a node
ENDS = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}
LOADER = "LIVE_DemoClip"


class Server:
    """A ComfyUI on a loopback port, all of whose folders are temporary; the pack is shown to it as a link."""

    def __init__(self, pack: Path, extra: tuple[str, ...] = ()):
        self.base = Path(tempfile.mkdtemp(prefix="comfy-"))
        for name in ("custom_nodes", "models", "input", "output", "user/default", "temp"):
            (self.base / name).mkdir(parents=True)
        (self.base / "user/default/comfy.settings.json").write_text(json.dumps({"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False}))
        (self.base / "custom_nodes" / "live-video-editing").symlink_to(pack.resolve(), target_is_directory=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{self.port}", self.base / "server.log"
        self.command = [os.environ.get("COMFYUI_PYTHON", sys.executable), os.path.join(os.environ["COMFYUI_DIR"], "main.py"), "--cpu", "--listen", "127.0.0.1",
                        "--port", str(self.port), "--base-directory", str(self.base), "--database-url", f"sqlite:///{self.base}/comfyui.db",
                        "--disable-api-nodes", "--disable-auto-launch", *extra]

    def __enter__(self) -> Server:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.process = subprocess.Popen(self.command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, cwd=self.base, env=environment, start_new_session=True)
        deadline = time.time() + 240
        while True:
            if self.process.poll() is not None or time.time() > deadline:
                self.__exit__(keep=True)
                raise RuntimeError(f"ComfyUI did not start; its log ends:\n{self.log.read_text(errors='replace')[-3000:]}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return self
            time.sleep(0.1)

    def __exit__(self, *_, keep: bool = False) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not keep:
            shutil.rmtree(self.base, ignore_errors=True)


class Client:
    """``async with Client(url) as client``: one websocket, one client id."""

    def __init__(self, url: str):
        self.url, self.id = url.rstrip("/"), str(uuid.uuid4())

    async def __aenter__(self) -> Client:
        self.http = aiohttp.ClientSession()
        try:
            self.socket = await self.http.ws_connect(f"{self.url}/ws?clientId={self.id}", max_msg_size=0)
        except BaseException:
            await self.http.close()
            raise
        return self

    async def __aexit__(self, *_) -> None:
        await self.socket.close()
        await self.http.close()

    async def json(self, method: str, path: str, **options) -> tuple[int, object]:
        async with self.http.request(method, self.url + path, **options) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if body else None

    async def fetch(self, output: dict) -> bytes:
        """The bytes of one saved file, as history lists it."""
        async with self.http.get(f"{self.url}/view", params={k: output[k] for k in ("filename", "subfolder", "type")}) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def upload(self, path: Path) -> str:
        form = aiohttp.FormData()
        form.add_field("image", path.read_bytes(), filename=path.name)
        status, answer = await self.json("POST", "/upload/image", data=form)
        if status != 200:
            raise ValueError(f"{path}: the server refused the upload ({status})")
        return answer["name"]

    async def queue(self, prompt: dict) -> tuple[int, dict]:
        return await self.json("POST", "/prompt", json={"prompt": prompt, "client_id": self.id})

    async def run(self, prompt: dict, on_event=None, timeout: float = 3600) -> tuple[str, list, dict]:
        """Queue and follow to the end: (success | error | interrupted, [(time, type, data)], the history entry).

        `on_event(type, data)`, a function or coroutine function, is told each event as it comes, and of ComfyUI's binary messages the bytes:
        type "preview", whose tail is a picture file, and "text", whose tail is what a node says of itself.
        """
        status, answer = await self.queue(prompt)
        if status != 200:
            raise ValueError(_refusal(answer))
        identity, events = answer["prompt_id"], []

        async def follow() -> str:
            async for message in self.socket:
                if message.type == aiohttp.WSMsgType.BINARY:
                    event = {"type": "text" if message.data[:4] == TEXT else "preview", "data": message.data}
                elif message.type == aiohttp.WSMsgType.TEXT:
                    event = json.loads(message.data)
                    if event["data"].get("prompt_id") != identity:
                        continue
                    events.append((time.time(), event["type"], event["data"]))
                else:
                    continue
                if on_event and asyncio.iscoroutine(result := on_event(event["type"], event["data"])):
                    await result
                if event["type"] in ENDS:
                    return ENDS[event["type"]]
            raise ConnectionError("the server closed the connection")

        try:
            outcome = await asyncio.wait_for(follow(), timeout)
        except (asyncio.TimeoutError, asyncio.CancelledError):
            await self.json("POST", f"/api/jobs/{identity}/cancel")
            raise
        for _ in range(100):                                                   # history is written just after the last event
            _, history = await self.json("GET", f"/history/{identity}")
            if identity in history:
                break
            await asyncio.sleep(0.05)
        return outcome, events, history[identity]


def _refusal(answer: dict) -> str:
    lines = [answer["error"]["message"]]
    for node, report in (answer.get("node_errors") or {}).items():
        lines += [f"node {node} ({report.get('class_type', '?')}): {e['message']}: {e['details']}" for e in report["errors"]]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------ overrides
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
    """Set `target`, "node.input" by the node's id or title, to `value`. Inputs may have dots in their names, and so may titles."""
    splits = [(target[:i], target[i + 1:]) for i, letter in enumerate(target) if letter == "."]
    if not splits:
        raise ValueError(f"{flag}: {target!r}; write NODE.INPUT=VALUE, such as \"Tune Video.clip_steps=200\"")
    named = {*workflow, *(node.get("_meta", {}).get("title") for node in workflow.values())}
    name, field = next((split for split in splits if split[0] in named), splits[-1])
    node = workflow[find_node(workflow, name, flag)]
    if field not in node["inputs"]:
        raise ValueError(f"{flag}: node {name!r} ({node['class_type']}) has no input {field!r}; it has: {', '.join(node['inputs'])}")
    node["inputs"][field] = value


def demo_outputs(workflow: dict, output: int) -> list[str]:
    """The demo clip nodes whose `output` (0: frames, 1: photo, 2: frames per second) something reads, in the order of their ids."""
    read = {value[0] for node in workflow.values() for value in node["inputs"].values() if isinstance(value, list) and value[1] == output}
    return sorted((i for i, node in workflow.items() if node["class_type"] == LOADER and i in read), key=lambda i: (len(i), i))


def check_files(workflow: dict, clip: Path | None, photos: list[Path]) -> None:
    """ValueError unless the workflow has a place for the clip and for each photo."""
    if clip and not demo_outputs(workflow, 0):
        raise ValueError(f"--clip: no {LOADER} node gives this workflow its frames, so there is nothing to replace")
    if len(photos) > (places := len(demo_outputs(workflow, 1))):
        raise ValueError(f"--photo: given {len(photos)} times, and this workflow takes {places} from {LOADER} nodes")


def replace_demo(workflow: dict, clip: str | None, photos: list[str]) -> None:
    """Put core's Load Video and Load Image, of uploaded files, where demo nodes give the clip and the photos."""
    instead = {}
    if clip:
        for loader in demo_outputs(workflow, 0):
            instead |= {(loader, 0): ["frames", 0], (loader, 2): ["frames", 2]}
        workflow["clip"] = {"class_type": "LoadVideo", "inputs": {"file": clip}}
        workflow["frames"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["clip", 0]}}
    for i, (loader, photo) in enumerate(zip(demo_outputs(workflow, 1), photos)):
        workflow[f"photo {i + 1}"] = {"class_type": "LoadImage", "inputs": {"image": photo}}
        instead[loader, 1] = [f"photo {i + 1}", 0]
    for node in workflow.values():
        node["inputs"] = {name: instead.get(tuple(value), value) if isinstance(value, list) else value for name, value in node["inputs"].items()}


async def _run(args) -> int:
    from tqdm import tqdm
    try:
        workflow = json.loads(args.workflow.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{args.workflow}: not a JSON file ({error})") from error
    if not args.server.startswith(("http://", "https://")):
        raise ValueError(f"--server: {args.server!r}; write it with http:// or https://, such as http://127.0.0.1:8188")
    if "nodes" in workflow:
        raise ValueError(f"{args.workflow}: this is a workflow in UI format; use its twin in workflows/api, or export with Export (API)")
    check_files(workflow, args.clip, args.photo)
    async with Client(args.server) as client:
        replace_demo(workflow, args.clip and await client.upload(args.clip), [await client.upload(photo) for photo in args.photo])
        for flag, target, value in (("--prompt", "Prompt.value", args.prompt), ("--edit-prompt", "Edit prompt.value", args.edit_prompt), ("--seed", "Tune Video.seed", args.seed)):
            if value is not None:
                override(workflow, target, value, flag)
        for text in args.set:
            target, separator, value = text.partition("=")
            if not separator:
                raise ValueError(f"--set: {text!r}; write NODE.INPUT=VALUE, such as \"Tune Video.clip_steps=200\"")
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(value)
            override(workflow, target, value)
        with tqdm(unit="step", disable=args.quiet) as bar:
            def show(kind, data):
                if kind == "progress":
                    node = workflow.get(str(data["node"]), {})
                    bar.set_description(node.get("_meta", {}).get("title", node.get("class_type", "")), refresh=False)
                    bar.total, bar.n = data["max"], data["value"]
                    bar.refresh()
            outcome, events, history = await client.run(workflow, show, args.timeout)
        if outcome != "success":
            data = events[-1][2]
            print(f"{outcome}: {data.get('node_type', '')}: {data.get('exception_message', '').strip()}", file=sys.stderr)
            return 1
        args.out.mkdir(parents=True, exist_ok=True)
        written = set()
        for node, outputs in history["outputs"].items():
            for made in (made for group in outputs.values() for made in group):
                if isinstance(made, dict) and made.get("type") in ("output", "temp"):
                    name = made["filename"] if made["filename"] not in written else f"{node}-{made['filename']}"      # one name in two of the server's folders
                    written.add(name)
                    await _save(client, made, args.out / name)
                    print(args.out / name)
                elif isinstance(made, str):
                    print(made)
    return 0


async def _save(client: Client, file: dict, path: Path) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(await client.fetch(file))
    os.replace(draft, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run = parser.add_subparsers(required=True).add_parser("run", help="queue a workflow on a running ComfyUI")
    run.add_argument("workflow", type=Path, help="workflow in API format")
    run.add_argument("--server", default="http://127.0.0.1:8188")
    run.add_argument("--clip", type=Path)
    run.add_argument("--photo", type=Path, action="append", default=[], help="once for each photo that the workflow binds")
    run.add_argument("--prompt")
    run.add_argument("--edit-prompt")
    run.add_argument("--seed", type=int)
    run.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE")
    run.add_argument("--out", type=Path, default=Path("output"))
    run.add_argument("--timeout", type=float, default=86_400, help="seconds")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()
    try:
        return asyncio.run(_run(args))
    except asyncio.TimeoutError:
        print(f"--timeout: not done within {args.timeout:g} s; the job is cancelled", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        print("the job is cancelled", file=sys.stderr)
        return 130
    except (aiohttp.ClientConnectorError, aiohttp.WSServerHandshakeError):
        print(f"no ComfyUI answers at {args.server}; start it or give --server", file=sys.stderr)
        return 3
    except (aiohttp.ClientError, ConnectionError) as error:
        print(f"{error}: {args.server}", file=sys.stderr)
        return 3
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
