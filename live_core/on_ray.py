"""Windows on Ray: each a task of its own for one of several workers, one a device, on this machine or on a cluster.

Workers need Python packages alone: the library goes to them as its source, the model once, through Ray's object store.
A worker that dies begins its window anew, in a new process, and the others go on. What memory each has is known before
any has its model, and all save it alike (`shares`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import LiveError
from .checks import check_text, check_whole
from .economy import asked_here
from .engine import Progress, Task, Work
from .interrupts import heed
from .notes import note
from .pretrained import LiveModel
from .ray_cluster import connected, imported
from .shares import Place, share
from .workers import bytes_of, send

TRIES = 3  # a window that takes its worker with it so many times more is given up
PATIENCE = 300  # seconds for the first worker to come up
GRACE = 30  # and then for the others, before work begins without them
SLOTS = 2  # windows that a worker has: one under way, one that waits for it
AHEAD = 3  # windows for each worker that are under way, or done before their turn


@dataclass(frozen=True)
class OnRay:
    """`address`: HOST:PORT of a cluster, "auto" for the one that this machine is a node of, "" for one that runs on
    this machine alone, for as long as it is needed. `workers`: 0 for one a GPU, or, without GPUs, as many as there are
    cores for.
    """

    address: str = ""
    workers: int = 0

    def __post_init__(self) -> None:
        check_text("address", self.address)
        check_whole("workers", self.workers, 0)
        if self.address not in ("", "auto") and not re.fullmatch(r"[\w.-]+:\d{1,5}", self.address):
            raise LiveError(
                f"address: {self.address!r:.100}; write HOST:PORT, as `ray start --head` says, auto for the cluster"
                " that this machine is a node of, or nothing for this machine alone"
            )

    def map(
        self, work: Work[Task, torch.Tensor], model: LiveModel, tasks: Iterable[Task], progress: Progress
    ) -> Generator[torch.Tensor, None, None]:
        """As `engine.Engine` has it; `progress` is told window by window. LiveError where Ray is not installed, a
        cluster does not answer or has not so many devices, and where workers cannot live."""
        ray, device, threads = imported(), model.unet.device.type, torch.get_num_threads()
        with connected(self.address, torch.cuda.device_count() if device == "cuda" else 0):
            count, gpus = _how_many(ray.cluster_resources(), self.workers, threads)
            if device not in ("cpu", "cuda") or device == "cuda" and not gpus:
                note(f"engine: Ray's workers compute on the {'GPU' if gpus else 'CPU'}, and this machine on {device}")
            options = {"num_cpus": 0, "num_gpus": 1} if gpus else {"num_cpus": threads}
            kind = ray.remote(**options, max_restarts=TRIES, max_task_retries=TRIES)(_worker_class())
            sent = ray.put(_sources()), ray.put(send(model))
            workers = [kind.remote(__package__, sent, "cuda" if gpus else "cpu", threads) for _ in range(count)]
            try:
                there, coming = _arrived(ray, workers)
                each = share([place for _, place in there], len(coming), bytes_of(model))
                asked, job = asked_here(), ray.put(work)

                def begin(worker: Any, task: Task) -> Any:
                    return worker.run.remote(job, task, each, asked)

                yield from _in_order(ray, [worker for worker, _ in there], coming, begin, tasks, progress)
            finally:
                for worker in workers:
                    ray.kill(worker)


def _how_many(resources: dict[str, float], workers: int, threads: int) -> tuple[int, bool]:
    """How many workers there shall be, and whether on GPUs. LiveError for more than there are devices for."""
    gpus = int(resources.get("GPU", 0))
    cores = int(resources.get("CPU", 0)) // threads
    most = gpus or cores
    if workers > most or not most:
        has = f"{gpus} GPUs" if gpus else f"{int(resources.get('CPU', 0))} cores, and a worker has {threads} threads"
        fewer = "" if gpus or threads == 1 else ", or start ComfyUI with fewer threads (OMP_NUM_THREADS=1)"
        raise LiveError(f"workers: {workers or 1}, but Ray has {has}; give {most} or fewer{fewer}")
    return workers or most, gpus > 0


def _arrived(ray: Any, workers: list) -> tuple[list[tuple[Any, Place]], dict[Any, Any]]:
    """The workers that are up, and where; those that still come, by what they will answer."""
    coming = {worker.ready.remote(): worker for worker in workers}
    there: list[tuple[Any, Place]] = []
    until = time.monotonic() + PATIENCE
    while coming and time.monotonic() < until:
        heed()
        for ref in ray.wait(list(coming), num_returns=1, timeout=0.2)[0]:
            if not there:
                until = time.monotonic() + GRACE
            there.append((coming.pop(ref), _result(ray, ref)))
    if not there:
        raise LiveError(
            f"engine: none of Ray's {len(workers)} workers came up in {PATIENCE} s; see with `ray status` whether"
            " others have its devices"
        )
    return there, coming


def _in_order(
    ray: Any,
    workers: list,
    coming: dict[Any, Any],
    begin: Callable[[Any, Task], Any],
    tasks: Iterable[Task],
    progress: Progress,
) -> Generator[torch.Tensor, None, None]:
    """What each task gives, in their order, by whichever worker is free, also of those that are still `coming`; no task
    is begun far before its turn."""
    line, drawn, due, finished, ended = iter(tasks), 0, 0, 0, False
    free, most = workers * SLOTS, AHEAD * (len(workers) + len(coming))
    busy: dict[Any, tuple[int, Any]] = {}
    done: dict[int, tuple[torch.Tensor, list[str]]] = {}
    while not ended or due < drawn:
        if free and not ended and drawn < due + most:
            task = next(line, None)
            ended = task is None
            if task is not None:
                worker = free.pop(0)
                busy[begin(worker, task)] = (drawn, worker)
                drawn += 1
        elif due in done:
            result, notes = done.pop(due)
            for text in notes:
                note(text)
            yield result
            due += 1
        else:
            heed()
            for ref in ray.wait([*busy, *coming], num_returns=1, timeout=0.2)[0]:
                answer = _result(ray, ref)
                if ref in coming:
                    free += [coming.pop(ref)] * SLOTS
                    continue
                index, worker = busy.pop(ref)
                free.append(worker)
                done[index], finished = answer, finished + 1
                progress(finished, answer[0])


def _result(ray: Any, ref: Any) -> Any:
    """What a worker gave for a task, and its notes; its error, if it is one of the work's, as it is."""
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        last = ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
        raise LiveError(
            f"engine: Ray's workers cannot go on ({last:.300}); they need this pack's requirements, and memory for a"
            " model and a window each, so give fewer workers or a smaller window"
        ) from error


