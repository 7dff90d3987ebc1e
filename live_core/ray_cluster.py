"""A Ray cluster to work on: one that runs, or one on this machine alone for as long as it is needed."""

from __future__ import annotations

import importlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from . import LiveError
from .interrupts import heed

MISSING = "engine: Ray is not installed; run `python -m pip install ray` with ComfyUI's Python, or take Run on Ray out"
KNOCK = 5  # seconds in which a cluster answers
QUIET = {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
STARTS = 3  # Ray gives up starting where a busy machine takes more than 15 s over a step


def imported() -> Any:
    """Ray. LiveError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise LiveError(MISSING) from error
    return ray


@contextmanager
def connected(address: str, gpus: int) -> Iterator[None]:
    """On the cluster at `address` (`on_ray.OnRay`) to the end of the `with` block. One that is started here has all of
    this machine's cores and so many of its GPUs, listens to this machine alone, and is over then. LiveError for one
    that does not answer."""
    ray = imported()
    if ray.is_initialized():  # by others in this process, whose it stays
        at = ray.get_runtime_context().gcs_address
        if address not in ("", "auto", at):
            raise LiveError(f"address: {address!r}, but this ComfyUI is on the cluster at {at}; give that, or nothing")
        yield
        return
    if address:
        _join(ray, address)
    else:
        _start(ray, gpus)
    try:
        yield
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    remedy = "start one with `ray start --head`, and on each further machine `ray start --address=HOST:PORT`"
    try:
        host, _, port = address.rpartition(":")
        if host:
            _knock(host, int(port))
        with _loopback() if host and _is_alone(ray, host, int(port)) else nullcontext():
            ray.init(address=address, **QUIET)
    except Exception as error:  # Ray has no class of its own for what may be wrong with a cluster
        ray.shutdown()
        raise LiveError(f"address: no Ray cluster answers at {address!r} ({_why(error)}); {remedy}") from error


def _knock(host: str, port: int) -> None:
    """An error within seconds where nobody answers, or nobody who speaks gRPC: Ray itself would wait for minutes."""
    with socket.create_connection((host, port), KNOCK) as connection:
        connection.settimeout(KNOCK)
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            if connection.recv(9)[3:4] != b"\4":  # a frame of settings, with which each side of HTTP/2 begins
                raise ConnectionError("what answers there is not Ray")


def _is_alone(ray: Any, host: str, port: int) -> bool:
    """Whether a cluster listens to this machine alone: not at the address that others reach it by."""
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), port), KNOCK).close()
    except OSError:
        return True
    return False


def _start(ray: Any, gpus: int) -> None:
    for left in reversed(range(STARTS)):
        heed()
        try:
            with _loopback():
                ray.init(address="local", include_dashboard=False, num_gpus=gpus, **QUIET)
            return
        except Exception as error:
            ray.shutdown()
            if not left:
                raise LiveError(
                    f"engine: Ray did not start on this machine ({_why(error)}); its logs are in"
                    " ray/session_latest/logs of the folder for temporary files"
                ) from error


@contextmanager
def _loopback() -> Iterator[None]:
    """Ray listens to this machine alone, as it does on Windows and macOS, where a firewall would ask."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    usual, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = usual


def _why(error: BaseException) -> str:
    """What is at the bottom of an error of Ray's, which may be the last line of a traceback in its text."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]
    return f"{(named or lines)[-1 if named else 0]:.300}"
