"""A model's folder to change, for the tests of what folders may say."""

import json
from pathlib import Path

from conftest import ROOT
from safetensors.torch import load_file, save_file

DEMO = ROOT / "demo" / "model"
# Of the parts that the demo model has.
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def change(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_tensors(folder: Path, part: str, edit) -> None:
    """`edit` the tensors of a part in place."""
    file = folder / part / f"{WEIGHTS.get(part, 'model')}.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})
