"""ComfyUI's folders: what lies in them, under which names, and where nodes may write."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path

import folder_paths

PACK = Path(__file__).resolve().parents[2]
DEMO = "demo model (ships with LIVE)"
# What may ship with the pack, by the names that graphs have for it: folders of demo/.
SHIPPED = {DEMO: "model", "demo model for instructions (ships with LIVE)": "model_instruct"}


def register_folders() -> None:
    """models/live, after any folders that the user's extra_model_paths.yaml gives; only .safetensors files are listed,
    drafts are not.
    """
    folder_paths.add_model_folder_path("live", str(Path(folder_paths.models_dir) / "live"))
    paths, _ = folder_paths.folder_names_and_paths["live"]
    folder_paths.folder_names_and_paths["live"] = paths, {".safetensors"}


def offer_demo_files() -> None:
    """The demo's clip and photo in ComfyUI's input folder, where they are not there yet: what Load Video and Load Image
    of the workflows for one's own material open with, until files of one's own take their place."""
    folder = Path(folder_paths.get_input_directory())
    for file, name in (("clip.mp4", "live_demo_clip.mp4"), ("photo.png", "live_demo_photo.png")):
        draft = folder / f"{name}.{os.getpid()}.draft"
        try:
            if folder.is_dir() and not (folder / name).exists():
                shutil.copyfile(PACK / "demo" / "cases" / "ball-to-star" / file, draft)
                os.replace(draft, folder / name)
        except OSError as error:
            logging.info("LIVE: %s is not in the input folder (%s)", name, error)
            draft.unlink(missing_ok=True)


def shipped_models() -> dict[str, Path]:
    """The folders of the models that ship with this pack, by name."""
    folders = {name: PACK / "demo" / folder for name, folder in SHIPPED.items()}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def model_names() -> list[str]:
    """The shipped demo models, every folder of models/diffusers that holds a U-Net, and every .safetensors file of
    models/checkpoints.
    """
    folders = [name for root in folder_paths.get_folder_paths("diffusers") for name in _diffusers_folders(root)]
    files = [name for name in folder_paths.get_filename_list("checkpoints") if name.endswith(".safetensors")]
    return [*shipped_models(), *dict.fromkeys(folders), *files]


def _diffusers_folders(root: str) -> list[str]:
    """Every folder below `root`, however deep, that holds a U-Net: its path from there, as ComfyUI lists files."""
    found = []
    for parent, folders, _ in os.walk(root, followlinks=True):
        if "unet" in folders and parent != root:
            found.append(Path(parent).relative_to(root).as_posix())
            folders.clear()
    return sorted(found)


def path_of(field: str, kind: str, name: str) -> Path:
    """The file or folder `name` in models/<kind>, of the first of ComfyUI's folders that has it. LiveError, with the
    input `field`, for one that has gone since it was listed, or that no list has: a name never leads out of the folder.
    """
    from ...live_core import LiveError

    parts = Path(name).parts
    inside = parts and not Path(name).is_absolute() and ".." not in parts
    found = next(
        (Path(root) / name for root in folder_paths.get_folder_paths(kind) if inside and (Path(root) / name).exists()),
        None,
    )
    if found is None:
        raise LiveError(
            f"{field}: {name!r} is not in models/{kind}; choose from the list, which R on the page reads anew"
        )
    return found


def embedding_files() -> dict[str, Path]:
    """Every file of models/embeddings, by its path from there. Those of the first of several folders go first."""
    paths = {
        name: folder_paths.get_full_path("embeddings", name) for name in folder_paths.get_filename_list("embeddings")
    }
    return {name: Path(path) for name, path in paths.items() if path is not None}


def tokenizer_folder() -> Path:
    """CLIP's vocabulary, which ComfyUI ships."""
    import comfy.sd1_clip

    return Path(comfy.sd1_clip.__file__).parent / "sd1_tokenizer"


def clip_folders() -> list[str]:
    """Every folder of models/clip_vision that holds a whole CLIP model in transformers layout."""
    return [
        p.name
        for root in folder_paths.get_folder_paths("clip_vision")
        for p in sorted(Path(root).glob("*"))
        if all((p / file).is_file() for file in ("config.json", "tokenizer_config.json"))
    ]


def clip_folder(name: str) -> Path:
    return path_of("clip_folder", "clip_vision", name)


def demo_cases() -> list[str]:
    return sorted(p.name for p in (PACK / "demo" / "cases").iterdir() if p.is_dir())


def tuning_names() -> list[str]:
    return folder_paths.get_filename_list("live")


def tuning_path(name: str) -> Path:
    return path_of("tuning", "live", name)


def new_path(folder_name: str, name: str) -> Path:
    """Where a node writes a file that ComfyUI will list: models/<folder_name>/<name>.safetensors, never outside that
    folder. The ending may stand in `name` already."""
    from ...live_core import LiveError

    name = re.sub(r"(?i)\.safetensors$", "", name)
    if not re.fullmatch(r"[\w][\w .-]*", name):
        raise LiveError(
            f'name: {name!r}; use letters, digits, spaces, dots, dashes and underscores, such as "my-tuning"'
        )
    return Path(folder_paths.get_folder_paths(folder_name)[0]) / f"{name}.safetensors"


def unfinished_folder() -> Path:
    """Where a tuning that was stopped waits to be gone on with: ComfyUI's user folder, which outlives a restart."""
    return Path(folder_paths.get_user_directory()) / "live" / "unfinished"


def temp_folder() -> Path:
    """ComfyUI's temp folder, which ComfyUI clears at its next start."""
    return Path(folder_paths.get_temp_directory())
