"""A ComfyUI node of another pack, for the tests: a clip of no frames, which no core node gives."""
import torch


class EmptyClip:
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return (torch.zeros(0, 128, 128, 3),)


NODE_CLASS_MAPPINGS = {"TestEmptyClip": EmptyClip}
