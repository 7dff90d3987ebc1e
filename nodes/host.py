"""The only door to ComfyUI's own machinery: folders, models, devices, progress, previews, interrupts."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management as management
import comfy.utils
import folder_paths
import torch

from . import patches

PACK = Path(__file__).resolve().parents[1]
DEMO = "demo model (ships with LIVE)"


def register_folders() -> None:
    """models/live, after any folders that the user's extra_model_paths.yaml gives; only .safetensors files are listed,
    drafts are not.
    """
    folder_paths.add_model_folder_path("live", str(Path(folder_paths.models_dir) / "live"))
    paths, _ = folder_paths.folder_names_and_paths["live"]
    folder_paths.folder_names_and_paths["live"] = paths, {".safetensors"}


def before_queueing(change: Callable[[dict], dict]) -> None:
    """Have every request that queues a graph go through `change` first."""
    from server import PromptServer

    PromptServer.instance.add_on_prompt_handler(change)


def graph_inputs() -> dict:
    """What the graph that runs has written for the node that runs, by input; nothing outside a run."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context = get_executing_context()
    if context is None:
        return {}
    graphs = {
        prompt_id: graph for _, prompt_id, graph, *_ in PromptServer.instance.prompt_queue.currently_running.values()
    }
    return graphs.get(context.prompt_id, {}).get(context.node_id, {}).get("inputs", {})


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


# ------------------------------------------------------------------------------------------------------------- folders
def model_names() -> list[str]:
    """The shipped demo model, every folder of models/diffusers that holds a U-Net, and every .safetensors file of
    models/checkpoints.
    """
    folders = [name for root in folder_paths.get_folder_paths("diffusers") for name in _diffusers_folders(root)]
    files = [name for name in folder_paths.get_filename_list("checkpoints") if name.endswith(".safetensors")]
    return [DEMO, *dict.fromkeys(folders), *files]


def _diffusers_folders(root: str) -> list[str]:
    """Every folder below `root`, however deep, that holds a U-Net: its path from there, as ComfyUI lists files."""
    found = []
    for parent, folders, _ in os.walk(root, followlinks=True):
        if "unet" in folders and parent != root:
            found.append(Path(parent).relative_to(root).as_posix())
            folders.clear()
    return sorted(found)


PRECISIONS = ["auto", "float32", "bfloat16", "float16"]


def dtype_of(precision: str) -> torch.dtype:
    """The number format that a precision names; "auto": float16 where ComfyUI would use it, else float32."""
    if precision == "auto":
        device = management.get_torch_device()
        precision = "float16" if device.type != "cpu" and management.should_use_fp16(device) else "float32"
    return getattr(torch, precision)


def load_model(name: str, dtype, weights: str = "main"):
    """The model of that name in `model_names`, with the `weights` of `live_core.checkpoints.WEIGHTS`."""
    from ..live_core import LiveError
    from ..live_core.checkpoints import MAIN, load_checkpoint
    from ..live_core.pretrained import load_folder

    if name.endswith(".safetensors"):
        return load_checkpoint(_path_of("model", "checkpoints", name), tokenizer_folder(), dtype, weights)
    if weights != MAIN:
        raise LiveError(f"weights: {weights!r}, but {name!r:.100} is a folder, which has one kind; choose {MAIN!r}")
    if name == DEMO:
        return load_folder(PACK / "demo" / "model", dtype)
    return load_folder(_path_of("model", "diffusers", name), dtype)


def _path_of(field: str, kind: str, name: str) -> Path:
    """The file or folder `name` in models/<kind>, of the first of ComfyUI's folders that has it. LiveError, with the
    input `field`, for one that has gone since it was listed, or that no list has: a name never leads out of the folder.
    """
    from ..live_core import LiveError

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


