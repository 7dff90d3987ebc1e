"""The only door to ComfyUI's own machinery: nothing else of the pack imports `comfy`, its folders, queue or server."""

from comfy import model_management as management

from .clip import ComfyClip
from .devices import on_device, to_images
from .folders import (
    PACK,
    clip_folder,
    clip_folders,
    demo_cases,
    embedding_files,
    model_names,
    new_path,
    offer_demo_files,
    register_folders,
    temp_folder,
    tokenizer_folder,
    tuning_names,
    tuning_path,
    unfinished_folder,
)
from .graphs import before_queueing, check_opaque, graph_inputs, linked
from .models import PRECISIONS, dtype_of, load_model, take_apart
from .page import Progress, show_text, stop_if_asked
from .stages import timed

__all__ = [
    "PACK",
    "PRECISIONS",
    "ComfyClip",
    "Progress",
    "before_queueing",
    "check_opaque",
    "clip_folder",
    "clip_folders",
    "demo_cases",
    "dtype_of",
    "embedding_files",
    "graph_inputs",
    "linked",
    "load_model",
    "management",
    "model_names",
    "new_path",
    "offer_demo_files",
    "on_device",
    "register_folders",
    "show_text",
    "stop_if_asked",
    "take_apart",
    "temp_folder",
    "timed",
    "to_images",
    "tokenizer_folder",
    "tuning_names",
    "tuning_path",
    "unfinished_folder",
]
