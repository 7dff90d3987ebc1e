"""Files appear whole or not at all: two writers, a kill in the midst of a save, a full disk, a folder that may not be
written.
"""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from live_core import LiveError
from live_core.files import DRAFT, LOADED, MACHINE, read_safetensors, write_safetensors
from live_core.stores import DiskStore

CHILD = Path(__file__).with_name("files_child.py")
ONE = {"a": torch.ones(3)}


def child(what: str, file: Path, value: float = 0, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(CHILD), what, str(file), str(value)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def said_by(what: str, file: Path) -> str:
    out, err = child(what, file).communicate(timeout=120)
    assert not err, err
    return out.strip()


def whole(file: Path) -> bool:
    """Whether all of a file is by one writer."""
    tensors, metadata = read_safetensors(file)
    return bool((tensors["a"] == float(metadata["value"])).all())


def test_two_writers_of_one_name_never_tear_it(tmp_path):
    file = tmp_path / "t.safetensors"
    writers = [child("often", file, value) for value in (1, 2)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if file.exists():
            assert whole(file)
            seen += 1
    assert [writer.communicate()[1] for writer in writers] == ["", ""] and all(
        writer.returncode == 0 for writer in writers
    )
    assert seen > 5 and whole(file) and [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_kill_in_the_midst_of_a_save_leaves_the_old_file_and_the_next_save_cleans_up(tmp_path):
    file, left = tmp_path / "t.safetensors", 0
    write_safetensors({"a": torch.full((10,), 7.0)}, file, {"value": "7"})

    def half_way() -> bool:
        # Drafts come and go between two looks: `os.walk` passes over what is gone.
        return any(files and DRAFT.fullmatch(Path(folder).name) for folder, _, files in os.walk(tmp_path))

    writer = child("for ever", file, 3)
    try:
        assert writer.stdout.readline() == "ready\n"
        until = time.monotonic() + 60
        while time.monotonic() < until:  # caught with a draft of its own
            if half_way():
                writer.send_signal(signal.SIGSTOP)
                if half_way():
                    break
                writer.send_signal(signal.SIGCONT)
    finally:
        writer.kill()
        writer.communicate()
    left = [p for p in tmp_path.iterdir() if p != file]
    assert left and whole(file)
    write_safetensors({"a": torch.full((10,), 8.0)}, file, {"value": "8"})
    assert [p.name for p in tmp_path.iterdir()] == [file.name] and read_safetensors(file)[1] == {"value": "8"}


def test_only_what_killed_writers_left_is_cleaned_up(tmp_path):
    """Not what a living process or another machine writes now, and nothing of another name."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours, dead, elsewhere = os.getpid(), dead.pid, "0" * 8
    names = {
        "mine, written now": (MACHINE, ours, LOADED),
        "of a living process": (MACHINE, os.getppid(), elsewhere),
        "another machine's": (elsewhere, dead, elsewhere),
        "killed": (MACHINE, dead, elsewhere),
        "killed, with my id": (MACHINE, ours, elsewhere),
        "another machine's, old": (elsewhere, 1, elsewhere),
    }
    drafts = {
        what: tmp_path / ".live-{}-{}-{}-{:08x}.draft".format(*parts, i)
        for i, (what, parts) in enumerate(names.items())
    }
    for draft in drafts.values():
        draft.mkdir()
        (draft / "tensors").write_text("half")
    os.utime(drafts["another machine's, old"], (0, 0))
    others = [tmp_path / name for name in ("user.draft", ".live-notes.draft", "t.safetensors.draft")]
    for other in others:
        other.mkdir()
    write_safetensors(ONE, tmp_path / "t.safetensors")
    assert [what for what, draft in drafts.items() if not draft.exists()] == [
        "killed",
        "killed, with my id",
        "another machine's, old",
    ]
    assert all(other.exists() for other in others)


@contextmanager
def small_disk(folder: Path):
    """A real file system of a few kilobytes, where that is allowed."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this machine lets no test mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="mounts")
def test_a_full_disk_is_said_to_be_and_costs_nothing(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        write_safetensors(ONE, disk / "t.safetensors")
        before = (disk / "t.safetensors").read_bytes()
        with pytest.raises(
            LiveError,
            match=rf"^name: 't.safetensors' cannot be written in {disk} \(No space left on device\); free some space",
        ):
            write_safetensors({"a": torch.ones(100_000)}, disk / "t.safetensors")
        assert [p.name for p in disk.iterdir()] == ["t.safetensors"] and (disk / "t.safetensors").read_bytes() == before
        write_safetensors({"a": torch.zeros(3)}, disk / "t.safetensors")  # the next save is as good as any
        store = DiskStore(disk / "store")
        store.write("0000/maps", torch.ones(3))
        with pytest.raises(
            LiveError,
            match=(
                "^attention: 'disk', .*No space left.*free some space on that disk, or choose attention \"recompute\""
            ),
        ):
            store.write("0001/maps", torch.ones(100_000))
        assert torch.equal(store.read("0000/maps"), torch.ones(3))
        with pytest.raises(LiveError, match="the attention of step 2 was not kept"):
            store.read("0001/maps")


@pytest.mark.skipif(os.name == "nt", reason="limits of a process")
def test_a_file_longer_than_allowed_is_said_to_be(tmp_path):
    assert re.fullmatch(
        rf"name: 't.safetensors' cannot be written in {tmp_path} \(File too large\); free some space on that disk",
        said_by("little space", tmp_path / "t.safetensors"),
    )
    assert not list(tmp_path.iterdir())


@contextmanager
def closed(folder: Path):
    """A folder that may not be written: its disk is read-only for root, whom permissions do not bind."""
    if os.geteuid() == 0:
        with small_disk(folder):
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
            yield "Read-only file system"
    else:
        folder.mkdir()
        folder.chmod(0o555)
        yield "Permission denied"


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_a_read_only_folder_is_said_to_be(tmp_path):
    with closed(tmp_path / "closed") as why:
        for folder in (tmp_path / "closed", tmp_path / "closed" / "new"):
            with pytest.raises(
                LiveError,
                match=rf"^name: 't.safetensors' cannot be written in {folder} \({why}\); make that folder writable$",
            ):
                write_safetensors(ONE, folder / "t.safetensors")
        with pytest.raises(
            LiveError,
            match=(
                rf"^attention: 'disk', .* cannot be written in {tmp_path}/closed .*; make that folder writable, or"
                r" choose"
            ),
        ):
            DiskStore(tmp_path / "closed")


def test_names_that_no_file_can_have(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "folder.safetensors" / "kept").touch()
    (tmp_path / "file").touch()
    for path, says in (
        (tmp_path / f"{'n' * 300}.safetensors", "File name too long.*choose a shorter name"),
        (tmp_path / "folder.safetensors", "folder of that name is in the way"),
        (tmp_path / "file" / "t.safetensors", "a file .* in the way|a file stands where that folder should be"),
    ):
        with pytest.raises(
            LiveError, match=f"^name: .{path.name[:90]}.* cannot be written in {path.parent} .*({says})"
        ):
            write_safetensors(ONE, path)
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]
        and (tmp_path / "folder.safetensors" / "kept").exists()
    )


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_a_file_has_the_permissions_that_any_new_file_has(tmp_path):
    (tmp_path / "any").touch()
    write_safetensors(ONE, tmp_path / "new" / "t.safetensors")
    assert (tmp_path / "new" / "t.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_what_is_no_file_is_not_waited_for(tmp_path):
    (tmp_path / "folder").mkdir()
    names = ["folder", "absent"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        names.append("pipe")
    for name in names:
        with pytest.raises(FileNotFoundError, match=f"there is no file '{name}'"):
            read_safetensors(tmp_path / name)
