"""Run by test_streaming.py: a file edited window by window, to be killed, or measured. Prints a line a finished window,
then a JSON object.

python stream_child.py <how> <file> <folder of parts> <out> <window>

`how`: "instruct", by the demo model for instructions, "prompts", by the demo model, or "plain", by no model.
"""

import json
import sys
from functools import partial
from pathlib import Path

import conftest  # noqa: F401  registers live_core
from chain import CASE
from conftest import ROOT

from live_core import film, long_stream, streaming
from live_core.change import Edit
from live_core.footage import File, Fit
from live_core.frames import GroupPlan
from live_core.instruct_settings import Instruction, InstructMethod
from live_core.instruct_stream import InstructedWindows, edit_task
from live_core.long_settings import LongEdit
from live_core.long_stream import PromptedWindows
from live_core.methods import FATEZERO_ATTRIBUTE
from live_core.pretrained import load_folder
from live_core.windows import windows_of

PLAN = GroupPlan(size=2)


def plain(task):
    return 1 - task.pictures[len(task.window.riders) :]


def main() -> None:
    how, file, folder, out, size = sys.argv[1:]
    clip = File(lambda: file, fit=Fit(0))
    edit, key, windows = plain, how, windows_of(len(clip), int(size), [PLAN])
    if how == "instruct":
        model = load_folder(ROOT / "demo" / "model_instruct")
        asked = InstructedWindows(Instruction("make the ball blue", steps=2), InstructMethod("gather", PLAN))
        edit, key = partial(edit_task, model, callback=lambda *step: None, asked=asked), asked.key(model)
    if how == "prompts":
        model = load_folder(ROOT / "demo" / "model")
        change = Edit("a blue ball moving on the meadow")
        asked = PromptedWindows(LongEdit(CASE.prompt, change, FATEZERO_ATTRIBUTE, 1, int(size)), len(clip))
        edit, key = partial(long_stream.edit_task, model, callback=lambda *step: None, asked=asked), asked.key(model)
        windows = asked.windows(model)
    done = []

    def run(tasks):
        for task in tasks:
            yield edit(task)
            done.append(task.number)
            print(task.number, flush=True)

    job = streaming.Job(clip, windows, key)
    sound = film.of_file(clip.source, clip.first * clip.base, None)
    streaming.stream(job, run, Path(folder), Path(out), sound)
    # Not `resource.getrusage`, whose peak begins with that of the process which started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps({"done": done, "most": int(status["VmHWM"].split()[0])}))


if __name__ == "__main__":
    main()
