"""Run by test_files.py as processes of their own, since they are killed or allowed little space.

python files_child.py <what> <file> [<value>]
"""

import sys
from pathlib import Path

from packages import load_package

ROOT = Path(__file__).resolve().parents[1]
load_package("live_core", ROOT / "live_core")

import torch  # noqa: E402

from live_core import LiveError  # noqa: E402
from live_core.files import write_safetensors  # noqa: E402

WHAT, FILE, VALUE = sys.argv[1], Path(sys.argv[2]), float((sys.argv[3:] or [0])[0])


def write(values: int = 50_000) -> str:
    try:
        write_safetensors({"a": torch.full((values,), VALUE)}, FILE, {"value": str(VALUE)})
    except LiveError as error:
        return str(error)
    return "written"


if WHAT == "often":
    for _ in range(60):
        assert write() == "written"
elif WHAT == "for ever":
    print("ready", flush=True)
    while True:
        write(3_000_000)
elif WHAT == "little space":
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    print(write())
