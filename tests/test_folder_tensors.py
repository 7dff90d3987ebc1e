"""The tensors of a model's folder: all of them those that its configuration describes, under any of their names."""

import json

import pytest
import torch
from folders import WEIGHTS, change, change_tensors
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.metrics import load_clip_model
from live_core.pretrained import load_folder

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize(
    "part,name",
    [
        ("unet", "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight"),
        ("vae", "decoder.conv_out.bias"),
        ("text_encoder", "final_layer_norm.weight"),
    ],
)
@pytest.mark.parametrize("how", ["missing", "too many", "of shape", "flat", "whole numbers", "not finite"])
def test_a_folder_s_tensors_are_those_it_describes(part, name, how, mine):
    """None is made up, left out, or read as another shape; the part is named."""

    def edit(tensors):
        own = tensors.pop(name)
        if how == "too many":
            tensors |= {name: own, "extra.weight": own.clone()}
        elif how != "missing":
            tensors[name] = {
                "of shape": lambda: own[:1],
                "flat": lambda: own.flatten()[:, None],
                "whole numbers": lambda: own.to(torch.int8),
                "not finite": lambda: own * torch.nan,
            }[how]()

    change_tensors(mine, part, edit)
    says = {
        "missing": f"'{name}' is missing",
        "too many": "'extra.weight' is too many",
        "whole numbers": f"'{name}' is of shape .* torch.int8",
        "not finite": f"'{name}' itself has values",
    }
    with pytest.raises(
        LiveError,
        match=(
            f"^model folder: {part} of 'mine' is not what its config.json says"
            f" .{says.get(how, f'.{name}. is of shape')}"
        ),
    ):
        load_folder(mine)


@pytest.mark.parametrize("how", ["missing", "too many", "of shape"])
def test_a_tune_a_video_folder_s_temporal_tensors_are_all_there(how, mine, demo_model):
    file, name = mine / "unet" / "config.json", "up_blocks.0.attentions.0.transformer_blocks.0.attn_temp.to_k.weight"
    file.write_text(file.read_text().replace("2D", "3D"))
    tensors = {key: tensor.clone() for key, tensor in demo_model.unet.unet.state_dict().items()}
    save_file(tensors, mine / "unet" / f"{WEIGHTS['unet']}.safetensors")
    load_folder(mine)

    def edit(tensors):
        own = tensors.pop(name)
        tensors |= {
            "missing": {},
            "too many": {name: own, name.replace("to_k", "to_p"): own.clone()},
            "of shape": {name: own[0]},
        }[how]

    change_tensors(mine, "unet", edit)
    with pytest.raises(LiveError, match=f"^model folder: unet of 'mine' is not what .*attn_temp.* is {how}"):
        load_folder(mine)


def test_older_names_of_tensors_still_load(mine, demo_model):
    """The autoencoder's attention before diffusers 0.15, and what transformers kept of the text encoder before version
    5.
    """
    from diffusers import AutoencoderKL

    change(mine / "vae" / "config.json", mid_block_add_attention=True)
    vae = AutoencoderKL.from_config(json.loads((mine / "vae" / "config.json").read_text()))
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old_name(key: str) -> str:
        for new, old in older.items():
            key = key.replace(f".{new}.", f".{old}.")
        return key

    renamed = {old_name(key): tensor for key, tensor in vae.state_dict().items()}
    assert sum(".query." in key or ".proj_attn." in key for key in renamed) == 8
    save_file(renamed, mine / "vae" / f"{WEIGHTS['vae']}.safetensors")
    change_tensors(
        mine,
        "text_encoder",
        lambda tensors: tensors.update(
            {"embeddings.position_ids": torch.arange(32)[None], "text_projection.weight": torch.zeros(8, 128)}
        ),
    )
    change_tensors(
        mine,
        "text_encoder",
        lambda tensors: [tensors.update({f"text_model.{key}": tensors.pop(key)}) for key in list(tensors)],
    )
    change_tensors(
        mine,
        "text_encoder",
        lambda tensors: tensors.update({"text_projection.weight": tensors.pop("text_model.text_projection.weight")}),
    )
    loaded = load_folder(mine)
    assert loaded.fingerprint == demo_model.fingerprint and torch.equal(
        loaded.encode_text("a red ball"), demo_model.encode_text("a red ball")
    )
    assert all(torch.equal(tensor, loaded.vae.state_dict()[key]) for key, tensor in vae.state_dict().items())


def test_a_clip_of_an_older_configuration_loads(my_clip, clip_folder):
    """As openai's and LAION's have it: towers under an older name too, settings of text generation, position ids among
    the tensors.
    """
    config = json.loads((my_clip / "config.json").read_text())
    legacy = {
        "add_cross_attention": False,
        "num_beams": 1,
        "temperature": 1.0,
        "id2label": {"0": "LABEL_0"},
        "torch_dtype": "float32",
        "transformers_version": "4.16.0.dev0",
    }
    for tower in ("text_config", "vision_config"):
        config[f"{tower}_dict"] = {**config[tower], **legacy}
        config[tower] = {**legacy, "hidden_size": 9}
    (my_clip / "config.json").write_text(
        json.dumps({**config, **legacy, "text_config": {**config["text_config"], "model_type": "clip_text_model"}})
    )
    tensors = load_file(my_clip / "model.safetensors")
    save_file(
        {
            **tensors,
            "text_model.embeddings.position_ids": torch.arange(32)[None],
            "vision_model.embeddings.position_ids": torch.arange(17)[None],
        },
        my_clip / "model.safetensors",
    )
    older, newer = load_clip_model(my_clip), load_clip_model(clip_folder)
    assert torch.equal(older.text("a red ball"), newer.text("a red ball"))
    picture = torch.rand(1, 40, 50, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(older.images(picture), newer.images(picture))
    save_file(
        {name: tensor for name, tensor in tensors.items() if "visual_projection" not in name},
        my_clip / "model.safetensors",
    )
    with pytest.raises(
        LiveError,
        match="^clip folder: 'my-clip' is not what its config.json says .'visual_projection.weight' is missing",
    ):
        load_clip_model(my_clip)


def test_parts_of_different_models_do_not_pass_for_one(mine):
    vocabulary = json.loads((mine / "tokenizer" / "vocab.json").read_text())
    (mine / "tokenizer" / "vocab.json").write_text(json.dumps({**vocabulary, "somethingmore</w>": len(vocabulary)}))
    with pytest.raises(
        LiveError, match="'mine' has parts of different models: a tokenizer of 255 tokens, and a text encoder of 254"
    ):
        load_folder(mine)
