"""Models that read a photo in the place of a text: what is one, that its tensors are all accounted for, and that its
photo encoder is diffusers' own."""

import json
import shutil

import paint_by_example
import pytest
import torch
from conftest import ROOT
from folders import change, change_tensors
from safetensors.torch import save_file

from live_core import LiveError, checkpoints
from live_core.bases import INPAINTING, INSTRUCT, PAINT_BY_EXAMPLE, TEXT_TO_IMAGE
from live_core.checkpoints import CONTEXT_KEY, UNET, architecture_of, load_checkpoint
from live_core.photo_encoder import PUBLISHED
from live_core.pictures import as_clip_sees
from live_core.pretrained import load_folder

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 9,
    "num_attention_heads": 2,
    "hidden_act": "quick_gelu",
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 24,
}
FILE = {
    CONTEXT_KEY: (320, 768),
    f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.final_ln.weight": (1024,),
    "learnable_vector": (1, 1, 768),
}


@pytest.fixture
def my_paint(paint_folder, tmp_path):
    return shutil.copytree(paint_folder, tmp_path / "mine")


def test_what_is_joined_stands_in_the_order_of_its_base():
    """9 channels both, which no shape tells apart: InpaintingModels' mask comes first, Paint-by-Example's last."""
    parts = {"picture": torch.full((1, 4, 1, 1), 2.0), "mask": torch.full((1, 1, 1, 1), 3.0)}
    told = {base: base.join(parts).flatten().tolist() for base in (INSTRUCT, INPAINTING, PAINT_BY_EXAMPLE)}
    assert told == {INSTRUCT: [2] * 4, INPAINTING: [3, 2, 2, 2, 2], PAINT_BY_EXAMPLE: [2, 2, 2, 2, 3]}
    assert (INPAINTING.channels, PAINT_BY_EXAMPLE.channels) == (9, 9)
    assert PAINT_BY_EXAMPLE.keeps and not INPAINTING.keeps  # what a mask of 1 says of the picture


def test_a_file_is_told_by_the_vector_of_no_photo(tmp_path):
    assert architecture_of(FILE, "a")[1] is PAINT_BY_EXAMPLE
    assert architecture_of({key: FILE[key] for key in FILE if key != "learnable_vector"}, "a")[1] is INPAINTING
    for changes, says in {
        (f"{UNET}input_blocks.0.0.weight", (320, 4, 3, 3)): "reads a photo and 4 channels, not 9",
        (CONTEXT_KEY, (320, 1024)): "reads a photo of width 1024, not 768",
    }.items():
        with pytest.raises(LiveError, match=says):
            architecture_of({**FILE, changes[0]: changes[1]}, "a")
    shapes = {key: shape for key, shape in FILE.items() if not key.startswith("cond_stage")}
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "mine.safetensors")
    with pytest.raises(LiveError, match="'mine.safetensors' has no photo encoder in it"):
        load_checkpoint(tmp_path / "mine.safetensors", tmp_path)


def test_a_folder_is_told_by_its_index_or_its_parts(my_paint, demo_model):
    """And goes nowhere else than where it is of use."""
    model = load_folder(my_paint)
    assert model.base is PAINT_BY_EXAMPLE and model.name == "mine"
    (my_paint / "model_index.json").unlink()
    assert load_folder(my_paint).fingerprint == model.fingerprint != demo_model.fingerprint
    says = "'mine' is a Paint-by-Example model, which reads a photo in the place of a text; give it to Paint by Example"
    for call in (
        lambda: model.encode_text("a ball"),
        lambda: model.tokenizer,
        lambda: model.check_clip_prompt("a ball"),
        lambda: model.check_concepts([None]),
    ):
        with pytest.raises(LiveError, match=says):
            call()
    with pytest.raises(LiveError, match=r"reads a photo and 9 channels\), and Tune Video takes a text-to-image model"):
        model.check_base(TEXT_TO_IMAGE, "Tune Video")


