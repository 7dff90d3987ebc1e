"""Workflows for models of one's own, which none ships: what stands in for these here."""

import shutil
from contextlib import contextmanager

from safetensors.torch import save_file

# Workflow -> (node, input, the folder of models/diffusers that stands in for the model): it runs.
STAND_INS = {
    "paint_by_example": ("Load LIVE Model", "model", "paint"),
    "inpaint_clip": ("Load LIVE Model", "model", "inpainting"),
}
# Workflow -> the files of models/ that it names: empty here, so that all but the loaders is tested.
NAMED = {
    "via_sam3": ("checkpoints/sam3.safetensors",),
    "instruct_core_nodes": ("checkpoints/instruct-pix2pix-00-22000.safetensors",),
    "style_lora": ("checkpoints/v1-5-pruned-emaonly-fp16.safetensors", "loras/pixel-art.safetensors"),
}
TUNING = "live/ball-to-star.safetensors"  # what live_keep_and_measure leaves for live_edit_again


@contextmanager
def offered(server, paint_folder, inpainting_folder, tuning):
    """The stand-ins, the empty files and a tuning of the demo's clip in the folders of a server. The files go
    again: another test's list of checkpoints is its own."""
    from live_core.tunings import save_tuning

    models = server.base / "models"
    for folder in (paint_folder, inpainting_folder):
        shutil.copytree(folder, models / "diffusers" / folder.name, dirs_exist_ok=True)
    files = [models / name for names in NAMED.values() for name in names]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        save_file({}, file)
    (models / TUNING).parent.mkdir(exist_ok=True)
    save_tuning(tuning, models / TUNING)
    yield
    for file in (*files, models / TUNING):
        file.unlink(missing_ok=True)