def take_apart(model, clip, vae, name: str) -> dict:
    """What `live_core.checkpoints.load_state_dict` needs of a MODEL, CLIP and VAE: `state`, `schedule` and
    `last_layer`. LiveError, with `name`, for another architecture, before anything is loaded.

    `state` is what ComfyUI's Save Checkpoint would write: patches such as LoRAs worked in, the originals as they are.
    """
    from ..live_core.checkpoints import UNET, architecture_of

    architecture_of(
        {UNET + key: tuple(tensor.shape) for key, tensor in model.model.diffusion_model.state_dict().items()}, name
    )
    for socket, patcher in (("model", model), ("clip", clip.patcher), ("vae", vae.patcher)):
        _check_patches(socket, patcher)
    management.load_models_gpu([model, clip.load_model()])

    def settle(tensors: dict) -> dict:
        """What did not fit on the device is patched only when asked to move, and no other operation asks."""
        return {key: tensor.to("cpu") for key, tensor in tensors.items()}

    state = settle(model.state_dict_for_saving(settle(clip.state_dict_for_saving()), vae.get_sd(), None))
    return {"state": state, "schedule": schedule_of(model), "last_layer": clip.layer_idx}


def _check_patches(socket: str, patcher) -> None:
    """LiveError for what computes beside the weights, and a note for what else LIVE does not carry over."""
    from ..live_core import LiveError
    from ..live_core.notes import note

    if names := patches.injected(patcher):
        raise LiveError(
            f"{socket}: {', '.join(names)} is computed beside the weights, and LIVE reads weights alone; put Load LoRA"
            " in the place of Load LoRA (Bypass), which works it into the weights"
        )
    if names := patches.beside_weights(patcher):
        note(
            f"{socket}: {', '.join(names)} is no change of weights, so LIVE edits without it; take it out, or see to it"
            " that the edit can do without"
        )


def schedule_of(model):
    """The noise schedule a MODEL samples with: its checkpoint's, or what Model Sampling Discrete put in its place."""
    import comfy.model_sampling as sampling

    from ..live_core import LiveError
    from ..live_core.diffusion import Schedule

    own = model.get_model_object("model_sampling")
    kinds = {sampling.EPS: "epsilon", sampling.V_PREDICTION: "v_prediction"}
    prediction = next(
        (kinds[kind] for kind in type(own).__bases__ if kind in kinds), None
    )  # subclasses of these predict something else
    if prediction is None or not isinstance(own, sampling.ModelSamplingDiscrete):
        names = " and ".join(kind.__name__ for kind in type(own).__bases__)
        raise LiveError(
            f"model: it samples by {names}; LIVE takes models that predict noise or v, so set Model Sampling Discrete"
            " to eps or v_prediction"
        )
    return Schedule(1 / (own.sigmas.float().cpu() ** 2 + 1), prediction)


def clip_folders() -> list[str]:
    """Every folder of models/clip_vision that holds a whole CLIP model in transformers layout."""
    return [
        p.name
        for root in folder_paths.get_folder_paths("clip_vision")
        for p in sorted(Path(root).glob("*"))
        if all((p / file).is_file() for file in ("config.json", "tokenizer_config.json"))
    ]


def clip_folder(name: str) -> Path:
    return _path_of("clip_folder", "clip_vision", name)


