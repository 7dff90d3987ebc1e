"""What a model's folder may say and what not: no file chooses code, a path, a kernel, or leaves a tensor out."""

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.configs import FLAG, either, list_of, number, one_of, take, whole
from live_core.metrics import load_clip_model
from live_core.notes import gathered
from live_core.pretrained import load_folder
from live_core.vocabulary import load_tokenizer

DEMO = ROOT / "demo" / "model"
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever looks for another machine fails the test, even if the error is caught."""
    asked = []

    def refuse(*address, **_):
        asked.append(address)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not asked


@pytest.fixture
def mine(tmp_path) -> Path:
    """A copy of the demo model's folder."""
    return Path(shutil.copytree(DEMO, tmp_path / "mine"))


@pytest.fixture
def my_clip(clip_folder, tmp_path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "my-clip"))


def change(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_tensors(folder: Path, part: str, edit) -> None:
    """`edit` the tensors of a part in place."""
    file = folder / part / f"{WEIGHTS[part]}.safetensors"
    tensors = load_file(file)
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})


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


# ----------------------------------------------------------------------------------------------------------- tokenizers
@pytest.mark.parametrize(
    "file,changes,says",
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}, "'auto_map'"),
        ("tokenizer_config.json", {"tokenizer_class": "EvilTokenizer"}, 'tokenizer_class "EvilTokenizer"'),
        ("tokenizer_config.json", {"tokenizer_file": "../../tokenizer.json"}, "'tokenizer_file'"),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}, "'vocab_file'"),
        ("tokenizer_config.json", {"chat_template": "{{ evil }}"}, "'chat_template'"),
        ("tokenizer_config.json", {"init_inputs": ["x"]}, "'init_inputs'"),
        ("tokenizer_config.json", {"do_lower_case": False}, "do_lower_case false; LIVE takes true"),
        ("tokenizer_config.json", {"pad_token": "<pad>"}, "has no '<pad>'"),
        ("tokenizer_config.json", {"bos_token": "!"}, "other tokens than CLIP's"),
        ("tokenizer_config.json", {"model_max_length": -1}, "model_max_length -1"),
        ("vocab.json", {"extra": 9999}, "not numbered from 0"),
        ("vocab.json", {"!": "0"}, "not numbered"),
        ("vocab.json", {"!": 1}, "not numbered"),
    ],
)
def test_tokenizers_that_ask_for_more_are_refused(file, changes, says, mine):
    change(mine / "tokenizer" / file, **changes)
    with pytest.raises(LiveError, match=f"^tokenizer of 'mine'.*{says}"):
        load_folder(mine)


@pytest.mark.parametrize(
    "file,text",
    [
        ("vocab.json", "[]"),
        ("vocab.json", "{"),
        ("vocab.json", "[" * 100_000),
        ("vocab.json", "{}"),
        ("merges.txt", "a b c d\n"),
        ("merges.txt", "zz qq\n"),
        ("tokenizer_config.json", "3"),
        ("merges.txt", None),
        ("vocab.json", None),
    ],
)
def test_damaged_tokenizers_are_said_to_be(file, text, mine):
    if text is None:
        (mine / "tokenizer" / file).unlink()
    else:
        (mine / "tokenizer" / file).write_text(text)
    with pytest.raises(LiveError, match="^tokenizer of 'mine'.*(cannot be read|has no|not numbered)"):
        load_folder(mine)


TEXTS = [
    "a red ball moving on the meadow",
    "it's naïve, café! ...??",
    "3D 123 <|endoftext|> don't we'll",
    "日本語 \u00e9 e\u0301  x\n\ty",
    "A.B--C++ ?! <thing*>",
    "",
]


@pytest.mark.parametrize("folder", ["demo", "ComfyUI's"])
def test_our_tokenizer_is_transformers_own(folder, request, tmp_path):
    from transformers import CLIPTokenizer

    folder = (
        DEMO / "tokenizer" if folder == "demo" else request.getfixturevalue("comfyui")[0] / "comfy" / "sd1_tokenizer"
    )
    theirs = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    theirs.save_pretrained(tmp_path)  # of version 5: one tokenizer.json
    assert not (tmp_path / "vocab.json").exists()
    for ours in (load_tokenizer(folder, 77), load_tokenizer(tmp_path, 77)):
        assert ours.get_vocab() == theirs.get_vocab() and ours.model_max_length == min(77, theirs.model_max_length)
        for options in ({}, {"add_special_tokens": False}):
            assert [ours(text, **options).input_ids for text in TEXTS] == [
                theirs(text, **options).input_ids for text in TEXTS
            ]
        assert [getattr(ours, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")] == [
            getattr(theirs, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")
        ]


def test_a_tokenizer_s_padding_and_added_tokens(mine):
    folder = mine / "tokenizer"
    (folder / "special_tokens_map.json").write_text(
        '{"pad_token": "!", "bos_token": {"content": "<|startoftext|>"}}'
    )  # as Stable Diffusion 2.x has it
    assert (
        load_tokenizer(folder, 77).pad_token == "!"
        and load_tokenizer(folder, 77, "<|endoftext|>").pad_token == "<|endoftext|>"
    )
    (folder / "added_tokens.json").write_text('{"<cat-toy>": 254}')
    with gathered() as notes:
        load_tokenizer(folder, 77)
    assert len(notes) == 1 and "the token '<cat-toy>' was added to CLIP's" in notes[0]


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
        r"from_pretrained\(|from_config\(|torch\.load\(|pickle\.|AutoModel|AutoTokenizer|\beval\(\"|\bexec\(|trust_remote_code"
    )
    files = [
        path for folder in ("live_core", "nodes", "demo", "bench", "scripts") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(files) > 40 and [str(path) for path in files if asks.search(path.read_text())] == []
