"""Networks without values: how much memory a run takes at its highest, counted in seconds for any size.

PyTorch's "meta" device computes shapes alone. Attention there is fused, as it is on the devices that compute.
"""

import weakref
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
SD15 = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}


class Held(TorchDispatchMode):
    """Counts, within a `with` block, the bytes of tensors that are alive, and the most that were, `peak`; those of
    `apart` tensors were there before and do not count."""

    def __init__(self, apart=()):
        super().__init__()
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref] = {}
        for tensor in apart:
            self._see(tensor)
        self.now = self.peak = 0

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return

        def gone(_):
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor)
        return out


@contextmanager
def fused(monkeypatch):
    """Attention that never holds its map, on the "meta" device too, where PyTorch would choose another kernel."""
    with monkeypatch.context() as patch:
        patch.setattr(
            F,
            "scaled_dot_product_attention",
            lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0],
        )
        yield