@pytest.mark.parametrize("name", ["mapper.blocks.0.attn1.to_k.weight", "uncond_vector", "final_layer_norm.bias"])
@pytest.mark.parametrize("how", ["missing", "too many", "of shape", "not finite"])
def test_a_folder_s_photo_encoder_is_what_it_describes(name, how, my_paint):
    def edit(tensors):
        own = tensors.pop(name)
        if how == "too many":
            tensors |= {name: own, "mapper.blocks.0.extra.weight": own.clone()}
        elif how != "missing":
            tensors[name] = own[..., :1].clone() if how == "of shape" else own * torch.nan

    change_tensors(my_paint, "image_encoder", edit)
    with pytest.raises(LiveError, match="^model folder: image_encoder of 'mine' is not what its config.json says"):
        load_folder(my_paint)


def test_what_a_folder_lacks_or_asks_for_is_named(my_paint):
    config = my_paint / "image_encoder" / "config.json"
    written = json.loads(config.read_text())
    for key, value, says in (
        ("auto_map", {"AutoModel": "mine.Encoder"}, "image_encoder of 'mine': 'auto_map'"),
        ("model_type", "siglip_vision_model", "model_type .*LIVE takes .*clip_vision_model"),
        ("projection_dim", 64, "image_encoder of 'mine' is not what its config.json says"),
    ):
        change(config, **{key: value})
        with pytest.raises(LiveError, match=says):
            load_folder(my_paint)
        config.write_text(json.dumps(written))

    def narrower(tensors):
        tensors |= {key: tensors[key][..., :64].clone() for key in ("proj_out.bias", "uncond_vector")}
        tensors["proj_out.weight"] = tensors["proj_out.weight"][:64].clone()

    change(config, projection_dim=64)
    change_tensors(my_paint, "image_encoder", narrower)
    with pytest.raises(LiveError, match="a photo encoder that gives 64 values, and a U-Net that reads 128"):
        load_folder(my_paint)
    (my_paint / "image_encoder" / "model.safetensors").rename(my_paint / "image_encoder" / "pytorch_model.bin")
    with pytest.raises(LiveError, match="no .safetensors file in image_encoder; .*pull request 3 .revision refs/pr/3."):
        load_folder(my_paint)
    shutil.rmtree(my_paint / "image_encoder")
    with pytest.raises(
        LiveError, match="'mine' has no image_encoder; expected the diffusers layout of Paint-by-Example"
    ):
        load_folder(my_paint)


def test_a_photo_encoder_in_a_file_is_that_in_a_folder(monkeypatch):
    """And equal to diffusers', to the names that its tensors have; those that are not its own are named."""
    for key, value in TINY.items():
        monkeypatch.setitem(PUBLISHED, key, value)
    torch.manual_seed(0)
    theirs = paint_by_example.encoder(**TINY)
    state = paint_by_example.in_a_file(theirs.state_dict())
    state["cond_stage_model.transformer.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    ours, _ = checkpoints._photo_encoder(state, "a", torch.float32)
    photo = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(photo), theirs(photo), atol=1e-5, rtol=0)
    assert torch.equal(ours.no_photo, theirs.uncond_vector) and ours(photo).std() > 0.01
    for wrong in (
        {key: tensor for key, tensor in state.items() if key != "proj_out.bias"},
        {**state, "cond_stage_model.mapper.resblocks.7.ln_1.bias": torch.zeros(32)},
        {**state, "learnable_vector": torch.zeros(1, 1, 25)},
    ):
        with pytest.raises(LiveError, match="photo encoder of 'a' is not that of a Paint-by-Example model"):
            checkpoints._photo_encoder(wrong, "a", torch.float32)


def test_a_photo_is_seen_as_clip_s_own_processor_has_it():
    """But for its rounding to 8 bits."""
    import numpy as np
    from PIL import Image
    from transformers import CLIPImageProcessor

    path = ROOT / "demo" / "cases" / "ball-to-star" / "photo.png"
    photo = Image.open(path).convert("RGB").resize((150, 100), Image.Resampling.BICUBIC)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    theirs = processor(photo, return_tensors="pt").pixel_values
    ours = as_clip_sees(torch.tensor(np.asarray(photo))[None] / 255, 32)
    assert (ours - theirs).abs().max() < 1.5 / 255 / 0.26 and ours.std() > 0.5
