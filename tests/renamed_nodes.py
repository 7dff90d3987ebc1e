"""A ComfyUI extension for the tests: it gives the pack a made-up name that a node had in the past, by the pack's own
means.
"""

import asyncio
import sys

from comfy_api.v0_0_2 import ComfyExtension

RENAMES = {"LIVE_InvertByDDIM": "LIVE_Invert"}


async def _register() -> None:
    def of_the_pack():
        return [module for name, module in sys.modules.items() if name.endswith("live-video-editing.nodes.renames")]

    while not of_the_pack():  # ComfyUI loads extensions in any order
        await asyncio.sleep(0.05)
    await of_the_pack()[0].register_renames(RENAMES)


class RenamedNodes(ComfyExtension):
    async def on_load(self):
        self.task = asyncio.get_running_loop().create_task(_register())

    async def get_node_list(self):
        return []


async def comfy_entrypoint():
    return RenamedNodes()
