"""What a model's folder may say and what not: no file chooses code, a path, a kernel, or leaves a tensor out."""

import json
import re

import pytest
from conftest import ROOT
from folders import WEIGHTS, change

from live_core import LiveError
from live_core.configs import FLAG, either, list_of, number, one_of, take, whole
from live_core.metrics import load_clip_model
from live_core.pretrained import load_folder

pytestmark = pytest.mark.usefixtures("no_network")


CODE = {
    "_attn_implementation": "somebody/kernel",
    "attn_implementation": "kernels-community/flash-attn3",
    "_attn_implementation_internal": "flash_attention_3",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "auto_map": {"AutoModel": "somebody/model--modeling.Evil"},
    "trust_remote_code": True,
    "custom_pipeline": "somebody/pipeline",
    "_experts_implementation": "grouped_mm",
    "use_kernels": True,
    "compile_config": {"backend": "evil"},
    "weight_map": {"a": "../../evil.safetensors"},
    "variant": "../../evil",
}


@pytest.mark.parametrize("key", CODE)
@pytest.mark.parametrize("part", WEIGHTS)
def test_a_configuration_that_names_code_is_refused_by_the_key(part, key, mine):
    change(mine / part / "config.json", **{key: CODE[key]})
    with pytest.raises(
        LiveError, match=f"^model folder: {part} of 'mine': '{key}' .* is nothing that LIVE takes from a file"
    ):
        load_folder(mine)


@pytest.mark.parametrize("key", CODE)
@pytest.mark.parametrize("tower", [None, "text_config", "vision_config"])
def test_a_clip_that_names_code_is_refused_by_the_key(tower, key, my_clip):
    config = json.loads((my_clip / "config.json").read_text())
    (config if tower is None else config[tower])[key] = CODE[key]
    (my_clip / "config.json").write_text(json.dumps(config))
    with pytest.raises(LiveError, match=f"^clip folder: 'my-clip'.*'{key}' .* is nothing that LIVE takes from a file"):
        load_clip_model(my_clip)


@pytest.mark.parametrize(
    "part,changes,says",
    [
        (
            "unet",
            {"_class_name": "FluxTransformer2DModel"},
            '_class_name "FluxTransformer2DModel"; LIVE takes "UNet2DConditionModel"',
        ),
        ("unet", {"_class_name": ["diffusers", "Evil"]}, "_class_name .*; LIVE takes"),
        ("vae", {"_class_name": "AutoencoderTiny"}, '_class_name "AutoencoderTiny"; LIVE takes "AutoencoderKL"'),
        ("text_encoder", {"model_type": "t5"}, 'model_type "t5"; LIVE takes "clip_text_model"'),
        ("unet", {"attention_type": "gated-text-image"}, "'attention_type' \"gated-text-image\" is nothing"),
        ("unet", {"dual_cross_attention": True}, "'dual_cross_attention' true is nothing"),
        ("unet", {"encoder_hid_dim_type": "text_proj"}, "'encoder_hid_dim_type'"),
        ("unet", {"down_block_types": ["AttnDownBlock2D"] * 3}, "down_block_types .*; LIVE takes a list"),
        ("unet", {"block_out_channels": [48, 96, 10**9]}, "block_out_channels .*16384"),
        ("unet", {"layers_per_block": 10**6}, "layers_per_block 1000000; LIVE takes a whole number from 1 to 16"),
        ("unet", {"norm_eps": float("nan")}, "norm_eps NaN; LIVE takes a finite number"),
        ("unet", {"norm_num_groups": 7}, "it cannot be built"),
        ("unet", {"in_channels": [4]}, "in_channels"),
        ("text_encoder", {"num_attention_heads": 3}, "it cannot be built"),
        ("text_encoder", {"num_hidden_layers": 129}, "num_hidden_layers 129"),
        ("text_encoder", {"hidden_act": "tanh"}, "hidden_act"),
        ("vae", {"scaling_factor": float("inf")}, "scaling_factor"),
        ("vae", {"scaling_factor": 0}, "scaling_factor 0"),
        ("vae", {"latents_mean": [0.0] * 4}, "'latents_mean'"),
        ("vae", {"shift_factor": 0.1}, "'shift_factor'"),
    ],
)
def test_values_that_live_does_not_take_are_named(part, changes, says, mine):
    change(mine / part / "config.json", **changes)
    with pytest.raises(LiveError, match=f"^model folder: {part} of 'mine'.*{says}"):
        load_folder(mine)


def test_configurations_as_they_are_found_load(mine, demo_model):
    """Of old and new versions of the libraries: nulls, notes on where a file comes from, settings that transformers
    wrote whatever the model.
    """
    change(
        mine / "unet" / "config.json",
        _name_or_path="../sd",
        _use_default_values=["dropout"],
        only_cross_attention=None,
        addition_embed_type_num_heads=64,
        act_fn="swish",
        new_option_of_tomorrow=None,
        another=False,
        decay=0.9999,
        optimization_step=10,
    )
    change(
        mine / "text_encoder" / "config.json",
        torch_dtype="float32",
        architectures=["CLIPTextModel"],
        _name_or_path="openai/clip-vit-large-patch14",
        dropout=0.0,
        max_length=20,
        num_beams=1,
        temperature=1.0,
        id2label={"0": "LABEL_0"},
        bad_words_ids=None,
    )
    change(mine / "vae" / "config.json", latents_mean=None, force_upcast=False)
    assert load_folder(mine).fingerprint == demo_model.fingerprint


# ---------------------------------------------------------------------------------------------------------------- rules
def test_rules_tell_kinds_apart():
    assert whole(1, 3).fits(2) and not any(whole(1, 3).fits(value) for value in (0, 4, 2.0, True, "2", None))
    assert (
        number(0, 1).fits(0.5)
        and number(0).fits(7)
        and not any(number(0).fits(value) for value in (float("nan"), float("inf"), 10**400, -1, True, "1"))
    )
    assert (
        FLAG.fits(True)
        and not FLAG.fits(1)
        and one_of(1).fits(1)
        and not one_of(1).fits(True)
        and not one_of(1).fits(1.0)
    )
    assert list_of(whole(0, 9), 2).fits([1, 2]) and not any(
        list_of(whole(0, 9), 2).fits(value) for value in ([], [1, 2, 3], [10], (1,), "12", 1)
    )
    assert either(FLAG, whole(0, 1)).fits(1) and not either(FLAG, whole(0, 1)).fits(2)
    assert take(
        {"a": 1, "b": None, "note": 3, "usual": [1, 2], "nothing": []},
        {"a": whole(0, 9), "b": FLAG},
        ("note",),
        "file",
        {"usual": (1, 2)},
    ) == {"a": 1}


def test_no_file_of_the_pack_lets_a_library_load_a_folder():
    """`from_pretrained` and its kin read what a folder says about code; nothing here calls them."""
    asks = re.compile(
        r"from_pretrained\(|from_config\(|AutoModel|AutoTokenizer|trust_remote_code"
        r"|torch\.load\(|pickle\.|\beval\(\"|\bexec\("
    )
    files = [
        path for folder in ("live_core", "nodes", "demo", "bench", "scripts") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 40 and [str(path) for path in files if asks.search(path.read_text())] == []
