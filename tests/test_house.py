"""Who touches ComfyUI: `nodes/host` alone, and the library not at all."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

COMFYUI = {"comfy", "comfy_execution", "comfy_extras", "folder_paths", "nodes", "server"}  # comfy_api is for everyone


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, at its top or later, as they are written: relative ones with their dots."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level
            yield from [dots + node.module] if node.module else (dots + name.name for name in node.names)


@pytest.mark.parametrize("file", sorted((ROOT / "nodes").glob("*.py")), ids=lambda path: path.stem)
def test_only_the_host_touches_comfyui(file):
    assert not {name.split(".")[0] for name in imported(file)} & COMFYUI


def test_the_library_knows_no_comfyui():
    for file in (ROOT / "live_core").glob("*.py"):
        assert not {name.split(".")[0] for name in imported(file)} & (COMFYUI | {"comfy_api"}), file


def test_the_pack_loads_fast(comfyui):
    """Beside what ComfyUI has loaded itself. The least of three starts counts: the first may compile what changed, and
    what else a machine does only adds, to processor time too."""
    folder, python = comfyui
    child = str(ROOT / "tests" / "import_child.py")
    compiles = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(3):
        done = subprocess.run([python, child, str(ROOT), str(folder)], capture_output=True, text=True, env=compiles)
        assert done.returncode == 0, done.stderr[-3000:]
        if (seconds := float(done.stdout.splitlines()[-1])) < 0.3:
            return
    pytest.fail(f"the last of three starts took {seconds:.2f} seconds")
