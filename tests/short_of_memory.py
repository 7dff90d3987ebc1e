"""A ComfyUI node of another pack, for the tests: a LIVE model one of whose networks runs out of memory once, at a
forward of its own.
"""

import torch


class ShortOfMemory:
    RETURN_TYPES, FUNCTION, CATEGORY = ("LIVE_MODEL",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("LIVE_MODEL",), "network": ("STRING", {}), "at": ("INT", {"default": 1})}}

    def give(self, model, network, at):
        """`network`: a path from the model, such as "vae.decoder"; the hook goes away with the shortage."""
        module, seen = model, []
        for name in network.split("."):
            module = getattr(module, name)

        def hook(*_):
            seen.append(1)
            if len(seen) == at:
                handle.remove()
                raise torch.OutOfMemoryError("no room")

        handle = module.register_forward_hook(hook)
        return (model,)


NODE_CLASS_MAPPINGS = {"TestShortOfMemory": ShortOfMemory}