class ComfyClip:
    """The CLIP whose halves come from a CLIP_VISION and a CLIP socket, read as `live_core.metrics.CLIP` is. Without
    `text` it reads pictures only.

    Both halves must end in one space. ComfyUI fills a projection that its file lacks with zeros or with what the memory
    held, its older versions with the identity, and says nothing, since its samplers need none: those are refused with a
    LiveError, as is what is no CLIP.
    """

    def __init__(self, vision, text=None):
        from ..live_core import LiveError

        self.vision, self.clip = vision, text
        if vision.model_type != "clip_vision_model":
            raise LiveError(
                f"clip_vision: a {vision.model_type} is no CLIP; connect Load CLIP Vision with CLIP's own image"
                " encoder, ViT-L, ViT-H or ViT-bigG"
            )
        projection = vision.model.visual_projection.weight
        if not _is_filled(projection):
            raise LiveError(
                "clip_vision: its file has no visual_projection; connect Load CLIP Vision with a whole CLIP model, such"
                " as openai/clip-vit-large-patch14"
            )
        if text is None:
            return
        tower = next(
            (
                getattr(text.cond_stage_model, name, None)
                for name in ("clip_g", "clip_h", "clip_l")
                if getattr(text.cond_stage_model, name, None)
            ),
            None,
        )
        if tower is None:
            raise LiveError(
                "clip: this text encoder is no CLIP; connect Load CLIP with the text encoder of the CLIP whose image"
                " encoder clip_vision is"
            )
        self.projection = tower.transformer.text_projection.weight
        if not (_is_filled(self.projection) and _files_have_projection(text)):
            raise LiveError(
                "clip: this text encoder has no text_projection (Stable Diffusion 1.x checkpoints keep none), without"
                " which a score means nothing; connect Load CLIP with a whole CLIP model, such as"
                " openai/clip-vit-large-patch14's model.safetensors, or nothing, for Tem-Con alone"
            )
        if len(self.projection) != len(projection):
            raise LiveError(
                f"clip: its texts have {len(self.projection)} numbers and clip_vision's pictures {len(projection)};"
                " connect the two halves of one CLIP model: 768 is ViT-L, 1024 ViT-H, 1280 ViT-bigG"
            )

    def images(self, frames):
        """(f, d), each of length 1, for frames (f, H, W, 3): shorter side scaled to CLIP's size, then the middle."""
        from ..live_core.memory import in_parts
        from ..live_core.metrics import FRAMES_AT_ONCE

        encoded = in_parts(
            "CLIP",
            lambda part: self.vision.encode_image(frames[part])["image_embeds"].float(),
            len(frames),
            FRAMES_AT_ONCE,
        )
        return torch.nn.functional.normalize(encoded, dim=-1)

    def text(self, prompt: str):
        """(d,) of length 1. ComfyUI projects the texts of some models and not of others; so none, and the projection by
        hand.
        """
        from ..live_core import LiveError
        from ..live_core.metrics import note_cut

        tokens = self.clip.tokenize(re.sub(r"([()])", r"\\\1", prompt))  # its parentheses are signs; they weigh nothing
        for chunks in tokens.values():
            if len(chunks) > 1:  # the first of them is what ComfyUI pools
                note_cut(prompt, len(chunks[0]))
        _, pooled = self.clip.encode_from_tokens(tokens, return_pooled="unprojected")
        if pooled.shape[-1] != self.projection.shape[1]:
            raise LiveError(
                "clip: this text encoder joins several models; connect Load CLIP with the one whose image encoder"
                " clip_vision is"
            )
        return torch.nn.functional.normalize(
            pooled.float() @ self.projection.to(pooled.device, torch.float32).T, dim=-1
        )[0]


def _is_filled(projection) -> bool:
    """Whether a weight can have come with its file."""
    weight = projection.float()
    square = weight.shape[0] == weight.shape[1]
    return bool(weight.isfinite().all() and weight.any(1).all()) and not (
        square and torch.equal(weight, torch.eye(len(weight)).to(weight))
    )


def _files_have_projection(clip) -> bool:
    """Whether a file that the text encoder was loaded from has a projection; True where ComfyUI kept no note of
    .safetensors files.
    """
    from safetensors import safe_open

    note = clip.patcher.cached_patcher_init  # (a loader of ComfyUI, its arguments): first the file or files
    paths = note[1][0] if note and note[1] else ()
    files = [path for path in ([paths] if isinstance(paths, str) else paths) if path.endswith(".safetensors")]
    return not files or any(
        name.endswith(("text_projection", "text_projection.weight"))
        for path in files
        for name in safe_open(path, "pt").keys()
    )


def demo_cases() -> list[str]:
    return sorted(p.name for p in (PACK / "demo" / "cases").iterdir() if p.is_dir())


def tuning_names() -> list[str]:
    return folder_paths.get_filename_list("live")


def tuning_path(name: str) -> Path:
    return _path_of("tuning", "live", name)


def new_path(folder_name: str, name: str) -> Path:
    """Where a node writes a file that ComfyUI will list: models/<folder_name>/<name>.safetensors, never outside that
    folder. The ending may stand in `name` already."""
    from ..live_core import LiveError

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


def check_opaque(prompt: dict | None, node: str, name: str) -> None:
    """LiveError when the picture that comes to the input `name` of `node` is a file with transparency, of which Load
    Image passes the colours alone: those under it come too, whatever they are."""
    from PIL import Image

    from ..live_core import LiveError

    file = _loaded_image(prompt or {}, node, name)
    if file is None:
        return
    with Image.open(folder_paths.get_annotated_filepath(file)) as picture:
        clear = picture.has_transparency_data and picture.convert("RGBA").getchannel("A").getextrema()[0] < 255
    if clear:
        raise LiveError(
            f"{name}: {file!r} is transparent in places, and what lies under them would be learned too; connect Load"
            " Image's mask to Invert Mask, and that to mask"
        )


