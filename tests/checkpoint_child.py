"""Run by test_full_size.py with ComfyUI's Python: full-size random models, ComfyUI's forward beside ours. Prints one
JSON object.

python checkpoint_child.py <pack folder> <ComfyUI folder> <work folder>
    <sd15 | sd21 | instruct | inpainting | by-example>
"""

import gc
import json
import resource
import sys
from pathlib import Path

from packages import load_package

PACK, COMFYUI, WORK, WHICH = sys.argv[1:5]
sys.argv = [sys.argv[0], "--cpu", "--fp16-unet"]  # half-precision storage; on a CPU it computes in float32 all the same
sys.path.insert(0, COMFYUI)

import comfy.options  # noqa: E402  ComfyUI reads sys.argv when told to, before its other modules are imported

comfy.options.enable_args_parsing()
import comfy.ldm.models.autoencoder  # noqa: E402
import comfy.ldm.modules.diffusionmodules.openaimodel  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.supported_models  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import paint_by_example  # noqa: E402
import torch  # noqa: E402

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "use_spatial_transformer": True,
    "use_checkpoint": False,
    "legacy": False,
    "adm_in_channels": None,
}
SD15 = {"context_dim": 768, "num_heads": 8, "use_linear_in_transformer": False}
KINDS = {
    "sd15": (comfy.supported_models.SD15, SD15),
    "instruct": (comfy.supported_models.SD15, {**SD15, "in_channels": 8}),
    "inpainting": (comfy.supported_models.SD15, {**SD15, "in_channels": 9}),
    "by-example": (comfy.supported_models.SD15, {**SD15, "in_channels": 9}),
    "sd21": (
        comfy.supported_models.SD20,
        {"context_dim": 1024, "num_head_channels": 64, "num_heads": -1, "use_linear_in_transformer": True},
    ),
}
VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
NAMES = {  # of those with more inputs
    "instruct": "an InstructPix2Pix model",
    "inpainting": "an inpainting model",
    "by-example": "a Paint-by-Example model",
}
BY_EXAMPLE = WHICH == "by-example"  # ComfyUI has its networks, and no name for it: diffusers has its photo encoder
LAST_NORM_KEY = "diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


