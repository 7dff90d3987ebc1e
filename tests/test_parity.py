"""Numeric parity with the reference implementations, on golden data that lies beside the project in ``../shared/reference``.

Each case states its own tolerance; none is loosened here. A case that stores attention maps is fed through our fused
attention by queries and keys that produce exactly these maps: keys one-hot, queries the maps' logarithms.
"""
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from live_core import LiveError
from live_core.attention import AttentionPlan, FramePlan, SelfInjection, VideoAttention, WordInjection, WordTap
from live_core.diffusion import Schedule, scaled_linear
from live_core.editing import Edit, guided, word_edits
from live_core.masks import blend, blend_mask, edit_mask, resize_mask, word_mask
from live_core.methods import FATEZERO_SHAPE, Method
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


@pytest.fixture(scope="module")
def read_clip(comfyui):
    """SD 1's whole tokenizer, which ComfyUI ships."""
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(comfyui[0] / "comfy" / "sd1_tokenizer")
    tokenizer.model_max_length = 77
    return lambda text: read_prompt(text, tokenizer)


def fatezero(run: dict, read, **more) -> tuple[Method, list[tuple[torch.Tensor, torch.Tensor] | None]]:
    """A run's settings as our method, and its token edit at every step."""
    source, edit = map(read, run["prompts"])
    (start, ratio), windows = windows_of(run["cross_replace_steps"])
    assert start == 0
    self_start, self_end = run["self_replace_steps"] if isinstance(run["self_replace_steps"], list) else (0.0, run["self_replace_steps"])
    method = replace(FATEZERO_SHAPE, word_edit="replace" if run["is_replace_controller"] else "refine", cross_ratio=ratio, self_start=self_start, self_ratio=self_end, **more)
    equalizer = run.get("equalizer", {"words": [], "values": []})
    change = Edit(edit.text, weights=tuple(zip(equalizer["words"], equalizer["values"])), windows=tuple(windows.items()))
    return method, word_edits(method, source, edit, change, run["num_steps"])


def both(data: dict[str, torch.Tensor], step: int, name: str, steps: int) -> torch.Tensor:
    """(2, F, heads, n, k): what the inversion recorded for this step of the edit, and the edit's own maps."""
    pair = torch.stack([data[f"in/inversion/step{steps - 1 - step}/{name}"], data[f"in/editing/step{step}/{name}"]])
    return torch.nn.functional.pad(pair, (0, 77 - pair.shape[-1])) if "cross" in name else pair


