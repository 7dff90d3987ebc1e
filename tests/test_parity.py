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
from conftest import ROOT
from live_core import LiveError
from live_core.attention import AttentionPlan, FramePlan, SelfInjection, VideoAttention, WordInjection, WordTap
from live_core.diffusion import Schedule, scaled_linear
from live_core.editing import Edit, word_edits
from live_core.masks import blend, blend_mask
from live_core.methods import Method
from live_core.pretrained import LiveModel, load_folder
from live_core.prompts import Prompt, read_prompt, refine_words, replace_words, reweight, split_words, word_windows
from live_core.tuning import TuneSettings, tune
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


def schedule(config: dict) -> Schedule:
    return Schedule(scaled_linear(config["beta_start"], config["beta_end"]), offset=config.get("steps_offset", 1))


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


class RecordedText(LiveModel):
    """A model whose text encoder says what the case recorded, (L, d)."""
    def encode_text(self, text, concepts=()):
        return self.text_encoder


class RecordedNoisyLatents(Schedule):
    """The reference adds noise in float32 even where it trains in float64, so the noisy latents are the recorded ones."""
    recorded = {}

    def add_noise(self, x0, noise, t):
        return self.recorded[t].to(x0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_training_steps(dtype, monkeypatch):
    """Tuning itself: trainable set, noise, loss, gradients, clipping and AdamW, in float64 too, where the small terms show."""
    entry, data = case("tav_train_step")
    options, tolerance, double = entry["options"], entry["tolerance"], dtype == torch.float64
    unet = tune_a_video(entry)
    for name, scale in options["weight_scale"].items():
        unet.unet.get_parameter(name).mul_(scale)
    unet.to(dtype)
    ours = schedule(options["scheduler"])
    if double:
        ours = RecordedNoisyLatents(ours.alphas_cumprod)
        ours.recorded.update({int(data[f"in/timesteps_{step}"]): frames_first(data[f"out/noisy_latents_{step}"])[0] for step in (0, 1)})
    model = RecordedText(unet, None, data["in/encoder_hidden_states"][0], None, ours, "recorded", "recorded")

    timesteps, noises = (iter([data[f"in/{name}_{step}"] for step in (0, 1)]) for name in ("timesteps", "noise"))
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(timesteps)[0])
    monkeypatch.setattr(torch, "randn", lambda *_, **__: frames_first(next(noises))[0])
    before_clipping, clip = [], torch.nn.utils.clip_grad_norm_

    def clip_and_tell(parameters, limit):
        gradients = [p.grad.clone() for p in parameters]
        before_clipping.append((gradients, clip(parameters, limit)))
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip_and_tell)
    after = []

    def look(step, total, loss):
        after.append({name: p.detach().clone() for name, p in unet.trainable().items()})
    settings = TuneSettings(clip_steps=2, photo_steps=0, latent_prompt=False, frame_plan=TAV.slots)
    tuning = tune(model, frames_first(data["in/latents"])[0].to(dtype), "", (), settings, look)

    assert set(tuning.tensors) == set(options["trainable_parameters"])
    suffix, limit, loss_limit = ("_f64", tolerance["parameters_f64"]["atol"], tolerance["parameters_f64"]["loss_rtol"]) if double else \
        ("", tolerance["parameters"]["atol"], tolerance["loss"]["rtol"])
    for step in (0, 1):
        assert abs(tuning.losses[0][step] / data[f"out/loss_{step}{suffix}"].item() - 1) < loss_limit
        torch.testing.assert_close(before_clipping[step][1].float(), data[f"out/total_grad_norm_{step}"][0], atol=0, rtol=tolerance["loss"]["rtol"])
        for name in options["tracked_parameters"]:
            torch.testing.assert_close(after[step][name], data[f"after_step_{step + 1}{suffix}/{name}"], atol=limit, rtol=0)
    for name, gradient in zip(unet.trainable(), before_clipping[0][0]):
        theirs, limits = data[f"grad_0/{name}"], tolerance["gradients"]
        assert (gradient - theirs).norm() <= limits["relative_frobenius_per_tensor"] * theirs.norm(), name
        assert (gradient - theirs).abs().max() <= limits["atol"], name


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
        ours, steps = schedule(run["scheduler"]), run["num_inv_steps"]
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


class RecordedTokenizer:
    """SD 1's tokenizer as far as the alignment case recorded it: ids word by word."""
    model_max_length, bos_token_id, eos_token_id, pad_token_id = 77, 49406, 49407, 49407

    def __init__(self):
        self.ids = {}
        for pair in case("p2p_align")[0]["options"]["pairs"]:
            for text, ids, pieces in zip(pair["prompts"], pair["token_ids"], pair["tokens"]):
                rest = list(zip(ids[1:-1], pieces, strict=True))
                for word in split_words(text):
                    count = next(n for n in range(1, 9) if "".join(piece for _, piece in rest[:n]) == word)
                    self.ids[word], rest = [i for i, _ in rest[:count]], rest[count:]

    def __call__(self, word, add_special_tokens):
        return type("Encoding", (), {"input_ids": self.ids[word]})


