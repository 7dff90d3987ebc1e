"""Parity with Tune-A-Video: inflation, a training step, its attention layers and DDIM inversion."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from golden import FOLDER, attend, case, close, frames_first, needed, schedule, under
from safetensors.torch import load_file, save_file

from live_core import LiveError
from live_core.attention import AttentionPlan
from live_core.descent import descend
from live_core.diffusion import Schedule
from live_core.frames import FramePlan
from live_core.pretrained import LiveModel, load_folder
from live_core.tuning import TuneSettings, tune
from live_core.video_unet import VideoUNet

DEMO = ROOT / "demo" / "model"
pytestmark = needed
TAV = FramePlan(("first", "previous"))


def tune_a_video(entry: dict) -> VideoUNet:
    """Our U-Net with a Tune-A-Video checkpoint's weights, under the names they have there."""
    from diffusers import UNet2DConditionModel

    config = dict(entry["options"]["unet2d_config"])
    unet = VideoUNet(UNet2DConditionModel.from_config(config))
    unet.unet.load_state_dict(load_file(FOLDER / entry["weights_file"]))
    return unet.eval().requires_grad_(False)


def test_the_inflated_unet():
    entry, data = case("tav_unet")
    noise = tune_a_video(entry)(
        frames_first(data["in/sample"]), data["in/timestep"], data["in/encoder_hidden_states"], plan=AttentionPlan(TAV)
    )
    close(frames_first(noise), data["out/sample"], entry)


@pytest.mark.parametrize("scheme", ["_temp.", "_temporal."], ids=["Tune-A-Video's names", "FateZero's names"])
def test_a_tune_a_video_folder_loads(scheme, tmp_path):
    """A pipeline folder whose U-Net is a Tune-A-Video checkpoint, with 3-D class names, gives the golden forward."""
    entry, data = case("tav_unet")
    shutil.copytree(DEMO, tmp_path / "m", ignore=shutil.ignore_patterns("unet"))
    (tmp_path / "m" / "unet").mkdir()
    config = {**entry["options"]["unet2d_config"], "_class_name": "UNet3DConditionModel"}
    (tmp_path / "m" / "unet" / "config.json").write_text(json.dumps(config).replace("2D", "3D"))
    weights = load_file(FOLDER / entry["weights_file"])
    file = tmp_path / "m" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name.replace("_temp.", scheme): tensor for name, tensor in weights.items()}, file)
    unet = load_folder(tmp_path / "m").unet
    with torch.no_grad():
        noise = unet(
            frames_first(data["in/sample"]),
            data["in/timestep"],
            data["in/encoder_hidden_states"],
            plan=AttentionPlan(TAV),
        )
    close(frames_first(noise), data["out/sample"], entry)
    half = file.rename(file.with_suffix(".fp16.safetensors"))
    again = load_folder(tmp_path / "m").unet.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in unet.state_dict().items())
    half.rename(file.with_suffix(".bin"))
    with pytest.raises(LiveError, match="'m' has no .safetensors file in unet; .*convert it to safetensors"):
        load_folder(tmp_path / "m")


def test_zero_temporal_attention_is_no_temporal_attention():
    entry, data = case("tav_unet_zero_temporal")
    for expected, zeroed in (
        ("out/sample", ("to_out.0.weight", "to_out.0.bias")),
        ("out/sample_weight_zero_bias_kept", ("to_out.0.weight",)),
    ):
        unet = tune_a_video(entry)
        for name, p in unet.unet.named_parameters():
            if ".attn_temp." in name and name.endswith(zeroed):
                p.zero_()
        arguments = frames_first(data["in/sample"]), data["in/timestep"], data["in/encoder_hidden_states"]
        close(frames_first(unet(*arguments, plan=AttentionPlan(TAV))), data[expected], entry)
    without = tune_a_video(entry)(*arguments, plan=AttentionPlan(replace(TAV, temporal=False)))
    close(frames_first(without), data["out/sample"], entry)


class RecordedText(LiveModel):
    """A model whose text encoder says what the case recorded, (L, d)."""

    def encode_text(self, text, concepts=()):
        return self.conditioner

    def check_clip_prompt(self, text, concepts=()):
        pass