def _sources() -> dict[str, str]:
    """The library's modules, under the names they have here, and their source."""
    package = __package__ or ""
    return {
        package if file.stem == "__init__" else f"{package}.{file.stem}": file.read_text(encoding="utf-8")
        for file in sorted(Path(__file__).parent.glob("*.py"))
    }


def _worker_class() -> type:
    """The class of workers. Ray sends it whole, since no module has it by its name; so it names none of this module's.

    It makes the library importable under the name it has here, whatever ComfyUI called it, and leaves the rest to it.
    """

    class RayWorker:
        def __init__(self, package: str, sent: tuple, device: str, threads: int):
            import importlib.abc
            import importlib.util
            import os
            import sys
            import types

            import ray

            ray.wait([sent[1]], fetch_local=True)  # here before the memory is asked for, but not taken out
            sources = ray.get(sent[0])

            class Library(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
                def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
                    return importlib.util.spec_from_loader(name, self) if name in sources else None

                def get_source(self, name: str) -> str:
                    return sources[name]

                def is_package(self, name: str) -> bool:
                    return name == package

            os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
            sys.meta_path.insert(0, Library())
            parents = package.split(".")[:-1]
            for i in range(len(parents)):
                name = ".".join(parents[: i + 1])
                sys.modules.setdefault(name, types.ModuleType(name)).__path__ = []

            workers = importlib.import_module(f"{package}.workers")
            self.worker = workers.Worker(lambda: ray.get(sent[1]), device, threads)
            shares = importlib.import_module(f"{package}.shares")
            self.place = shares.place_of(ray.util.get_node_ip_address(), device)

        def ready(self) -> Any:
            return self.place

        def run(self, work: Any, task: Any, share: Any, asked: str) -> tuple[torch.Tensor, list[str]]:
            return self.worker.run(work, task, share, asked)

    return RayWorker
