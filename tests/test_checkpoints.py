"""Checkpoints: what a file or folder is, and how its parts are renamed."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from live_core import LiveError, checkpoints
from live_core.bases import BASES, INSTRUCT, TEXTS
from live_core.checkpoints import (
    ARCHITECTURES,
    CONTEXT_KEY,
    LAST_NORM_KEY,
    UNET,
    architecture_of,
    load_checkpoint,
    load_state_dict,
)
from live_core.diffusion import Schedule, scaled_linear
from live_core.inversion import invert
from live_core.methods import DDIM
from live_core.pretrained import base_fingerprint, load_folder
from live_core.tuning import tune

SD15 = {
    CONTEXT_KEY: (320, 768),
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
}


def test_the_architecture_follows_from_names_and_shapes():
    assert architecture_of(SD15, "a")[0].name == "Stable Diffusion 1.x"
    assert architecture_of({**SD15, CONTEXT_KEY: (320, 1024)}, "a")[0].name == "Stable Diffusion 2.x"


@pytest.mark.parametrize("base", [base for base in BASES if base.reads == TEXTS], ids=lambda base: base.name)
def test_the_base_follows_from_the_channels_that_the_u_net_reads(base):
    """In a file, and by the configuration of a folder."""
    assert architecture_of({**SD15, f"{UNET}input_blocks.0.0.weight": (320, base.channels, 3, 3)}, "a")[1] is base


@pytest.mark.parametrize(
    "shapes,says",
    [
        ({**SD15, f"{UNET}input_blocks.0.0.weight": (320, 5, 3, 3)}, "a depth model"),
        ({**SD15, f"{UNET}input_blocks.0.0.weight": (320, 7, 3, 3)}, "an upscaling model"),
        ({**SD15, f"{UNET}label_emb.0.0.weight": (1280, 2816)}, "a Stable Diffusion XL model"),
        ({**SD15, f"{UNET}label_emb.0.0.weight": (1280, 2048), "noise_augmentor.betas": (1000,)}, "an unCLIP model"),
        ({**SD15, f"{UNET}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (4, 4)}, "a Stable Video Diffusion model"),
        ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "a Flux model"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}, "a Stable Diffusion 3 model"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (320, 4)}, "a LoRA"),
        ({"layers.0.weight": (4, 4)}, "no U-Net of Stable Diffusion"),
        ({**SD15, CONTEXT_KEY: (320, 2048)}, "width 2048"),
        ({name: shape for name, shape in SD15.items() if not name.startswith("first_stage")}, "no autoencoder in it"),
        ({name: shape for name, shape in SD15.items() if not name.startswith("cond_stage")}, "no text encoder in it"),
    ],
    ids=[
        "depth",
        "upscaling",
        "XL",
        "unCLIP",
        "SVD",
        "Flux",
        "SD3",
        "LoRA",
        "other",
        "width",
        "no VAE",
        "no CLIP",
    ],
)
def test_what_does_not_work_is_said(shapes, says, tmp_path):
    save_file(
        {name: torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}, tmp_path / "mine.safetensors"
    )
    with pytest.raises(LiveError, match=says) as error:
        load_checkpoint(tmp_path / "mine.safetensors", tmp_path)
    assert "mine.safetensors" in str(error.value)


def test_pickles_are_refused(tmp_path):
    with pytest.raises(LiveError, match="not a .safetensors file"):
        load_checkpoint(tmp_path / "model.ckpt", tmp_path)


def test_a_file_that_is_cut_short_is_named(tmp_path):
    save_file(
        {name: torch.zeros(shape, dtype=torch.uint8) for name, shape in SD15.items()}, tmp_path / "mine.safetensors"
    )
    whole = (tmp_path / "mine.safetensors").read_bytes()
    for size in (4, len(whole) - 100):
        (tmp_path / "mine.safetensors").write_bytes(whole[:size])
        with pytest.raises(LiveError, match="'mine.safetensors' cannot be read .*cut short"):
            load_checkpoint(tmp_path / "mine.safetensors", tmp_path)


def test_moving_averages_are_read_when_asked_for_alone(tmp_path, monkeypatch):
    """As the files of InstructPix2Pix and Stable Diffusion 1.5 "emaonly"'s whole one hold them, their dots left out."""
    first = f"{UNET}input_blocks.0.0.weight"
    names = {CONTEXT_KEY: (320, 768), first: (320, 8, 3, 3)}
    main = {name: torch.full(shape, 1.0) for name, shape in names.items()}
    averages = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): tensor + 1 for name, tensor in main.items()
    }
    others = {"first_stage_model.a.b": torch.zeros(1), "cond_stage_model.a.b": torch.zeros(1)}
    file = tmp_path / "mine.safetensors"
    monkeypatch.setattr(checkpoints, "load_state_dict", lambda tensors, *_: tensors)
    save_file({**main, **averages, **others, "model_ema.decay": torch.zeros(())}, file)
    for weights, value in (("main", 1), ("ema", 2)):
        state = load_checkpoint(file, tmp_path, weights=weights)
        assert set(state) == {*main, *others} and all((state[name] == value).all() for name in main)
    save_file({**main, **others}, file)
    with pytest.raises(LiveError, match="weights: 'ema', but 'mine.safetensors' has no such weights"):
        load_checkpoint(file, tmp_path, weights="ema")