@pytest.fixture(scope="module")
def read():
    tokenizer = RecordedTokenizer()
    return lambda text: read_prompt(text, tokenizer)


def test_prompts_are_tokenised_alike(read):
    for pair in case("p2p_align")[0]["options"]["pairs"]:
        for text, ids in zip(pair["prompts"], pair["token_ids"]):
            assert list(read(text).ids) == ids + [49407] * (77 - len(ids))


def check_table(entry: dict, data: dict[str, torch.Tensor], name: str, ours: torch.Tensor, table=lambda mapper: mapper) -> list[int]:
    """Ours is the reference's table, or where that is wrong the corrected one. Returns the columns in which the published one
    differs; there it runs down the diagonal, which is its mistake."""
    published = table(data[name])
    fixed = name.replace("/", "/derived/")
    expected, valid = (table(data[fixed]), data[fixed.replace("mapper", "valid_columns")].bool()) if fixed in data else (published, torch.ones(77).bool())
    torch.testing.assert_close(ours[:, valid], expected[:, valid], atol=entry["tolerance"]["atol"], rtol=0)
    wrong = [j for j in range(77) if valid[j] and not torch.equal(published[:, j], expected[:, j])]
    assert torch.equal(published[:, wrong], torch.eye(77)[:, wrong])
    return wrong


def test_replacement_of_words(read):
    entry, data = case("p2p_align")
    for pair in entry["options"]["pairs"]:
        if pair["replace"]:
            mapping, keep = replace_words(*map(read, pair["prompts"]))
            wrong = check_table(entry, data, f"{pair['id']}/replace_mapper", mapping)
            said = pair.get("replace_wrong_columns", "0..-1").split()[0].split("..")
            assert wrong == list(range(int(said[0]), int(said[1]) + 1)) and not keep.any()


def test_refinement_of_words(read):
    entry, data = case("p2p_align")
    for pair in entry["options"]["pairs"]:
        source, edit = map(read, pair["prompts"])
        alphas = data[f"{pair['id']}/refine_alphas"]
        mapping, keep = refine_words(source, edit)
        wrong = check_table(entry, data, f"{pair['id']}/refine_mapper", mapping, lambda mapper: torch.nn.functional.one_hot(mapper.clamp(min=0), 77).T * alphas)
        assert torch.equal(keep, 1 - alphas)
        assert [j for j in wrong if j <= source.spans[-1][1]] == pair.get("refine_wrong_columns", [])    # the rest read padding for padding


def test_equalizer(read):
    entry, data = case("p2p_align")
    for run in entry["options"]["equalizer"]:
        factors = reweight(read(run["text"]), dict(zip(run["words"], run["values"])))
        torch.testing.assert_close(factors, data[f"{run['id']}/equalizer"][0], atol=entry["tolerance"]["atol"], rtol=0)


def test_words_are_found(read):
    """As in the reference, but for a word before a comma, which it does not find and we do."""
    for look in case("p2p_align")[0]["options"]["word_indices"]:
        prompt, word = read(look["text"]), look["word"]
        found = list(range(*prompt.spans[word])) if isinstance(word, int) else prompt.find(word)
        assert found == ([4] if word == "swimming" else look["indices"])


def windows_of(setting) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """The reference's cross_replace_steps, a ratio, a window or one of these for each word, as our default window and words' own."""
    words = dict(setting) if isinstance(setting, dict) else {"default_": setting}
    words = {word: tuple(window) if isinstance(window, list) else (0.0, window) for word, window in words.items()}
    return words.pop("default_"), words


def test_step_windows(read):
    entry, data = case("p2p_align")
    for run in entry["options"]["cross_replace"]:
        ours = word_windows(read(run["prompts"][1]), run["num_steps"], *windows_of(run["cross_replace_steps"]))
        theirs = data[f"{run['id']}/cross_replace_alpha"][:, 0, 0, 0]
        torch.testing.assert_close(ours, theirs[:-1], atol=entry["tolerance"]["atol"], rtol=0)    # their last row is of no step


def controller(run: dict, source: Prompt, edit: Prompt) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
    """A run's settings in our words: its token edit at every step. Reweighting alone is that of a prompt replaced by itself."""
    (start, ratio), windows = windows_of(run["cross_replace_steps"])
    equalizer = run.get("equalizer", {"words": [], "values": []})
    change = Edit(edit.text, weights=tuple(zip(equalizer["words"], equalizer["values"])), windows=tuple(windows.items()))
    assert start == 0
    return word_edits(Method("run", ("self",), cross_ratio=ratio, word_edit="refine" if "refine" in run["controller"] else "replace"), source, edit, change, run["num_steps"])


