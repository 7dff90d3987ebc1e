"""A server that answers as ComfyUI does, and names its files as no ComfyUI should."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading

from aiohttp import web

NODE = "../../escape"


@contextlib.contextmanager
def serving(names: list[str], words: tuple[str, ...] = ()):
    """The address of a server whose every run makes files of these names, each holding its name."""

    async def socket(request):
        here = web.WebSocketResponse()
        await here.prepare(request)
        sockets.append(here)
        async for _ in here:
            pass
        return here

    async def prompt(_):
        async def end():
            await asyncio.sleep(0.05)
            for here in sockets:
                await here.send_str(json.dumps({"type": "execution_success", "data": {"prompt_id": "1"}}))

        ending.append(asyncio.create_task(end()))
        return web.json_response({"prompt_id": "1"})

    async def history(_):
        files = [{"filename": name, "subfolder": "../..", "type": "output"} for name in names]
        odd = {
            "animated": [True],
            "text": list(words),
            "tags": "a string",
            "number": 3,
            "broken": [{"type": "output"}, {"filename": 7, "type": "temp"}, None],
        }
        return web.json_response({"1": {"outputs": {NODE: {"images": files, **odd}, "other": None}}})

    async def view(request):
        return web.Response(body=request.query["filename"].encode())

    async def gone(_):
        return web.json_response({})

    app, started, loop = web.Application(), threading.Event(), asyncio.new_event_loop()
    sockets, ending, address = [], [], []
    app.add_routes(
        [
            web.get("/ws", socket),
            web.post("/prompt", prompt),
            web.get("/history/1", history),
            web.get("/view", view),
            web.get("/object_info/{kind}", gone),
        ]
    )

    async def main():
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}")
        started.set()

    loop.create_task(main())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