def _loaded_image(prompt: dict, node: str, name: str) -> str | None:
    """What Load Image loads for an input, where it is linked to it or through nodes of one link each."""
    while isinstance(link := prompt.get(node, {}).get("inputs", {}).get(name), list) and link[0] in prompt:
        node = link[0]
        inputs = prompt[node]["inputs"]
        if prompt[node]["class_type"] == "LoadImage":
            return inputs["image"] if isinstance(inputs["image"], str) else None
        links = [field for field, value in inputs.items() if isinstance(value, list)]
        if len(links) != 1:
            return None
        name = links[0]
    return None


# ------------------------------------------------------------------------------------------------------ devices, memory
@contextmanager
def on_device(model):
    """The model's networks on ComfyUI's device for the length of a run.

    They go back afterwards: ComfyUI cannot move weights that only its cache of node outputs holds. And they move
    outside inference mode, in which ComfyUI runs nodes: weights that moved under it can never be trained.
    """
    from comfy.model_patcher import ModelPatcher

    from ..live_core.memory import with_less

    networks = torch.nn.ModuleList([model.unet, model.vae, model.text_encoder])
    patcher = ModelPatcher(networks, management.get_torch_device(), management.unet_offload_device())

    def move() -> None:
        management.load_models_gpu(
            [patcher], memory_required=1e30, force_full_load=True
        )  # all that is free is for activations
        networks.to(management.get_torch_device())  # with --novram nothing has moved yet

    try:
        with torch.inference_mode(False), torch.no_grad():
            with_less("the model's weights", [("", move)])
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            patcher.detach()
        management.soft_empty_cache()


def stop_if_asked() -> None:
    """Honour an interrupt."""
    management.throw_exception_if_processing_interrupted()


def to_images(frames):
    """Pictures on the device that ComfyUI passes between nodes; in main memory where that has no room, since they are
    done.
    """
    from ..live_core.memory import with_less

    return with_less(
        "the result", [("", lambda: frames.to(management.intermediate_device())), ("in main memory", frames.cpu)]
    )


# ------------------------------------------------------------------------------------------- notes, progress, preview
_texts: set[tuple[str, str]] = set()  # clients, and their nodes that show text


def show_text(lines: Sequence[str]) -> None:
    """Lines of text on the node that is running, as core's own nodes show theirs, to the client whose graph it is of;
    those of its last run go."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context, server = get_executing_context(), PromptServer.instance
    if context is None or server.client_id is None:
        return
    place = (server.client_id, context.node_id)
    if lines or place in _texts:
        (_texts.add if lines else _texts.discard)(place)
        server.send_progress_text("\n".join(lines), context.node_id, server.client_id)


class Progress:
    """Callback of `live_core`'s loops: moves ComfyUI's bar, honours interrupts, shows a contact sheet every few steps:
    up to eight frames side by side, coloured by a linear map that is fitted to one decoded frame of `like`, or of the
    first latents shown.
    """

    def __init__(self, model, total: int, like=None, every: int = 5):
        self.model, self.bar, self.like, self.every, self.colours = (
            model,
            comfy.utils.ProgressBar(total),
            like,
            every,
            None,
        )

    def __call__(self, step: int, total: int, latents) -> None:
        from ..live_core.memory import one_run
        from ..live_core.notes import gathered

        stop_if_asked()
        picture = None
        if step % self.every == 0 or step == total:
            try:
                with one_run(apart=True), gathered():  # what a preview lacks is of no concern to the work
                    picture = ("JPEG", self._sheet(latents), 512)
            except Exception as error:  # an interrupt is none; no picture is worth the work done so far
                logging.getLogger(__name__).info("no preview of step %d: %s", step, error)
        self.bar.update_absolute(step, total, picture)

    def _sheet(self, latents):
        from PIL import Image

        from ..live_core.preview import contact_sheet, fit_colours

        if self.colours is None:
            one = (latents if self.like is None else self.like)[:1]
            self.colours = fit_colours(one, self.model.decode_frames(one))
        return Image.fromarray(contact_sheet(latents, self.colours))
