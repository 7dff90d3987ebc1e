"""What each stage of a run took, for the log and for the page, which tells of them all when the run is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management as management

SHORT = 0.1  # seconds below which a stage is not spoken of
EVENT = "live.stage"  # web/stages.js listens


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Of the stage called `name`: its seconds, and the most memory that PyTorch held on a GPU meanwhile, or, where
    there is none, the memory of this process after it.
    """
    device = management.get_torch_device()
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    if seconds < SHORT:
        return
    memory = _memory(device)
    logging.getLogger(__name__).info("%s: %.1f s, %.2f GB", name, seconds, memory / 1e9)
    _tell({"stage": name, "seconds": seconds, "bytes": memory})


def _memory(device) -> int:
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss


def _tell(took: dict) -> None:
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context = get_executing_context()
    if context is not None and PromptServer.instance.client_id is not None:
        where = {"prompt_id": context.prompt_id, "node_id": context.node_id}
        PromptServer.instance.send_sync(EVENT, {**took, **where}, PromptServer.instance.client_id)
