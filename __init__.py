"""LIVE for ComfyUI. Nothing is imported until ComfyUI asks for the nodes."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import LiveExtension

    return LiveExtension()
