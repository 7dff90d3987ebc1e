"""Whatever is in a file: a model and a tuning load and work, or a `LiveError` says what is wrong; nothing else comes
out (hypothesis).
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from damage import FEW, PARTS, SHAPES, TYPES, damaged, damaged_header, damaged_tensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_checkpoints import SD15

from live_core import LiveError
from live_core.checkpoints import load_checkpoint
from live_core.checks import is_finite
from live_core.concept import Concept
from live_core.metrics import load_clip_model
from live_core.pretrained import load_folder
from live_core.tunings import Tuning, load_tuning, save_tuning
from live_core.unfinished import Unfinished


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory) -> Path:
    """A whole model in diffusers layout of a few thousand weights, with the demo model's tokenizer."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
    ).save_pretrained(folder / "vae")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=254,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            bos_token_id=252,
            eos_token_id=253,
        )
    ).save_pretrained(folder / "text_encoder")
    for part in ("tokenizer", "scheduler"):
        shutil.copytree(ROOT / "demo" / "model" / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    return load_folder(tiny_folder)


@pytest.fixture(scope="module")
def tuning_file(tiny, tmp_path_factory) -> Path:
    tensors = {name: p.detach().clone() for name, p in tiny.unet.trainable().items()}
    concept = Concept("<a*>", "thing", torch.ones(1, 4, 4, 4), torch.ones(1, 8), base=tiny.fingerprint)
    file = tmp_path_factory.mktemp("tuning") / "t.safetensors"
    save_tuning(
        Tuning(
            tensors,
            torch.ones(4, 4, 4),
            (concept,),
            "a ball",
            tiny.fingerprint,
            {"seed": 0},
            ((0.5,), (0.25,)),
            tiny.name,
        ),
        file,
    )
    return file


def works(model) -> None:
    """A text with whatever was learned, a forward, a picture there and back."""
    concepts = model.tuning.concepts if model.tuning else ()
    text = model.encode_text("a ball <a*>" if concepts else "a ball", concepts)[None]
    with torch.no_grad(), model.unet.overlay(model.tuning.tensors if model.tuning else {}):
        seat = model.tuning.latent_prompt if model.tuning else None
        latents = torch.zeros(1, 2, 4, 4, 4)
        model.unet(latents, 500, text, None if seat is None or seat.shape[1:] != (4, 4) else seat[None])
        side = 4 * model.pixels_per_latent
        model.decode_frames(model.encode_frames(torch.full((1, side, side, 3), 0.5)))
    model.schedule.timesteps(1)


@FEW
@given(data=st.data())
def test_any_tuning_file(data, tuning_file, tiny):
    file = tuning_file.with_name("damaged.safetensors")
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged_header(tuning_file.read_bytes())))
    else:
        with_metadata = json.loads(
            tuning_file.read_bytes()[8 : 8 + int.from_bytes(tuning_file.read_bytes()[:8], "little")]
        )["__metadata__"]
        save_file(data.draw(damaged_tensors(tuning_file)), file, with_metadata)
    try:
        tuning = load_tuning(file)
        assert all(is_finite(tensor) for tensor in tuning.named_tensors().values())
        works(tiny.with_tuning(tuning))
        save_tuning(tuning, file)
    except LiveError as error:
        assert str(error).startswith(("tuning: ", "prompt: ", "edit: ", "model: ")), error


@FEW
@given(data=st.data())
def test_any_model_folder(data, tiny_folder):
    part = data.draw(st.sampled_from([*PARTS, *PARTS, "scheduler"]))
    file = (
        tiny_folder
        / part
        / (
            "scheduler_config.json"
            if part == "scheduler"
            else data.draw(st.sampled_from(["config.json", f"{PARTS[part]}.safetensors"]))
        )
    )
    damaged(data, file, lambda: works(load_folder(tiny_folder)))


@FEW
@given(data=st.data())
def test_any_tokenizer(data, tiny_folder):
    file = (
        tiny_folder
        / "tokenizer"
        / data.draw(
            st.sampled_from(
                ["tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"]
            )
        )
    )
    damaged(data, file, lambda: works(load_folder(tiny_folder)))


@FEW
@given(data=st.data())
def test_any_clip_folder(data, clip_folder, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "damaged-clip"
    if not folder.exists():
        shutil.copytree(clip_folder, folder)

    def use():
        judge = load_clip_model(folder)
        judge.images(torch.full((1, 40, 48, 3), 0.5)), judge.text("a red ball")

    damaged(
        data,
        folder
        / data.draw(st.sampled_from(["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])),
        use,
    )


@FEW
@given(data=st.data())
def test_any_checkpoint_that_is_none(data, tmp_path_factory):
    """Of names as in Stable Diffusion's files, with whatever shapes: none is whole."""
    shapes = {
        name: data.draw(SHAPES | st.just(list(shape))) for name, shape in SD15.items() if data.draw(st.integers(0, 7))
    }
    extra = data.draw(
        st.lists(
            st.sampled_from(
                [
                    "model.diffusion_model.time_embed.0.weight",
                    "first_stage_model.quant_conv.weight",
                    "v_pred",
                    "label_emb.x",
                    "x",
                    "conditioner.embedders.0.model.ln_final.weight",
                    "cond_stage_model.model.ln_final.weight",
                ]
            ),
            max_size=3,
        )
    )
    file = tmp_path_factory.getbasetemp() / "damaged-checkpoint.safetensors"
    save_file(
        {
            name: torch.zeros(shape, dtype=data.draw(TYPES))
            for name, shape in {**shapes, **dict.fromkeys(extra, (2,))}.items()
        },
        file,
    )
    with pytest.raises(LiveError, match="^model: "):
        load_checkpoint(file, ROOT / "demo" / "model" / "tokenizer")


@FEW
@given(data=st.data())
def test_any_unfinished_tuning(data, tmp_path_factory):
    """It is taken up whole, or the tuning starts anew from what it was."""

    def start():
        p = torch.zeros(2, 3, requires_grad=True)
        return p, torch.optim.AdamW([p]), ([], [])

    p, optimizer, losses = start()
    p.sum().backward()
    optimizer.step()
    losses[0].append(0.5)
    file = tmp_path_factory.getbasetemp() / f"{'0' * 32}.safetensors"
    Unfinished({"a": p}, [optimizer], losses).save(file)
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged_header(file.read_bytes())))
    else:
        save_file(data.draw(damaged_tensors(file)), file)
    q, again, found = start()
    Unfinished({"a": q}, [again], found).load(file, [0, 1])
    assert is_finite(q) and (found == ([], []) and not q.any() or [len(part) for part in found] == [1, 0])
    q.sum().backward()
    again.step()
    assert is_finite(q)
