"""Parity with FateZero (frames, controllers, fusion, local blend), and with blended latent diffusion's loops."""

from dataclasses import replace

import pytest
import torch
from golden import attend, case, close, level_of, needed, parity, queries_and_keys, under, windows_of
from layers import layer

from live_core.attention import AttentionPlan, SelfInjection, WordInjection
from live_core.change import Edit, word_edits
from live_core.diffusion import Schedule, scaled_linear
from live_core.frames import FramePlan
from live_core.masks import MaskRule, blend, blend_mask, edit_mask, resize_mask, word_mask
from live_core.methods import FATEZERO_SHAPE, Method
from live_core.prompts import read_prompt
from live_core.streams import guided

pytestmark = needed


def test_fatezero_s_frame_settings():
    entry, data = case("fatezero_spatiotemporal")
    slots = {"first": "first", "mid": "middle", "middle": "middle", "last": "last"}
    for run in entry["options"]["runs"]:
        frame_plan = FramePlan(tuple(slots[i] if i in slots else f"{i:+d}" for i in run["SparseCausalAttention_index"]))
        assert frame_plan.sources(run["clip_length"], False) == run["key_value_frames_per_query_frame"]
        plan = AttentionPlan(frame_plan, streams=run["batch"], frames=run["clip_length"])
        ours = attend(
            "self",
            under(data, f"{run['weights_from']}/weights/"),
            run["heads"],
            data[f"{run['input_from']}/in/hidden_states"],
            None,
            plan,
        )
        close(ours, data[f"{run['id']}/out/hidden_states"], entry)


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
    self_start, self_end = (
        run["self_replace_steps"] if isinstance(run["self_replace_steps"], list) else (0.0, run["self_replace_steps"])
    )
    method = replace(
        FATEZERO_SHAPE,
        word_edit="replace" if run["is_replace_controller"] else "refine",
        cross_start=start,
        cross_ratio=ratio,
        self_start=self_start,
        self_ratio=self_end,
        **more,
    )
    equalizer = run.get("equalizer", {"words": [], "values": []})
    change = Edit(
        edit.text,
        weights=tuple(zip(equalizer["words"], equalizer["values"], strict=True)),
        windows=tuple(windows.items()),
    )
    return method, word_edits(method, source, edit, change, run["num_steps"])


def both(data: dict[str, torch.Tensor], step: int, name: str, steps: int) -> torch.Tensor:
    """(2, F, heads, n, k): what the inversion recorded for this step of the edit, and the edit's own maps."""
    pair = torch.stack([data[f"in/inversion/step{steps - 1 - step}/{name}"], data[f"in/editing/step{step}/{name}"]])
    return torch.nn.functional.pad(pair, (0, 77 - pair.shape[-1])) if "cross" in name else pair


