"""Files: safetensors that appear whole or not at all, and words for what cannot be written or read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from . import LiveError
from .memory import is_out_of_memory


def _machine() -> str:
    """8 hex digits of where a process id means this process: the host, and in it the container."""
    namespace = Path("/proc/self/ns/pid")
    return hashlib.sha256(
        f"{socket.gethostname()} {namespace.stat().st_ino if namespace.exists() else 0}".encode()
    ).hexdigest()[:8]


# A draft is a folder beside its target, named by machine, process and this import of the module, and by chance: the
# safetensors library writes a passing file of its own into it, so that whatever a killed process leaves lies in it.
MACHINE, LOADED = _machine(), secrets.token_hex(4)
DRAFT = re.compile(r"\.live-([0-9a-f]{8})-(\d{1,10})-([0-9a-f]{8})-[0-9a-f]{8}\.draft")
FORGOTTEN = 3600  # seconds after which a draft of another machine is one that nobody writes

_FREE, _ALLOW = "free some space on that disk", "make that folder writable"
REMEDIES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: _FREE,
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.EROFS: _ALLOW,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "a folder of that name is in the way, so choose another name",
    errno.EEXIST: "a file of that name is in the way, so choose another name",
    errno.ENOTDIR: "a file stands where that folder should be, so move it away",
}


def write_safetensors(
    tensors: dict[str, torch.Tensor], path: Path | str, metadata: dict[str, str] | None = None, name: str = "name"
) -> None:
    """Write `path` as `drafted` does."""
    from safetensors.torch import save_file

    with drafted(Path(path), name) as draft:
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, draft, metadata)


@contextmanager
def drafted(path: Path, name: str = "name") -> Iterator[Path]:
    """Where to write a file that at the end of the `with` block becomes `path`, replacing a file of that name; folders
    above it are made. It appears whole or not at all, whoever else writes it too and whenever the process ends; what
    writers that were killed have left in its folder goes.

    LiveError, naming the input `name`, the file and its folder, when that cannot be done: a full or read-only disk, a
    name too long, a folder of that name.
    """
    from safetensors import SafetensorError

    draft = path.parent / f".live-{MACHINE}-{os.getpid()}-{LOADED}-{secrets.token_hex(4)}.draft"
    written = draft / f"draft{path.suffix}"  # writers of videos go by the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        draft.mkdir()
        yield written
        written.chmod(draft.stat().st_mode & 0o666)  # safetensors' own are closed to all other users
        os.replace(written, path)
    except (OSError, SafetensorError) as error:
        raise unwritable(f"{name}: {path.name!r:.100}", path.parent, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def unwritable(what: str, folder: Path, error: Exception, instead: str | None = None) -> LiveError:
    """``<what> cannot be written in <folder> (<why>); <remedy>, or <instead>``, for an error that the system, or
    safetensors, has raised.
    """
    number, why = getattr(error, "errno", None), getattr(error, "strerror", None)
    if number is None:
        told = re.search(r"(?:os error|code:) (\d+)", str(error))  # all that safetensors keeps of it, by its version
        number, why = (int(told[1]), os.strerror(int(told[1]))) if told else (None, str(error))
    known = None if number is None else REMEDIES.get(number)
    remedies = [remedy for remedy in (known, instead) if remedy] or ["choose another name"]
    return LiveError(f"{what} cannot be written in {folder} ({why}); {', or '.join(remedies)}")


def _sweep(folder: Path) -> None:
    """Take away the drafts that killed processes have left in `folder`: nothing else has such a name."""
    for entry in folder.iterdir():
        named = DRAFT.fullmatch(entry.name)
        if named and _is_left(named[1], named[2], named[3], entry):
            shutil.rmtree(entry, ignore_errors=True)


def _is_left(machine: str, process: str, loaded: str, draft: Path) -> bool:
    if machine == MACHINE:
        ours = int(process) == os.getpid()  # a container's processes often have the same ids at every start
        if loaded != LOADED if ours else not _runs(int(process)):
            return True
        if ours:
            return False
    try:
        return time.time() - draft.stat().st_mtime > FORGOTTEN
    except OSError:  # gone meanwhile
        return False


def _runs(process: int) -> bool:
    """Whether this machine has a process of that id; True where that cannot be asked (Windows, where `os.kill` ends
    it).
    """
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def reading(what: str, remedy: str) -> Iterator[None]:
    """LiveError ``<what> cannot be read (<why>); <remedy>`` for whatever a file that is missing or damaged makes its
    readers raise.
    """
    from safetensors import SafetensorError

    try:
        yield
    except LiveError:
        raise
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:  # also of JSON that is none, or too deep
        if is_out_of_memory(error):
            raise
        raise LiveError(f"{what} cannot be read ({error}); {remedy}") from error


def read_safetensors(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata of a file, in memory and of one moment: another file may take its place meanwhile,
    and safetensors' own readers open it twice."""
    from safetensors.torch import load

    data = _whole(path).read_bytes()
    tensors = load(data)  # it finds what is wrong with the header, too
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, header.get("__metadata__") or {}


def map_safetensors(path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a file, mapped into memory: they change if it does, and are to be copied."""
    from safetensors.torch import load_file

    return load_file(_whole(path))


def _whole(path: Path | str) -> Path:
    if not Path(path).is_file():  # a folder, a pipe that nobody writes
        raise FileNotFoundError(f"there is no file {Path(path).name!r:.100}")
    return Path(path)