def test_the_text_encoder_may_have_its_newer_name(tmp_path, monkeypatch):
    """Stable Diffusion 2.x in the layout of SD-Turbo's file: tensors reach `load_state_dict` by their older names."""
    state = {
        CONTEXT_KEY: torch.zeros(320, 1024),
        LAST_NORM_KEY: torch.zeros(320),
        f"{UNET}input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3),
        "first_stage_model.encoder.conv_in.weight": torch.zeros(4),
        "cond_stage_model.model.ln_final.weight": torch.zeros(1024),
    }
    save_file(
        {key.replace("cond_stage_model.", "conditioner.embedders.0."): tensor for key, tensor in state.items()},
        tmp_path / "mine.safetensors",
    )
    monkeypatch.setattr(checkpoints, "load_state_dict", lambda tensors, *_: set(tensors))
    assert load_checkpoint(tmp_path / "mine.safetensors", tmp_path) == set(state)


TINY = replace(
    ARCHITECTURES[768],
    text={
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "hidden_act": "quick_gelu",
    },
)


def tiny_text_encoder(layers: int = 4):
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            max_position_embeddings=77,
            bos_token_id=49406,
            eos_token_id=49407,
            **{**TINY.text, "num_hidden_layers": layers},
        )
    ).eval()


@pytest.mark.parametrize(
    "prefix",
    ["cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."],
    ids=["text_model level", "older files"],
)
@pytest.mark.parametrize("last_layer", [-1, -2, -4])
def test_the_text_encoder_and_clip_skip(prefix, last_layer):
    """Reading an earlier layer is the final norm of its output."""
    whole = tiny_text_encoder()
    state = {prefix + key.removeprefix("text_model."): tensor for key, tensor in whole.state_dict().items()}
    ours, tensors = checkpoints._text_encoder(state, TINY, "a", torch.float32, last_layer)
    ours.eval()
    ids = torch.tensor([[49406, 320, 2368, 49407, 49407]])
    with torch.no_grad():
        hidden = whole(ids, output_hidden_states=True).hidden_states[last_layer]
        norm = getattr(whole, "text_model", whole).final_layer_norm
        torch.testing.assert_close(ours(ids).last_hidden_state, norm(hidden), atol=1e-6, rtol=0)
    assert all(a.data_ptr() != b.data_ptr() for a in ours.parameters() for b in whole.parameters())
    assert (base_fingerprint({}, tensors) == base_fingerprint({}, whole.state_dict())) == (last_layer == -1)


