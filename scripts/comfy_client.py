"""A ComfyUI server of one's own, and a client of any: queue a graph in API format, follow it, fetch what it made."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
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

TEXT = (3).to_bytes(4, "big")  # how a binary message begins that shows a text on a node
LIMIT = (
    "start ComfyUI with a larger --max-upload-size (MB), raise the limit of a proxy before it, or give a smaller file"
)
ENDS = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}


class Server:
    """A ComfyUI on a loopback port, all of whose folders are temporary; the pack is shown to it as a link."""

    def __init__(self, pack: Path, extra: tuple[str, ...] = ()):
        self.base = Path(tempfile.mkdtemp(prefix="comfy-"))
        for name in ("custom_nodes", "models", "input", "output", "user/default", "temp"):
            (self.base / name).mkdir(parents=True)
        (self.base / "user/default/comfy.settings.json").write_text(
            json.dumps({"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False})
        )
        (self.base / "custom_nodes" / "live-video-editing").symlink_to(pack.resolve(), target_is_directory=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{self.port}", self.base / "server.log"
        self.command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            os.path.join(os.environ["COMFYUI_DIR"], "main.py"),
            "--cpu",
            "--listen",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--base-directory",
            str(self.base),
            "--database-url",
            f"sqlite:///{self.base}/comfyui.db",
            "--disable-api-nodes",
            "--disable-auto-launch",
            *extra,
        ]

    def __enter__(self) -> Server:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.process = subprocess.Popen(
            self.command,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            cwd=self.base,
            env=environment,
            start_new_session=True,
        )
        deadline = time.time() + 240
        while True:
            if self.process.poll() is not None or time.time() > deadline:
                self.__exit__(keep=True)
                raise RuntimeError(
                    f"ComfyUI did not start; its log ends:\n{self.log.read_text(errors='replace')[-3000:]}"
                )
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
        """(status, the answer): JSON, or where it is none, such as a proxy's words, its text."""
        async with self.http.request(method, self.url + path, **options) as answer:
            body = await answer.text(errors="replace")
        try:
            return answer.status, json.loads(body) if body else None
        except json.JSONDecodeError:
            return answer.status, body.strip()

    async def fetch(self, output: dict) -> bytes:
        """The bytes of one saved file, as history lists it."""
        async with self.http.get(
            f"{self.url}/view", params={k: output[k] for k in ("filename", "subfolder", "type")}
        ) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def upload(self, path: Path) -> str:
        """Put a file into the server's input folder: its name there."""
        form = aiohttp.FormData()
        form.add_field("image", path.read_bytes(), filename=path.name)
        size = f"{path}: {path.stat().st_size / 2**20:.1f} MB"
        try:
            status, answer = await self.json("POST", "/upload/image", data=form)
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientError as error:  # as a server may do with what it finds too large
            raise ValueError(
                f"{size}: the server closed the connection during the upload ({error}); {LIMIT}"
            ) from error
        if status == 413:
            raise ValueError(f"{size}: the server says {answer!r} (413); {LIMIT}")
        if status != 200 or not isinstance(answer, dict):
            raise ValueError(f"{size}: the server refused the upload ({status}): {answer}")
        return "/".join(filter(None, (answer.get("subfolder"), answer["name"])))

    async def queue(
        self, prompt: dict, extra_data: dict | None = None, identity: str | None = None
    ) -> tuple[int, dict]:
        """(status, the answer), whose "prompt_id" is `identity`, where one is given."""
        body = {"prompt": prompt, "client_id": self.id, "extra_data": extra_data or {}}
        return await self.json("POST", "/prompt", json=body if identity is None else {**body, "prompt_id": identity})

    async def cancel(self, identity: str) -> None:
        """Ask until the job is gone: ComfyUI forgets what it was asked in the moment in which a job begins."""
        while True:
            _, answer = await self.json("POST", f"/api/jobs/{identity}/cancel")
            if not (isinstance(answer, dict) and answer.get("cancelled")):
                return
            await asyncio.sleep(0.2)

    async def run(
        self, prompt: dict, on_event=None, timeout: float = 3600, extra_data: dict | None = None
    ) -> tuple[str, list, dict]:
        """Queue and follow to the end: (success | error | interrupted, [(time, type, data)], the history entry). What
        `extra_data` has under "extra_pnginfo" ComfyUI writes into the files that it saves.

        `on_event(type, data)`, a function or coroutine function, is told each event as it comes, and of ComfyUI's
        binary messages the bytes: type "preview", whose tail is a picture file, and "text", whose tail is what a node
        says of itself.
        """
        identity, events = str(uuid.uuid4()), []
        queueing = asyncio.ensure_future(self.queue(prompt, extra_data, identity))

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
            status, answer = await asyncio.shield(queueing)
            if status != 200:
                raise ValueError(_refusal(answer))
            identity = answer["prompt_id"]  # a server may give its own
            outcome = await asyncio.wait_for(follow(), timeout)
        except BaseException:
            await asyncio.wait([queueing], timeout=10)  # no job can be cancelled before it is queued
            with contextlib.suppress(aiohttp.ClientError, ConnectionError, asyncio.TimeoutError):
                await asyncio.wait_for(self.cancel(identity), 10)
            raise
        for _ in range(100):  # history is written just after the last event
            _, history = await self.json("GET", f"/history/{identity}")
            if isinstance(history, dict) and identity in history:
                return outcome, events, history[identity]
            await asyncio.sleep(0.05)
        raise ConnectionError("the job ended, and the server's history has nothing of it")


def text_of(message: bytes) -> str:
    """What a node says of itself, from a binary message of type "text": type, length of the node's id, id, text,
    in which each "<" is kept by a character without width from being HTML on a page."""
    return message[8 + int.from_bytes(message[4:8], "big") :].decode(errors="replace").replace("<\u2060", "<")


def notes_in(text: str) -> list[str]:
    """The notes among what a node says of itself; the history has the rest."""
    return re.split(r"(?:^|\n)\u26a0 ", text)[1:]


def _refusal(answer) -> str:
    if not isinstance(answer, dict) or "error" not in answer:
        return f"the server refused the workflow: {answer}"
    lines = [answer["error"]["message"]]
    for node, report in (answer.get("node_errors") or {}).items():
        lines += [
            f"node {node} ({report.get('class_type', '?')}): {e['message']}: {e['details']}" for e in report["errors"]
        ]
    return "\n".join(lines)
