"""ComfyUI nodes of another pack, for the tests: values on links that no widget would let through."""

import json

import torch


class AnyValue:
    """Whatever JSON can say, NaN and lone surrogates too, on an output that fits every input."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"json": ("STRING", {})}}

    def give(self, json):
        return (parsed(json),)


class Tensor:
    """A tensor of `shape`, as JSON, filled with `value`."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"shape": ("STRING", {}), "value": ("STRING", {})}}

    def give(self, shape, value):
        return (torch.full(tuple(parsed(shape)), float(value)),)


class OneBad:
    """A tensor with its first number made "nan" or "inf"."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"tensor": ("*", {}), "value": ("STRING", {})}}

    def give(self, tensor, value):
        changed = tensor.clone()
        changed.view(-1)[0] = float(value)
        return (changed,)


class EmptyClip:
    """A clip of no frames, which no core node gives."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def give(self):
        return (torch.zeros(0, 128, 128, 3),)


class Conditioning:
    """A tensor as CLIP Text Encode gives texts."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "give", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"tensor": ("*", {})}}

    def give(self, tensor):
        return ([[tensor, {}]],)


parsed = json.loads  # a method's argument hides the module
NODE_CLASS_MAPPINGS = {
    "TestValue": AnyValue,
    "TestTensor": Tensor,
    "TestOneBad": OneBad,
    "TestEmptyClip": EmptyClip,
    "TestConditioning": Conditioning,
}