@pytest.mark.parametrize("last_layer", [0, -5])
def test_a_layer_that_is_not_there(last_layer):
    with pytest.raises(LiveError, match=f"clip: it stops at layer {last_layer}; Stable Diffusion 1.x takes -4 to -1"):
        checkpoints._text_encoder({}, TINY, "a", torch.float32, last_layer)


def test_parts_that_do_not_fit_are_named(monkeypatch, tmp_path):
    """From the sockets anything can come: the CLIP of another model, a small autoencoder for previews."""
    monkeypatch.setitem(ARCHITECTURES, 768, TINY)
    schedule = Schedule(scaled_linear())
    shapes = {key: shape for key, shape in SD15.items() if not key.startswith("cond_stage")}
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    with pytest.raises(LiveError, match="text encoder of 'sockets' is not that of Stable Diffusion 1.x .*missing"):
        load_state_dict(state, schedule, tmp_path, "sockets")
    state |= {f"cond_stage_model.transformer.{key}": tensor for key, tensor in tiny_text_encoder().state_dict().items()}
    with pytest.raises(LiveError, match="autoencoder of 'sockets' is not that of Stable Diffusion 1.x .*missing"):
        load_state_dict(state, schedule, tmp_path, "sockets")


def folder(path, unet: dict, scheduler: dict):
    """The demo model's folder with other settings."""
    shutil.copytree(ROOT / "demo" / "model", path)
    for file, changes in (
        (path / "unet" / "config.json", unet),
        (path / "scheduler" / "scheduler_config.json", scheduler),
    ):
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    "unet,says",
    [
        ({"in_channels": 5}, "a depth model"),
        ({"addition_embed_type": "text_time"}, "a Stable Diffusion XL model"),
        ({"class_embed_type": "projection"}, "an unCLIP model"),
    ],
    ids=["depth", "XL", "unCLIP"],
)
def test_folders_of_other_models_are_named(unet, says, tmp_path):
    with pytest.raises(LiveError, match=f"'mine' is {says}"):
        load_folder(folder(tmp_path / "mine", unet, {}))


def test_a_folder_may_be_an_instruct_model(tmp_path, instruct_folder):
    """It goes where it is of use, and where it is not is told so."""
    model = load_folder(instruct_folder)
    assert model.base is INSTRUCT and model.latent_channels == 4
    with pytest.raises(
        LiveError,
        match="'instruct' is an InstructPix2Pix model .*Invert Video takes a text-to-image model .*Edit by Instruction",
    ):
        invert(model, torch.zeros(1, 4, 8, 8), "a ball", DDIM, 2)
    with pytest.raises(LiveError, match="Tune Video takes a text-to-image model"):
        tune(model, torch.zeros(1, 4, 8, 8), "a ball", ())


def test_a_folder_may_have_half_precision_files_alone(tmp_path, demo_model):
    """As diffusers names them: model.fp16.safetensors. Without any .safetensors file it is refused, since other formats
    run code.
    """
    path = folder(tmp_path / "mine", {}, {})
    for file in [*path.glob("*/*.safetensors")]:
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    assert load_folder(path).fingerprint == demo_model.fingerprint
    next((path / "vae").glob("*.safetensors")).rename(path / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(LiveError, match="model folder: 'mine' has no .safetensors file in vae"):
        load_folder(path)


def test_a_folder_may_predict_v(tmp_path):
    """As Stable Diffusion 2.x does; the weights and all else are the demo model's."""
    model = load_folder(folder(tmp_path / "mine", {}, {"prediction_type": "v_prediction"}))
    assert model.schedule.prediction == "v_prediction"
    x0, noise = torch.randn(2, 1, 4, 8, 8)
    v = model.schedule.target(x0, noise, 500)
    torch.testing.assert_close(
        model.schedule.move(model.schedule.add_noise(x0, noise, 500), v, 500, 500, -1),
        model.schedule.add_noise(x0, noise, 0),
    )