def cross(token_edit: tuple[torch.Tensor, torch.Tensor] | None, q: torch.Tensor, k: torch.Tensor, tap: WordTap | None = None) -> torch.Tensor:
    """Maps of streams 0 .. s - 1 after our cross-attention, which has identity values; stream s - 2 is injected into s - 1."""
    words = (WordInjection(len(q) - 1, len(q) - 2, *token_edit),) if token_edit else ()
    values = torch.eye(k.shape[2]).expand(*k.shape[:3], -1)
    return VideoAttention("layer", "cross", None)._cross(AttentionPlan(words=words, tap=tap, streams=len(q)), q, k, values)


def test_cross_attention_controllers(read):
    """Replace, refine and reweight with their windows, from our settings to the edited map and what the tap sums of it."""
    entry, data = case("p2p_controllers_cross")
    heads = entry["options"]["heads"]
    for run in entry["options"]["runs"]:
        token_edits = controller(run, *map(read, run["prompts"]))
        for spec in entry["options"]["layers"]:
            tap = WordTap(spec["queries"])
            for step in range(run["num_steps"]):
                maps = data[f"in/step{step}/{spec['name']}"].unflatten(1, (2, heads)).flatten(0, 1)      # unconditional source and edit, then conditional
                q, k = queries_and_keys(maps)
                ours = cross(token_edits[step], q, k, tap)
                tap.end_of_forward()
                close(ours[3], data[f"{run['id']}/out/step{step}/{spec['name']}"], entry)
                close(ours, torch.cat([maps[:3], ours[3:]]), entry)
                assert torch.equal(ours[:3], cross(None, q, k)[:3])
            close(tap.maps[3, 0] * heads, data[f"{run['id']}/out/store_sum/{spec['name']}"].sum(0), entry)


def test_cross_attention_of_more_queries_than_are_stored(read):
    entry, data = case("p2p_controllers_cross")
    big = entry["options"]["big"]
    run = next(run for run in entry["options"]["runs"] if run["id"] == big["run"])
    q, k = data["big/in/query"][:, None], data["big/in/key"][:, None]
    ours = cross(controller(run, *map(read, run["prompts"]))[0], q * math.sqrt(q.shape[-1]), k)
    close(ours[1, :, big["rows"]], data["big/out/rows"], entry)


def test_self_attention_injection_and_its_query_limit():
    """The reference copies maps, so we must copy bit for bit what our own attention makes of the source's queries and keys."""
    entry, data = case("p2p_controllers_self")
    layer, copied = VideoAttention("layer", "self", None), 0
    for run in entry["options"]["runs"]:
        start, ratio = run["self_replace_steps"]
        steps = Method("run", ("self",), self_start=start, self_ratio=ratio).self_steps(run["num_steps"])
        for step in range(run["num_steps"]):
            for spec in entry["options"]["layers"]:
                maps = data[f"in/step{step}/{spec['name']}"][:, None]
                q, k = queries_and_keys(maps)
                v = torch.eye(k.shape[2]).expand(2, 1, -1, -1)
                injections = (SelfInjection(1, 0, max_tokens=run["self_limit_queries"]),) if step in steps else ()
                expected = data[f"{run['id']}/out/step{step}/{spec['name']}"]
                theirs = queries_and_keys(torch.stack([maps[0], expected]))
                ours, plain = layer._self(AttentionPlan(selves=injections, streams=2), q, k, v), layer._self(AttentionPlan(streams=2), *theirs, v)
                assert torch.equal(ours, plain)
                torch.testing.assert_close(ours[1], expected, atol=1e-6, rtol=0)      # the queries and keys do stand for the map
                copied += torch.equal(expected, maps[0])
    assert copied == 2 + 2 * 3                                             # two late steps: one layer within 16x16, three within 32x32


def test_local_blend(read):
    entry, data = case("p2p_local_blend")
    blended_steps = []
    for run in entry["options"]["runs"]:
        prompts = [read(text) for text in run["prompts"]]
        tokens, spared = ([[t for word in words for t in prompt.tokens_of(word)] for prompt, words in zip(prompts, run.get(key, [[], []]))]
                          for key in ("words", "substruct_words"))
        threshold, subtract_threshold = run["threshold"] if isinstance(run["threshold"], list) else (run["threshold"], 0.3)
        method = Method("run", ("self",), blend_threshold=threshold, subtract_threshold=subtract_threshold, blend_start=run.get("start_blend", 0.0))
        tap = WordTap(256)
        for step in range(entry["options"]["num_steps"]):
            for name in entry["options"]["map_names"]:
                tap.record(data[f"in/maps/step{step}/{name}"][:, None])
            tap.end_of_forward()
            latents = data[f"in/latents/step{step}"]
            mask = blend_mask(tap.maps, tokens, spared, (16, 16), tuple(latents.shape[-2:]), method.blend_threshold, method.subtract_threshold)
            assert torch.equal(mask[0], data[f"{run['id']}/out/mask/step{step}"])
            blending = step in method.blend_steps(run.get("num_ddim_steps", entry["options"]["num_steps"]))
            blended_steps.append(blending)
            close(blend(latents[:1], latents[1:], mask) if blending else latents[1:], data[f"{run['id']}/out/latents/step{step}"], entry)
    assert blended_steps == [True, True, True] + [False, False, True] + [False, True, True]
