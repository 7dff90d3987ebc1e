"""Workflows for models of one's own, which none ships: what stands in for these here."""

import shutil
from contextlib import contextmanager

from safetensors.torch import save_file

# Workflow -> (node, input, the folder of models/diffusers that stands in for the model): it runs.
STAND_INS = {"paint_by_example": ("Load LIVE Model", "model", "paint")}
# Workflow -> the file of models/checkpoints that it names: empty here, so that all but the loader is tested.
NAMED = {"via_sam3": "sam3.safetensors", "instruct_core_nodes": "instruct-pix2pix-00-22000.safetensors"}


@contextmanager
def offered(server, paint_folder):
    """The stand-ins and the empty files in the folders of a server. The files go again: another test's list of
    checkpoints is its own."""
    shutil.copytree(paint_folder, server.base / "models" / "diffusers" / "paint", dirs_exist_ok=True)
    checkpoints = server.base / "models" / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    for name in NAMED.values():
        save_file({}, checkpoints / name)
    yield
    for name in NAMED.values():
        (checkpoints / name).unlink()
