"""Run by test_house.py with ComfyUI's Python: the pack is loaded as ComfyUI loads it at its start. Prints the seconds
of processor time that it took, which a busy machine hardly changes.

python import_child.py <pack folder> <ComfyUI folder>
"""

import asyncio
import sys
import time
from pathlib import Path

from packages import load_package

PACK, COMFYUI = map(Path, sys.argv[1:3])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import nodes  # noqa: E402, F401  ComfyUI's own, with all that they load


async def load() -> None:
    extension = load_package("live_pack", PACK).comfy_entrypoint()
    extension = await extension if asyncio.iscoroutine(extension) else extension
    await extension.on_load()
    for node in await extension.get_node_list():
        node.GET_SCHEMA()


if __name__ == "__main__":
    before = time.process_time()
    asyncio.run(load())
    sys.stdout.write(str(time.process_time() - before))
