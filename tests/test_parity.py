"""Numeric parity with the reference implementations, on golden data that lies beside the project in ``../shared/reference``.

Each case states its own tolerance; none is loosened here. A case that stores attention maps is fed through our fused
attention by queries and keys that produce exactly these maps: keys one-hot, queries the maps' logarithms.
"""
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from live_core import LiveError
from live_core.attention import AttentionPlan, FramePlan, SelfInjection, VideoAttention, WordInjection, WordTap
from live_core.diffusion import Schedule
from live_core.masks import word_mask

from live_core.pretrained import load_folder
from live_core.prompts import Prompt, refine_words, replace_words, reweight
from live_core.video_unet import VideoUNet
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "reference"
DEMO = ROOT / "demo" / "model"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the golden data (../shared/reference) is not beside the project")

TAV = FramePlan(("first", "previous"))


def case(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """The case's options and tolerance, and its tensors."""
    entry = next(c for c in json.loads((FOLDER / "cases.json").read_text())["cases"] if c["id"] == name)
    return entry, load_file(FOLDER / entry["file"])


def close(ours: torch.Tensor, theirs: torch.Tensor, entry: dict) -> None:
    torch.testing.assert_close(ours, theirs, atol=entry["tolerance"]["atol"], rtol=entry["tolerance"].get("rtol", 0.0))


def schedule(offset: int = 1) -> Schedule:
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float32) ** 2
    return Schedule(torch.cumprod(1 - betas, 0), offset=offset)


def tune_a_video(entry: dict) -> VideoUNet:
    """Our U-Net with a Tune-A-Video checkpoint's weights, under the names they have there."""
    from diffusers import UNet2DConditionModel
    config = dict(entry["options"]["unet2d_config"])
    unet = VideoUNet(UNet2DConditionModel.from_config(config))
    unet.unet.load_state_dict(load_file(FOLDER / entry["weights_file"]))
    return unet.eval().requires_grad_(False)


def frames_first(x: torch.Tensor) -> torch.Tensor:
    """(b, c, f, h, w), the references' layout, to ours, (s, f, c, h, w); its own inverse."""
    return x.transpose(1, 2)


# ------------------------------------------------------------------------------------------------------ Tune-A-Video
def test_the_inflated_unet():
    entry, data = case("tav_unet")
    noise = tune_a_video(entry)(frames_first(data["in/sample"]), data["in/timestep"], data["in/encoder_hidden_states"], plan=AttentionPlan(TAV))
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
        noise = unet(frames_first(data["in/sample"]), data["in/timestep"], data["in/encoder_hidden_states"], plan=AttentionPlan(TAV))
    close(frames_first(noise), data["out/sample"], entry)
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(LiveError, match="convert the U-Net to safetensors"):
        load_folder(tmp_path / "m")


def test_zero_temporal_attention_is_no_temporal_attention():
    entry, data = case("tav_unet_zero_temporal")
    for expected, zeroed in (("out/sample", ("to_out.0.weight", "to_out.0.bias")), ("out/sample_weight_zero_bias_kept", ("to_out.0.weight",))):
        unet = tune_a_video(entry)
        for name, p in unet.unet.named_parameters():
            if ".attn_temp." in name and name.endswith(zeroed):
                p.zero_()
        arguments = frames_first(data["in/sample"]), data["in/timestep"], data["in/encoder_hidden_states"]
        close(frames_first(unet(*arguments, plan=AttentionPlan(TAV))), data[expected], entry)
    without = tune_a_video(entry)(*arguments, plan=AttentionPlan(TAV, temporal=False))
    close(frames_first(without), data["out/sample"], entry)