def attend_cross(token_edit, pair: torch.Tensor, max_tokens: int | None) -> torch.Tensor:
    q, k = queries_and_keys(pair.flatten(0, 1))
    words = (WordInjection(1, 0, *token_edit, max_tokens),) if token_edit else ()
    return VideoAttention("layer", "cross", None)._cross(AttentionPlan(words=words, streams=2, frames=len(q) // 2), q, k, k)[len(q) // 2:]


def attend_self(method: Method, step: int, steps: int, pair: torch.Tensor, masks=None) -> torch.Tensor:
    q, k = queries_and_keys(pair.flatten(0, 1))
    selves = (SelfInjection(1, 0, max_tokens=method.self_max_tokens, masks=masks),) if step in method.self_steps(steps) else ()
    return VideoAttention("layer", "self", None)._self(AttentionPlan(selves=selves, streams=2, frames=len(q) // 2), q, k, k)[len(q) // 2:]


def test_fatezero_s_controllers(read_clip):
    entry, data = case("fatezero_controllers")
    steps, changed = entry["options"]["num_steps"], 0
    for run in entry["options"]["runs"]:
        method, token_edits = fatezero({**run, "num_steps": steps}, read_clip)
        for step in range(steps):
            for layer in entry["options"]["layers"]:
                pair = both(data, step, layer["name"], steps) if not layer.get("over_limit") else data[f"in/editing/step{step}/{layer['name']}"].expand(2, -1, -1, -1, -1)
                if layer["cross"]:
                    close(attend_cross(token_edits[step], pair, method.cross_max_tokens), data[f"{run['id']}/out/step{step}/{layer['name']}"], entry)
                    changed += token_edits[step] is not None
                elif layer.get("over_limit"):
                    assert layer["queries"] > method.self_max_tokens
                elif run.get("record_self"):
                    close(attend_self(method, step, steps, pair), data[f"{run['id']}/out/step{step}/{layer['name']}"], entry)
    assert changed > 10


def maps_of(data: dict[str, torch.Tensor], where: str, layers: list[str]) -> torch.Tensor:
    """(F, n, L): mean over heads and layers, as our tap takes it."""
    return torch.stack([data[f"{where}/{name}"] for name in layers]).mean((0, 2))


MASK_LAYERS = ["down_cross_2", "down_cross_3", "up_cross_0", "up_cross_1", "up_cross_2"]


def test_fatezero_s_attention_fusion(read_clip):
    entry, data = case("fatezero_fusion")
    steps = entry["options"]["num_steps"]
    for run in entry["options"]["runs"]:
        everywhere = run["blend_th"][0] > 1                                # their way to say: no query keeps its own
        method, token_edits = fatezero({**run, "num_steps": steps}, read_clip, self_blend_threshold=None if everywhere else run["blend_th"][0])
        tokens = [t for word in run["blend_words"][0] for t in read_clip(run["prompts"][0]).tokens_of(word)]
        for step in range(steps):
            maps, masks = maps_of(data, f"in/inversion/step{steps - 1 - step}", MASK_LAYERS), {}
            for name, side in (("down_self_q16", 4), ("up_self_q36", 6)):
                mask = word_mask(maps, tokens, (6, 6), (side, side), method.self_blend_threshold) if not everywhere else torch.zeros(3, side, side)
                expected_mask = f"{run['id']}/out/step{step}/{name}/mask"
                assert expected_mask not in data or torch.equal(mask, data[expected_mask])
                masks[side * side] = mask.flatten(1)
                close(attend_self(method, step, steps, both(data, step, name, steps), None if everywhere else masks), data[f"{run['id']}/out/step{step}/{name}"], entry)
            name = "up_cross_0"
            expected = data.get(f"{run['id']}/derived/step{step}/{name}", data[f"{run['id']}/out/step{step}/{name}"])
            close(attend_cross(token_edits[step], both(data, step, name, steps), method.cross_max_tokens)[..., :expected.shape[-1]], expected, entry)


def test_fatezero_s_local_blend(read_clip):
    entry, data = case("fatezero_local_blend")
    steps, (run,) = entry["options"]["num_steps"], entry["options"]["runs"]
    method = replace(FATEZERO_SHAPE, blend_threshold=run["blend_th"][0], blend_start=0.2, blend_end=0.8)
    words = [[t for word in words for t in read_clip(text).tokens_of(word)] for text, words in zip(run["prompts"], run["blend_words"])]
    total, size, path = 0, entry["options"]["latent_size"], data["in/inverted_latents"][:, 0].transpose(1, 2)
    acted = []
    for step in range(steps):
        source, total = maps_of(data, f"in/inversion/step{steps - 1 - step}", MASK_LAYERS), total + maps_of(data, f"in/editing/step{step}", MASK_LAYERS)
        assert torch.equal(word_mask(source, words[0], (6, 6), size, method.blend_threshold), data[f"blend/out/source_mask/step{step}"])
        mask = blend_mask((source, total), words, ([], []), (6, 6), size, method.blend_threshold, method.subtract_threshold)
        assert torch.equal(mask, data[f"blend/out/union_mask/step{step}"])
        x = data[f"in/latents/step{step}"][0].transpose(0, 1)
        acted.append(step in method.blend_steps(steps))
        for level, expected in ((steps - 1 - step, "derived/aligned_latents"), (steps - step, "out/latents")):      # ours, and the reference's, one level too noisy
            ours = blend(path[level], x, mask) if acted[-1] else x
            close(ours, data[f"blend/{expected}/step{step}"][0].transpose(0, 1), entry)
    assert acted == [False, True, True, False, False, False]


@pytest.mark.parametrize("script", ["sd2", "ldm"])
def test_blended_latent_diffusion_s_loop(script):
    """Guidance, DDIM steps and background noised afresh: the SD 2 script blends after the step at the step's own level (one too
    noisy), the LDM sampler before it."""
    entry, data = case(f"blended_latent_{script}")
    run, data = entry["options"]["runs"][0], {name.removeprefix("default/"): tensor for name, tensor in data.items()}
    steps = run.get("num_inference_steps") or run["num_steps"]
    schedule = Schedule(scaled_linear(0.00085, 0.012), offset=0 if script == "sd2" else 1)
    timesteps = schedule.timesteps(steps)[-len(run["timesteps"]):]
    assert timesteps == run["timesteps"]
    if script == "sd2":
        mask = edit_mask(data["in/mask_image"][None] / 255, 1, (64, 64))
        mask = resize_mask(mask, (8, 8))
        assert torch.equal(mask[None], data["out/latent_mask"])
        x, source = data["in/initial_latents"], data["in/source_latents"]
    else:
        mask, x, source = data["in/masks"][0], data["in/x_T"], data["in/x0"]
    for i, t in enumerate(timesteps):
        background = schedule.add_noise(source, data["in/noise"][i], t)
        if script == "ldm":
            x = blend(background, x, mask)
            close(x, data["out/blended_model_inputs"][i], entry)
        noise = torch.stack([data["in/eps_uncond"][i], data["in/eps_text"][i]])
        x = schedule.denoise(x, guided(noise, {"u": 0, "c": 1}, "u", "c", run["guidance_scale"]), t, steps)
        if script == "sd2":
            x = blend(background, x, mask)
            close(x, data["out/latents"][i], entry)
    close(x / 0.18215 if script == "sd2" else x, data["out/decoder_input" if script == "sd2" else "out/final"], entry)
