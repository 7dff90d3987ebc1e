"""ComfyUI nodes of another pack, for the tests: what a graph cost that its result does not show."""

import json
from functools import wraps

from comfy.model_patcher import ModelPatcher

counts = {"encoded": 0, "moved in": 0, "moved out": 0}


def _count(name: str, method: str, counts_if=lambda *_, **__: True) -> None:
    own = getattr(ModelPatcher, method)

    @wraps(own)
    def counting(self, *given, **named):
        counts[name] += counts_if(*given, **named)
        return own(self, *given, **named)

    setattr(ModelPatcher, method, counting)


_count("moved in", "load")
_count(
    "moved out", "detach", lambda unpatch_all=True: unpatch_all
)  # ComfyUI detaches what stays, too, but not all of it


class Watched:
    """The same LIVE model; counts begin."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LIVE_MODEL",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("LIVE_MODEL",)}}

    def give(self, model):
        def count(*_):
            counts["encoded"] += 1

        model.vae.encoder.register_forward_hook(count)
        counts.update(dict.fromkeys(counts, 0))
        return (model,)


class Counts:
    """The counts so far, as JSON, after both pictures are made."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "give", "tests", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"one": ("IMAGE",), "other": ("IMAGE",)}}

    def give(self, one, other):
        return {"ui": {"text": (json.dumps(counts),)}}


NODE_CLASS_MAPPINGS = {"TestWatched": Watched, "TestCounts": Counts}
