"""What a device would ask of the host: read a value, wait for a copy, be sent numbers. Copies that it need not wait for
do not count.

Networks on PyTorch's "meta" device compute shapes alone, so whole runs take seconds, and nothing but such a question
leaves the device: each is counted, and answered with ones.
"""

import traceback
from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
META = torch.device("meta")


class Asked:
    """Counts, within a `with` block, by what is asked and where: "read", "copy in", "copy out", "numbers in"."""

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.modes = _Copies(self), _Numbers(self)

    def count(self, what: str) -> None:
        frames = traceback.extract_stack()
        asks = [f"{f.filename.split('/')[-1]}:{f.name}" for f in frames if "/live_core/" in f.filename]
        self.counts[f"{what} in {asks[-1] if asks else 'a test'}"] += 1

    def __enter__(self):
        for mode in self.modes:
            mode.__enter__()
        return self.counts

    def __exit__(self, *error):
        for mode in reversed(self.modes):
            mode.__exit__(*error)


class _Copies(TorchDispatchMode):
    def __init__(self, asked: Asked):
        super().__init__()
        self.asked = asked

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].device == META:
            self.asked.count("read")
            return torch.ones((), dtype=args[0].dtype).item()
        if func is aten._to_copy.default:
            source, to = args[0].device, torch.device(kwargs.get("device") or args[0].device)
            if source != META and to == META and not kwargs.get("non_blocking"):
                self.asked.count("copy in")
            if source == META and to != META:
                if not kwargs.get("non_blocking"):
                    self.asked.count("copy out")
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is aten.copy_.default and args[0].device != args[1].device:
            self.asked.count("copy in" if args[0].device == META else "copy out")
            return args[0]
        return func(*args, **kwargs)


class _Numbers(TorchFunctionMode):
    def __init__(self, asked: Asked):
        super().__init__()
        self.asked = asked

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == META:
            self.asked.count("numbers in")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and args[0].device == META:
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(place, list) for place in places):
                self.asked.count("numbers in")
        return func(*args, **kwargs)