def attend_cross(token_edit, pair: torch.Tensor, limit: int | None) -> torch.Tensor:
    q, k = queries_and_keys(pair.flatten(0, 1))
    words = (WordInjection(1, 0, *token_edit, level=1),) if token_edit else ()
    plan = AttentionPlan(words=words, streams=2, frames=len(q) // 2)
    return layer("cross", plan, q, k, k, level=level_of(q, limit))[plan.frames :]


def attend_self(method: Method, step: int, steps: int, pair: torch.Tensor, masks=None) -> torch.Tensor:
    q, k = queries_and_keys(pair.flatten(0, 1))
    selves = (
        (SelfInjection(1, 0, level=1, masks=masks and {1: masks[q.shape[2]]}),)
        if step in method.self_steps(steps)
        else ()
    )
    plan = AttentionPlan(selves=selves, streams=2, frames=len(q) // 2)
    return layer("self", plan, q, k, k, level=level_of(q, method.self_max_tokens))[plan.frames :]


def test_fatezero_s_controllers(read_clip):
    entry, data = case("fatezero_controllers")
    steps, changed = entry["options"]["num_steps"], 0
    for run in entry["options"]["runs"]:
        method, token_edits = fatezero({**run, "num_steps": steps}, read_clip)
        for step in range(steps):
            for spec in entry["options"]["layers"]:
                pair = (
                    both(data, step, spec["name"], steps)
                    if not spec.get("over_limit")
                    else data[f"in/editing/step{step}/{spec['name']}"].expand(2, -1, -1, -1, -1)
                )
                if spec["cross"]:
                    close(
                        attend_cross(token_edits[step], pair, method.cross_max_tokens),
                        data[f"{run['id']}/out/step{step}/{spec['name']}"],
                        entry,
                    )
                    changed += token_edits[step] is not None
                elif spec.get("over_limit"):
                    assert spec["queries"] > method.self_max_tokens
                elif run.get("record_self"):
                    close(
                        attend_self(method, step, steps, pair),
                        data[f"{run['id']}/out/step{step}/{spec['name']}"],
                        entry,
                    )
    assert changed > 10


def maps_of(data: dict[str, torch.Tensor], where: str, layers: list[str]) -> torch.Tensor:
    """(F, n, L): mean over heads and layers, as our tap takes it."""
    return torch.stack([data[f"{where}/{name}"] for name in layers]).mean((0, 2))


MASK_LAYERS = ["down_cross_2", "down_cross_3", "up_cross_0", "up_cross_1", "up_cross_2"]


def test_fatezero_s_attention_fusion(read_clip):
    entry, data = case("fatezero_fusion")
    steps = entry["options"]["num_steps"]
    for run in entry["options"]["runs"]:
        everywhere = run["blend_th"][0] > 1  # their way to say: no query keeps its own
        method, token_edits = fatezero(
            {**run, "num_steps": steps}, read_clip, self_blend_threshold=None if everywhere else run["blend_th"][0]
        )
        tokens = [t for word in run["blend_words"][0] for t in read_clip(run["prompts"][0]).tokens_of(word)]
        for step in range(steps):
            maps, masks = maps_of(data, f"in/inversion/step{steps - 1 - step}", MASK_LAYERS), {}
            for name, side in (("down_self_q16", 4), ("up_self_q36", 6)):
                mask = (
                    word_mask(maps, tokens, (6, 6), (side, side), MaskRule(method.self_blend_threshold))
                    if not everywhere
                    else torch.zeros(3, side, side)
                )
                expected_mask = f"{run['id']}/out/step{step}/{name}/mask"
                assert expected_mask not in data or torch.equal(mask, data[expected_mask])
                masks[side * side] = mask.flatten(1)
                close(
                    attend_self(method, step, steps, both(data, step, name, steps), None if everywhere else masks),
                    data[f"{run['id']}/out/step{step}/{name}"],
                    entry,
                )
            name = "up_cross_0"
            expected = data[f"{run['id']}/out/step{step}/{name}"]
            close(
                attend_cross(token_edits[step], both(data, step, name, steps), method.cross_max_tokens)[
                    ..., : expected.shape[-1]
                ],
                expected,
                entry,
            )


@parity
def test_fatezero_s_local_blend(read_clip, as_published):
    """The published mistake (attention_util.py:53): after step s, when N - 1 - s steps are left, it reads the source's
    latent of N - s left, the level that the edit has just come from."""
    entry, data = case("fatezero_local_blend")
    steps, (run,) = entry["options"]["num_steps"], entry["options"]["runs"]
    method = replace(FATEZERO_SHAPE, blend_threshold=run["blend_th"][0], blend_start=0.2, blend_end=0.8)
    words = [
        [t for word in words for t in read_clip(text).tokens_of(word)]
        for text, words in zip(run["prompts"], run["blend_words"], strict=True)
    ]
    total, size, path = 0, entry["options"]["latent_size"], data["in/inverted_latents"][:, 0].transpose(1, 2)
    acted = []
    for step in range(steps):
        source = maps_of(data, f"in/inversion/step{steps - 1 - step}", MASK_LAYERS)
        total = total + maps_of(data, f"in/editing/step{step}", MASK_LAYERS)
        assert torch.equal(
            word_mask(source, words[0], (6, 6), size, MaskRule(method.blend_threshold)),
            data[f"blend/out/source_mask/step{step}"],
        )
        mask = blend_mask(
            (source, total), words, ([], []), (6, 6), size, MaskRule(method.blend_threshold), method.subtract_threshold
        )
        assert torch.equal(mask, data[f"blend/out/union_mask/step{step}"])
        x = data[f"in/latents/step{step}"][0].transpose(0, 1)
        acted.append(step in method.blend_steps(steps))
        left, expected = (
            (steps - step, "out/latents") if as_published else (steps - 1 - step, "derived/aligned_latents")
        )
        close(
            blend(path[left], x, mask) if acted[-1] else x,
            data[f"blend/{expected}/step{step}"][0].transpose(0, 1),
            entry,
        )
    assert acted == [False, True, True, False, False, False]


@pytest.mark.parametrize("script", ["sd2", "ldm"])
def test_blended_latent_diffusion_s_loop(script):
    """Guidance, DDIM steps and background noised afresh: the SD 2 script blends after the step at the step's own level
    (one too noisy), the LDM sampler before it."""
    entry, data = case(f"blended_latent_{script}")
    run, data = entry["options"]["runs"][0], {name.removeprefix("default/"): tensor for name, tensor in data.items()}
    steps = run.get("num_inference_steps") or run["num_steps"]
    schedule = Schedule(scaled_linear(0.00085, 0.012), offset=0 if script == "sd2" else 1)
    timesteps = schedule.timesteps(steps)[-len(run["timesteps"]) :]
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
        noise = {"u": data["in/eps_uncond"][i], "c": data["in/eps_text"][i]}
        x = schedule.denoise(x, guided(noise, [("u", 1.0), ("c", run["guidance_scale"])]), t, steps)
        if script == "sd2":
            x = blend(background, x, mask)
            close(x, data["out/latents"][i], entry)
    close(x / 0.18215 if script == "sd2" else x, data["out/decoder_input" if script == "sd2" else "out/final"], entry)