def random_tensors(module: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Half-precision values that keep activations of unit size; norms get a bias wide enough for ComfyUI's test of
    v-prediction.
    """
    generator, out = torch.Generator().manual_seed(len(prefix)), {}
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        value = torch.randn(tensor.shape, generator=generator)
        is_norm_weight = tensor.ndim == 1 and name.endswith("weight")
        if is_norm_weight:
            scale = 0.1
        elif tensor.ndim < 2:
            scale = 0.2
        else:
            scale = 0.02 if "embedding" in name else 0.8 / tensor[0].numel() ** 0.5
        out[prefix + name] = (value * scale + is_norm_weight).half()
    return out


def write_checkpoint(path: Path) -> None:
    kind, options = KINDS[WHICH]
    config = kind({**UNET, **options})
    with torch.device("meta"):  # names and shapes are all that is needed
        unet = comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel(
            **{**UNET, **options}, operations=comfy.ops.disable_weight_init
        )
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=VAE, embed_dim=4)
        text_encoder = (
            paint_by_example.encoder(**paint_by_example.PUBLISHED)
            if BY_EXAMPLE
            else config.clip_target().clip(device="meta")
        )
    state = random_tensors(unet, "model.diffusion_model.") | random_tensors(vae, "first_stage_model.")
    text = random_tensors(text_encoder, "")
    text = paint_by_example.in_a_file(text) if BY_EXAMPLE else config.process_clip_state_dict_for_saving(text)
    if WHICH == "sd21":  # as SD-Turbo's file has it; ComfyUI saves the older layout
        text = comfy.utils.state_dict_prefix_replace(text, {"cond_stage_model.": "conditioner.embedders.0."})
    state |= {name: tensor.contiguous() for name, tensor in text.items()}
    comfy.utils.save_torch_file(state, str(path))


def live_pack():
    load_package("live_pack", Path(PACK))
    from live_pack.nodes import host, load

    return host, load


def save_checkpoint(model, clip, vae, path: Path) -> None:
    """ComfyUI's Save Checkpoint, to `path`."""
    from comfy_extras.nodes_model_merging import CheckpointSave

    node = CheckpointSave()
    node.output_dir = str(path.parent)
    node.save(model, clip, vae, path.stem)
    (path.parent / f"{path.stem}_00001_.safetensors").replace(path)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference in units of the standard deviation."""
    return float((a - b).abs().max() / b.std())


def peak() -> float:
    """Gigabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


class Given:
    """The same noisy latents, prompt and pictures for ComfyUI's networks and ours."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(1, 4, 24, 16, generator=self.generator)
        self.t = 481
        self.prompt = "a (photo:1.3) of a cat, riding!" + " in the snow" * 30
        self.picture = torch.rand(1, 64, 48, 3, generator=self.generator)
        # What a model with more inputs is shown, at the size of x.
        self.shown = torch.rand(1, 192, 128, 3, generator=self.generator)
        self.mask = (torch.rand(1, 1, 24, 16, generator=self.generator) > 0.5).float()

    def ours(self, output) -> dict:
        live = output.args[0]
        text = live.encode_photo(self.picture)[0] if BY_EXAMPLE else live.encode_text(self.prompt)
        text, alphas = text[None], live.schedule.alphas_cumprod
        joined, x = None, self.x
        if WHICH in NAMES:
            latents = live.encode_frames(self.shown)
            unscaled = latents / live.vae.config.scaling_factor
            mask = 1 - self.mask if live.base.keeps else self.mask
            joined = live.base.join({"picture": unscaled if WHICH == "instruct" else latents, "mask": mask})
            x = torch.cat([x, joined], 1)
        networks = live.networks
        result = {
            "unet": live.unet(x[None], self.t, text)[0],
            "joined": joined,
            "base": next((which for which, name in NAMES.items() if live.base.name == name), None),
            "text": text,
            "vae": live.encode_frames(self.picture),
            "schedule": ((1 - alphas) / alphas).log() / 2,
            "prediction": live.schedule.prediction,
            "fingerprint": live.fingerprint,
            "trainable": not any(p.is_inference() or p.requires_grad for p in networks.parameters()),
        }
        del live, output, networks
        gc.collect()  # a network and its hooks refer to each other
        return result

    def theirs(self, model, clip, vae) -> dict:
        x, network, t = self.x, model.model.diffusion_model, torch.tensor([float(self.t)])
        text = self.photo_token() if BY_EXAMPLE else clip.encode_from_tokens(clip.tokenize(self.prompt))
        comfy.model_management.load_models_gpu([model])
        joined = model.model.concat_cond(
            concat_latent_image=vae.encode(self.shown), concat_mask=self.mask, noise=x, device=x.device
        )
        if BY_EXAMPLE:  # whose channels ComfyUI takes for an inpainting model's
            joined = torch.cat([joined[:, 1:], 1 - joined[:, :1]], 1)
        whole = x if joined is None else torch.cat([x, joined], 1)
        predicted = network(whole, t, context=text)
        if joined is not None:  # as its samplers join them
            sigma = model.get_model_object("model_sampling").sigmas[self.t : self.t + 1]
            noisy = x * (sigma**2 + 1) ** 0.5
            noise = (noisy - model.model.apply_model(noisy, sigma, c_concat=joined, c_crossattn=text)) / sigma
            assert apart(noise, predicted) < 1e-3
        return {
            "unet": predicted,
            **({} if joined is None else {"joined": joined}),
            "text": text,
            "vae": vae.encode(self.picture) * 0.18215,
            "schedule": model.get_model_object("model_sampling").sigmas.log(),
        }

    def photo_token(self) -> torch.Tensor:
        """By diffusers' encoder, of the weights that the file got."""
        from live_pack.live_core.pictures import as_clip_sees

        encoder = paint_by_example.encoder(**paint_by_example.PUBLISHED)
        encoder.load_state_dict({name: tensor.float() for name, tensor in random_tensors(encoder, "").items()})
        return encoder(as_clip_sees(self.picture, 224))


def compare(a: dict, b: dict) -> dict:
    told = {name: a[name] for name in ("prediction", "trainable", "fingerprint", "base")}
    return {part: apart(a[part], b[part]) for part in b} | told


def joins(given: Given, model, plain: dict) -> float:
    """How far the forward is from one that is shown nothing."""
    nothing = torch.cat([given.x, torch.zeros_like(plain["joined"])], 1)
    blank = model.model.diffusion_model(nothing, torch.tensor([float(given.t)]), context=plain["text"])
    return apart(blank, plain["unet"])


def with_patches(host, load, given: Given, parts: list, plain: dict) -> dict:
    """A LoRA, another schedule and CLIP skip: that they change something, and are carried over."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    model, clip, vae = parts
    width, lora = KINDS[WHICH][1]["context_dim"], {}
    for layer, rows, columns in (
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v", 640, width),
        ("lora_te_text_model_encoder_layers_3_self_attn_q_proj", width, width),
    ):
        lora |= {
            f"{layer}.lora_up.weight": torch.randn(rows, 4, generator=given.generator),
            f"{layer}.alpha": torch.tensor(4.0),
            f"{layer}.lora_down.weight": torch.randn(4, columns, generator=given.generator) / 8,
        }
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
    (patched,) = ModelSamplingDiscrete().patch(patched, "eps" if WHICH == "sd21" else "v_prediction", True)
    patched_clip.clip_layer(-3)
    changed = given.theirs(patched, patched_clip, vae)
    own = given.ours(load.FromComfy.execute(model=patched, clip=patched_clip, vae=vae, precision="float32"))
    report = {
        "changes": {part: apart(changed[part], plain[part]) for part in ("unet", "text", "schedule")},
        "patched": compare(own, changed),
        "lazily_patched": lazily_patched(host, patched, patched_clip, vae),
    }
    del patched, patched_clip
    return report | {"as_it_was": apart(given.theirs(model, clip, vae)["unet"], plain["unet"])}


def lazily_patched(host, model, clip, vae) -> list[str]:
    """The tensors that are others when nothing fits on the device, where ComfyUI patches them only when asked to."""
    taken = host.take_apart(model, clip, vae, "patched")["state"]
    whole = {key: tensor.clone() for key, tensor in taken.items()}
    comfy.model_management.unload_all_models()
    load_models_gpu = comfy.model_management.load_models_gpu
    comfy.model_management.load_models_gpu = lambda *_, **__: None
    unloaded = host.take_apart(model, clip, vae, "patched")["state"]
    comfy.model_management.load_models_gpu = load_models_gpu
    return [key for key in whole if key not in unloaded or not torch.equal(whole[key], unloaded[key])]


def saved(load, given: Given, parts: list, plain: dict, path: Path) -> dict:
    """The model of `parts`, which are let go, as ComfyUI saves it, read anew.

    ComfyUI marks what it knows to predict v. Here nothing else shows it: the norm whose spread would is zero.
    """
    model, clip, vae = parts
    parts.clear()  # to hold one model at a time
    marked = model.model.model_type == comfy.model_base.ModelType.V_PREDICTION
    if marked:
        model = model.clone()
        model.add_patches({LAST_NORM_KEY: (torch.zeros(320),)}, 1.0, 0.0)
        plain = given.theirs(model, clip, vae)
    save_checkpoint(model, clip, vae, path)
    comfy.model_management.unload_all_models()
    del model, clip, vae
    gc.collect()
    own = given.ours(load.LoadModel.execute(model=path.name, precision="float32"))
    return {"marked": marked, "saved": compare(own, plain)}


def tunings(host) -> list:
    """Files of tunings in a folder of the user's own, which extra_model_paths.yaml gives before nodes are loaded."""
    folder = Path(WORK) / "tunings"
    folder.mkdir(exist_ok=True)
    for name in ("mine.safetensors", "mine.safetensors.draft"):
        (folder / name).touch()
    folder_paths.add_model_folder_path("live", str(folder))
    host.register_folders()
    folders = folder_paths.get_folder_paths("live")
    return [folders[0] == str(folder), len(folders), host.tuning_names()]


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    host, load = live_pack()
    path, given = Path(WORK) / f"{WHICH}.safetensors", Given()
    write_checkpoint(path)
    folder_paths.add_model_folder_path("checkpoints", WORK)
    # Before ComfyUI's, to hold one model at a time.
    from_file = given.ours(load.LoadModel.execute(model=path.name, precision="float32"))
    parts = list(comfy.sd.load_checkpoint_guess_config(str(path), output_clip=not BY_EXAMPLE)[:3])
    plain = given.theirs(*parts)
    sockets = dict(zip(("model", "clip", "vae"), parts, strict=True))
    report = {"std": float(plain["unet"].std()), "file": compare(from_file, plain)}
    if not BY_EXAMPLE:
        report["sockets"] = compare(given.ours(load.FromComfy.execute(**sockets, precision="float32")), plain)
    sockets.clear()
    if WHICH in NAMES:
        report["joins"] = joins(given, parts[0], plain)
    else:
        report |= with_patches(host, load, given, parts, plain)
        report |= saved(load, given, parts, plain, path)
        report["tunings"] = tunings(host)
    print(json.dumps(report | {"peak_gb": peak()}))


main()