def test_two_training_steps():
    """The trainable set, the loss, its gradients, clipping and AdamW, in float64 where the small terms show."""
    entry, data = case("tav_train_step")
    options, tolerance = entry["options"], entry["tolerance"]
    for dtype in (torch.float32, torch.float64):
        unet = tune_a_video(entry)
        for name, scale in options["weight_scale"].items():
            unet.unet.get_parameter(name).mul_(scale)
        unet.to(dtype)
        trainable = unet.trainable()
        assert set(trainable) == set(options["trainable_parameters"])
        optimizer = torch.optim.AdamW(trainable.values(), options["learning_rate"], options["adam_betas"], options["adam_eps"], options["weight_decay"])
        for p in trainable.values():
            p.requires_grad_(True)
        for step in range(options["num_steps"]):
            t, noise = int(data[f"in/timesteps_{step}"]), data[f"in/noise_{step}"]
            noisy = schedule().add_noise(data["in/latents"], noise, t)
            torch.testing.assert_close(noisy, data[f"out/noisy_latents_{step}"], atol=1e-6, rtol=1e-6)
            predicted = unet(frames_first(data[f"out/noisy_latents_{step}"].to(dtype)), t, data["in/encoder_hidden_states"].to(dtype), plan=AttentionPlan(TAV))
            loss = F.mse_loss(frames_first(predicted), noise.to(dtype))
            optimizer.zero_grad()
            loss.backward()
            if dtype == torch.float64:
                assert abs(loss.item() / data[f"out/loss_{step}_f64"].item() - 1) < tolerance["parameters_f64"]["loss_rtol"]
            else:
                assert abs(loss.item() / data[f"out/loss_{step}"].item() - 1) < tolerance["loss"]["rtol"]
                if step == 0:
                    for name, p in trainable.items():
                        theirs, limits = data[f"grad_0/{name}"], tolerance["gradients"]
                        assert (p.grad - theirs).norm() <= limits["relative_frobenius_per_tensor"] * theirs.norm() + limits["atol"], name
            total = torch.nn.utils.clip_grad_norm_(trainable.values(), options["max_grad_norm"])
            torch.testing.assert_close(total.float().reshape(()), data[f"out/total_grad_norm_{step}"].reshape(()), atol=0, rtol=1e-4)
            optimizer.step()
            for name in options["tracked_parameters"]:
                suffix, limit = ("_f64", tolerance["parameters_f64"]["atol"]) if dtype == torch.float64 else ("", tolerance["parameters"]["atol"])
                theirs = data.get(f"after_step_{step + 1}{suffix}/{name}")
                assert theirs is not None and (trainable[name].detach() - theirs).abs().max() <= limit, name


