"""A base's folder and fingerprint: what comes back is what was."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.pretrained import base_fingerprint, fingerprint_of, load_folder

UNET, SCHEDULER = Path("unet") / "diffusion_pytorch_model.safetensors", Path("scheduler") / "scheduler_config.json"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the demo model's folder."""
    return Path(shutil.copytree(ROOT / "demo" / "model", tmp_path / "mine"))


def change(file: Path, **changes) -> None:
    """Give a .json file other values."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_base_is_the_same_at_any_precision(demo_model):
    for dtype, of_the_vae in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        model = load_folder(ROOT / "demo" / "model", dtype)
        assert model.fingerprint == demo_model.fingerprint and (
            model.unet.dtype,
            model.vae.dtype,
            model.text_encoder.dtype,
        ) == (dtype, of_the_vae, dtype)
    tensors = {name: torch.randn(100, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("ab")}
    assert (
        fingerprint_of(tensors)
        == fingerprint_of({name: tensor.half() for name, tensor in tensors.items()})
        != fingerprint_of({**tensors, "b": -tensors["b"]})
    )


@pytest.mark.parametrize(
    "file,name,where",
    [
        (UNET, "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight", slice(64, None)),
        (UNET, "conv_in.weight", -1),
        (Path("text_encoder") / "model.safetensors", "embeddings.token_embedding.weight", slice(64, None)),
    ],
)
def test_a_base_with_any_part_of_a_tensor_changed_is_another(file, name, where, copy, demo_model):
    """Beyond the tensor's first values, and in the text encoder, where a tuning's token vectors mean something."""
    assert load_folder(copy).fingerprint == demo_model.fingerprint
    tensors = load_file(copy / file)
    tensors[name].view(-1)[where] += 1
    save_file(tensors, copy / file, {"format": "pt"})
    assert load_folder(copy).fingerprint != demo_model.fingerprint


def test_a_fingerprint_reads_values_spread_over_each_tensor_and_its_shape():
    seen = sum(
        fingerprint_of({"a": torch.zeros(1000).index_fill(0, torch.tensor([i]), 1)})
        != fingerprint_of({"a": torch.zeros(1000)})
        for i in range(1000)
    )
    assert (
        seen == 64
        and len({fingerprint_of({"a": torch.ones(shape)}) for shape in ((6, 4), (4, 6), (24,), (25,), (), (0,))}) == 6
    )


def test_text_encoders_are_told_apart_by_layers_and_not_by_what_transformers_calls_them(demo_model):
    """CLIP skip leaves the last layers out; transformers below version 5 has one more level of names."""
    text = {name.removeprefix("text_model."): tensor for name, tensor in demo_model.text_encoder.state_dict().items()}
    skipped = {name: tensor for name, tensor in text.items() if "layers.1." not in name}
    assert len(skipped) < len(text) and base_fingerprint({}, text) == base_fingerprint(
        {}, {f"text_model.{name}": tensor for name, tensor in text.items()}
    ) != base_fingerprint({}, skipped)


def test_a_tune_a_video_base_is_told_apart_by_its_temporal_tensors(copy, demo_model):
    """And not by the two names that they go by."""
    config = copy / "unet" / "config.json"
    config.write_text(config.read_text().replace("2D", "3D"))
    tensors = {name: tensor.clone() for name, tensor in demo_model.unet.unet.state_dict().items()}

    def fingerprint(tensors) -> str:
        save_file(tensors, copy / UNET)
        return load_folder(copy).fingerprint

    own, name = fingerprint(tensors), next(name for name in tensors if "attn_temp.to_q" in name)
    assert own != demo_model.fingerprint
    assert fingerprint({key.replace("_temp.", "_temporal."): tensor for key, tensor in tensors.items()}) == own
    assert fingerprint({**tensors, name: tensors[name] + 1}) != own


@pytest.mark.parametrize(
    "changes,says",
    [
        ({"prediction_type": "sample"}, 'prediction_type "sample"; LIVE takes models with "epsilon" or "v_prediction"'),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr true; .* false"),
        ({"trained_betas": [0.1] * 1000}, r"trained_betas \[0.1.{,60}; .* null"),
        ({"beta_schedule": "linear"}, 'beta_schedule "linear"; .* "scaled_linear"'),
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start 0.5, beta_end 0.1 .* leave nothing of a picture"),
        ({"num_train_timesteps": 9000}, ".* num_train_timesteps 9000 leave nothing"),
        ({"beta_start": None}, "beta_start null; it must be a number, 0.00085"),
        ({"beta_end": None}, "beta_end null; it must be a number, 0.012"),
    ],
    ids=["sample", "zero SNR", "trained betas", "linear", "wild betas", "too long", "no start", "no end"],
)
def test_schedules_that_would_be_misread_are_refused(changes, says, copy):
    change(copy / SCHEDULER, **changes)
    with pytest.raises(LiveError, match=f"scheduler: {says}"):
        load_folder(copy)


def test_a_schedule_s_options_may_be_left_out(copy, demo_model):
    (copy / SCHEDULER).write_text(
        json.dumps({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012})
    )
    ours = load_folder(copy).schedule
    assert torch.equal(ours.alphas_cumprod, demo_model.schedule.alphas_cumprod) and ours.prediction == "epsilon"
    (copy / SCHEDULER).write_text('{"beta_schedule": "scaled_linear"}')
    with pytest.raises(LiveError, match="scheduler: beta_start null"):
        load_folder(copy)


@pytest.mark.parametrize(
    "file",
    [
        UNET,
        Path("unet") / "config.json",
        Path("vae") / "diffusion_pytorch_model.safetensors",
        Path("text_encoder") / "model.safetensors",
        SCHEDULER,
    ],
    ids=str,
)
def test_a_part_that_cannot_be_read_is_named(file, copy):
    whole = (copy / file).read_bytes()
    (copy / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LiveError, match=f"model folder: {file.parent} of 'mine' cannot be read .*cut short"):
        load_folder(copy)


def test_a_tune_a_video_unet_that_cannot_be_read_is_named(copy):
    (copy / "unet" / "config.json").write_text((copy / "unet" / "config.json").read_text().replace("2D", "3D"))
    (copy / UNET).write_bytes((copy / UNET).read_bytes()[:-100])
    with pytest.raises(LiveError, match="model folder: unet of 'mine' cannot be read .*cut short"):
        load_folder(copy)


def test_a_part_in_several_files_is_said_to_be(copy):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    (copy / UNET).unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="2MB")
    assert (copy / "unet" / f"{UNET.name}.index.json").is_file()
    with pytest.raises(LiveError, match="'mine' has unet in several .safetensors files; .*max_shard_size"):
        load_folder(copy)


def test_a_folder_shaped_like_stable_diffusion_2_gives_diffusers_forward(copy):
    """Linear projections, heads by level, and v: one frame through the video U-Net is diffusers' own U-Net."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    shutil.rmtree(copy / "unet")
    UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=[2, 8],
        norm_num_groups=8,
        use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
    ).save_pretrained(copy / "unet")
    change(copy / SCHEDULER, prediction_type="v_prediction")
    theirs, ours = UNet2DConditionModel.from_pretrained(copy / "unet").eval(), load_folder(copy)
    x, text = torch.randn(1, 4, 16, 8), ours.encode_text("a ball on the meadow")[None]
    with torch.no_grad():
        expected = theirs(x, 481, text).sample
        torch.testing.assert_close(ours.unet(x[None], 481, text)[0], expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.01 and ours.schedule.prediction == "v_prediction"