class RecordedNoisyLatents(Schedule):
    """The reference adds noise in float32 even where it trains in float64, so noisy latents are the recorded ones."""

    recorded = {}

    def add_noise(self, x0, noise, t):
        return self.recorded[t].to(x0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_training_steps(dtype, monkeypatch):
    """Tuning itself: trainable set, noise, loss, gradients, clipping and AdamW, in float64 too, where the small terms
    show.
    """
    entry, data = case("tav_train_step")
    options, tolerance, double = entry["options"], entry["tolerance"], dtype == torch.float64
    unet = tune_a_video(entry)
    for name, scale in options["weight_scale"].items():
        unet.unet.get_parameter(name).mul_(scale)
    unet.to(dtype)
    ours = schedule(options["scheduler"])
    if double:
        ours = RecordedNoisyLatents(ours.alphas_cumprod)
        ours.recorded.update(
            {int(data[f"in/timesteps_{step}"]): frames_first(data[f"out/noisy_latents_{step}"])[0] for step in (0, 1)}
        )
    model = RecordedText(unet, None, data["in/encoder_hidden_states"][0], ours, "recorded", "recorded")

    timesteps, noises = (iter([data[f"in/{name}_{step}"] for step in (0, 1)]) for name in ("timesteps", "noise"))
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(timesteps)[0])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: frames_first(next(noises))[0])
    before_clipping = []

    def descend_and_tell(optimizer, masters, gradients, scale, most):
        before_clipping.append(
            (
                [g / scale for g in gradients],
                torch.linalg.vector_norm(torch.stack([g.norm() / scale for g in gradients])),
            )
        )
        descend(optimizer, masters, gradients, scale, most)

    monkeypatch.setattr("live_core.learning.descend", descend_and_tell)
    after = []

    def look(step, total, loss):
        after.append({name: p.detach().clone() for name, p in unet.trainable().items()})

    settings = TuneSettings(clip_steps=2, photo_steps=0, latent_prompt=False, frame_plan=TAV)
    tuning = tune(model, frames_first(data["in/latents"])[0].to(dtype), "", (), settings, look)

    assert set(tuning.tensors) == set(options["trainable_parameters"])
    suffix, limit, loss_limit = (
        ("_f64", tolerance["parameters_f64"]["atol"], tolerance["parameters_f64"]["loss_rtol"])
        if double
        else ("", tolerance["parameters"]["atol"], tolerance["loss"]["rtol"])
    )
    for step in (0, 1):
        assert abs(tuning.losses[0][step] / data[f"out/loss_{step}{suffix}"].item() - 1) < loss_limit
        torch.testing.assert_close(
            before_clipping[step][1].float(),
            data[f"out/total_grad_norm_{step}"][0],
            atol=0,
            rtol=tolerance["loss"]["rtol"],
        )
        for name in options["tracked_parameters"]:
            torch.testing.assert_close(
                after[step][name], data[f"after_step_{step + 1}{suffix}/{name}"], atol=limit, rtol=0
            )
    for name, gradient in zip(unet.trainable(), before_clipping[0][0], strict=True):
        theirs, limits = data[f"grad_0/{name}"], tolerance["gradients"]
        assert (gradient - theirs).norm() <= limits["relative_frobenius_per_tensor"] * theirs.norm(), name
        assert (gradient - theirs).abs().max() <= limits["atol"], name


def test_sparse_causal_attention():
    entry, data = case("sparse_causal_attention")
    for run in entry["options"]["runs"]:
        plan = AttentionPlan(TAV, streams=run["batch"], frames=run["video_length"])
        ours = attend(
            "self",
            under(data, f"{run['id']}/weights/"),
            run["heads"],
            data[f"{run['id']}/in/hidden_states"],
            None,
            plan,
        )
        close(ours, data[f"{run['id']}/out/hidden_states"], entry)


def test_the_transformer_block_s_order_and_parts():
    from diffusers.models.attention import BasicTransformerBlock

    entry, data = case("tav_transformer_block")
    o = entry["options"]
    block = BasicTransformerBlock(
        o["channels"], o["heads"], o["dim_head"], cross_attention_dim=o["cross_attention_dim"], activation_fn="geglu"
    )
    holder = torch.nn.Module()
    holder.conv_norm_out, holder.block = torch.nn.GroupNorm(1, 4), block
    unet = VideoUNet(holder)
    block.load_state_dict(under(data, "weights/"))
    unet._plan = AttentionPlan(TAV, streams=o["batch"], frames=o["video_length"])
    seen = {}
    for part in ("attn1", "attn2", "ff", "attn_temp"):
        getattr(block, part).register_forward_hook(lambda _m, _i, out, part=part: seen.__setitem__(part, out))
    with torch.no_grad():
        hidden = block(data["in/hidden_states"], encoder_hidden_states=data["in/encoder_hidden_states"])
    for name, ours in {**seen, "hidden_states": hidden}.items():
        close(ours, data[f"out/{name}"], entry)


def test_ddim_inversion():
    entry, data = case("ddim_inversion")
    for run in entry["options"]["runs"]:
        ours, steps = schedule(run["scheduler"]), run["num_inv_steps"]
        assert ours.timesteps(steps)[::-1] == run["timesteps"]
        x = data["in/latent"]
        for k, t in enumerate(run["timesteps"]):
            x = ours.invert(x, data["in/noise_pred"][k], t, steps)
            close(x, data[f"{run['id']}/out/latents"][k + 1], entry)