def attend(kind: str, weights: dict[str, torch.Tensor], heads: int, hidden: torch.Tensor, context: torch.Tensor | None, plan: AttentionPlan) -> torch.Tensor:
    """One of our attention layers with the given weights, outside any U-Net."""
    from diffusers.models.attention_processor import Attention
    width = weights["to_q.weight"].shape[1]
    layer = Attention(width, weights["to_k.weight"].shape[1], heads=heads, dim_head=weights["to_q.weight"].shape[0] // heads)
    layer.load_state_dict(weights)
    layer.set_processor(VideoAttention("layer", kind, lambda: plan))
    with torch.no_grad():
        return layer(hidden, context)


def under(data: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in data.items() if name.startswith(prefix)}


def test_sparse_causal_attention():
    entry, data = case("sparse_causal_attention")
    for run in entry["options"]["runs"]:
        plan = AttentionPlan(TAV, streams=run["batch"], frames=run["video_length"])
        ours = attend("self", under(data, f"{run['id']}/weights/"), run["heads"], data[f"{run['id']}/in/hidden_states"], None, plan)
        close(ours, data[f"{run['id']}/out/hidden_states"], entry)


def test_fatezero_s_frame_settings():
    entry, data = case("fatezero_spatiotemporal")
    slots = {-1: "previous", "first": "first", "mid": "middle"}
    for run in entry["options"]["runs"]:
        frame_plan = FramePlan(tuple(slots[i] for i in run["SparseCausalAttention_index"]))
        assert frame_plan.sources(run["clip_length"], False) == run["key_value_frames_per_query_frame"]
        plan = AttentionPlan(frame_plan, streams=run["batch"], frames=run["clip_length"])
        ours = attend("self", under(data, f"{run['weights_from']}/weights/"), run["heads"], data[f"{run['input_from']}/in/hidden_states"], None, plan)
        close(ours, data[f"{run['id']}/out/hidden_states"], entry)


def test_the_transformer_block_s_order_and_parts():
    from diffusers.models.attention import BasicTransformerBlock
    entry, data = case("tav_transformer_block")
    o = entry["options"]
    block = BasicTransformerBlock(o["channels"], o["heads"], o["dim_head"], cross_attention_dim=o["cross_attention_dim"], activation_fn="geglu")
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
        ours, steps = schedule(run["scheduler"]["steps_offset"]), run["num_inv_steps"]
        assert ours.timesteps(steps)[::-1] == run["timesteps"]
        x = data["in/latent"]
        for k, t in enumerate(run["timesteps"]):
            x = ours.invert(x, data["in/noise_pred"][k], t, steps)
            close(x, data[f"{run['id']}/out/latents"][k + 1], entry)


# -------------------------------------------------------------------------------------------------- prompt-to-prompt
def queries_and_keys(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(streams, heads, n, k) maps as queries and keys whose softmax they are."""
    size = maps.shape[-1]
    return maps.clamp_min(1e-35).log() * math.sqrt(size), torch.eye(size).expand(*maps.shape[:2], -1, -1)


def read(text: str, ids: list[int] | None = None, pieces: list[str] | None = None) -> Prompt:
    """A `Prompt` of SD 1's tokenizer from the case's own token ids; without ids every word is one token of its own."""
    words = text.replace(",", " ,").split()
    pieces = pieces or words
    ids = ids or [49406, *(1000 + sum(map(ord, w)) for w in words), 49407]
    spans, at = [], 0
    for word in words:
        start, spelt = at, ""
        while spelt != word:
            spelt, at = spelt + pieces[at], at + 1
        spans.append((start + 1, at + 1))
    return Prompt(text, (*ids, *[49407] * (77 - len(ids))), tuple(words), tuple(spans))


def test_alignment_of_prompts():
    entry, data = case("p2p_align")
    for pair in entry["options"]["pairs"]:
        source, edit = (read(*parts) for parts in zip(pair["prompts"], pair["token_ids"], pair["tokens"]))

        def expected(name):                                                # corrected where the reference is wrong, with the columns that count
            fixed = f"{pair['id']}/derived/{name}_mapper"
            table = data.get(fixed, data[f"{pair['id']}/{name}_mapper"])
            return table, data.get(f"{pair['id']}/derived/{name}_valid_columns", torch.ones(77)).bool()

        if pair["replace"]:
            mapping, keep = replace_words(source, edit)
            table, valid = expected("replace")
            assert not keep.any()
            torch.testing.assert_close(mapping[:, valid], table[:, valid], atol=entry["tolerance"]["atol"], rtol=0)
        mapping, keep = refine_words(source, edit)
        table, valid = expected("refine")
        assert torch.equal(keep, 1 - data[f"{pair['id']}/refine_alphas"])
        taken = valid & (keep == 0)
        assert torch.equal(mapping.argmax(0)[taken], table[taken]) and torch.equal(mapping.sum(0), 1 - keep)


def test_equalizer():
    entry, data = case("p2p_align")
    for run in entry["options"]["equalizer"]:
        pair = next((p for p in entry["options"]["pairs"] if run["text"] in p["prompts"]), None)
        which = pair["prompts"].index(run["text"])
        prompt = read(run["text"], pair["token_ids"][which], pair["tokens"][which])
        assert torch.equal(reweight(prompt, dict(zip(run["words"], run["values"]))), data[f"{run['id']}/equalizer"][0])


def test_cross_attention_controllers():
    """Replace, refine and reweight as token edits of our cross-attention: its output under identity values is the edited map."""
    entry, data = case("p2p_controllers_cross")
    layer = VideoAttention("layer", "cross", None)
    for run in entry["options"]["runs"]:
        source, edit = map(read, run["prompts"])
        if run["controller"].endswith("refine"):
            mapping, keep = refine_words(source, edit)
        elif run["controller"].endswith("replace"):
            mapping, keep = replace_words(source, edit)
        else:
            mapping, keep = torch.eye(77), torch.zeros(77)
        if "equalizer" in run:
            factors = reweight(edit, dict(zip(run["equalizer"]["words"], run["equalizer"]["values"])))
            mapping, keep = mapping * factors, keep * factors
        windows = run["cross_replace_steps"] if isinstance(run["cross_replace_steps"], dict) else {"default_": run["cross_replace_steps"]}
        for step in range(run["num_steps"]):
            opened = torch.zeros(77)
            for words, window in windows.items():
                start, end = (int(part * (run["num_steps"] + 1)) for part in (window if isinstance(window, list) else (0.0, window)))
                tokens = slice(None) if words == "default_" else edit.tokens_of(words)
                opened[tokens] = float(start <= step < end)
            gated = WordInjection(1, 0, mapping * opened, keep * opened + 1 - opened)
            for spec in entry["options"]["layers"]:
                maps = data[f"in/step{step}/{spec['name']}"][1].unflatten(0, (2, entry["options"]["heads"]))
                q, k = queries_and_keys(maps)
                ours = layer._cross(AttentionPlan(words=(gated,), streams=2), q, k, k.clone())
                close(ours[1], data[f"{run['id']}/out/step{step}/{spec['name']}"], entry)
                close(ours[0], maps[0], entry)


def test_self_attention_injection_and_its_query_limit():
    """The reference copies maps, so we must copy bit for bit what our own attention makes of the source's queries and keys."""
    entry, data = case("p2p_controllers_self")
    layer, copied = VideoAttention("layer", "self", None), 0
    for run in entry["options"]["runs"]:
        start, end = (int(part * run["num_steps"]) for part in run["self_replace_steps"])
        for step in range(run["num_steps"]):
            for spec in entry["options"]["layers"]:
                maps = data[f"in/step{step}/{spec['name']}"][:, None]
                q, k = queries_and_keys(maps)
                v = torch.randn(1, 1, k.shape[2], 5, generator=torch.Generator().manual_seed(step)).expand(2, -1, -1, -1)
                injections = (SelfInjection(1, 0, max_tokens=run["self_limit_queries"]),) if start <= step < end else ()
                ours = layer._self(AttentionPlan(selves=injections, streams=2), q, k, v)[1]
                expected = data[f"{run['id']}/out/step{step}/{spec['name']}"]
                which = 0 if torch.equal(expected, maps[0]) else 1
                assert torch.equal(expected, maps[which]) and not torch.equal(maps[0], maps[1])
                assert torch.equal(ours, layer._self(AttentionPlan(streams=2), q, k, v)[which])
                copied += which == 0
    assert copied == 2 + 2 * 3                                             # two late steps: one layer within 16x16, three within 32x32


def test_local_blend_s_mask():
    entry, data = case("p2p_local_blend")
    for run in entry["options"]["runs"]:
        if "substruct_words" in run:                                       # a second mask to take away: no method here asks for it
            continue
        tokens = [read(prompt).tokens_of(words[0]) for prompt, words in zip(run["prompts"], run["words"])]
        threshold, starts_at = (run["threshold"], 0) if run["id"] == "stable" else (run["threshold"][0], int(run["start_blend"] * run["num_ddim_steps"]))
        tap = WordTap(256)
        for step in range(entry["options"]["num_steps"]):
            for name in entry["options"]["map_names"]:
                tap.record(data[f"in/maps/step{step}/{name}"][:, None])
            tap.end_of_forward()
            latents = data[f"in/latents/step{step}"]
            mask = torch.maximum(*(word_mask(tap.maps[i], tokens[i], (16, 16), tuple(latents.shape[-2:]), threshold)[0] for i in (0, 1)))
            assert torch.equal(mask, data[f"{run['id']}/out/mask/step{step}"])
            blended = latents[:1] + mask * (latents[1:] - latents[:1]) if step >= starts_at else latents[1:]
            close(blended, data[f"{run['id']}/out/latents/step{step}"], entry)
