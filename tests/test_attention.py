"""Injection by fused attention equals the explicit-map formula, layer by layer."""

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from layers import layer, processor

from live_core import attention as machine
from live_core.attention import AttentionPlan, Record, SelfInjection, WordInjection
from live_core.frames import FramePlan
from live_core.stores import DiskStore, RamStore
from live_core.taps import WordTap


def attention(cross: int | None = None):
    from diffusers.models.attention_processor import Attention

    torch.manual_seed(3)
    return Attention(32, cross_attention_dim=cross, heads=4, dim_head=8).eval().requires_grad_(False)


def probabilities(attn, hidden, context):
    q, k = (rearrange(x, "b n (h c) -> b h n c", h=4) for x in (attn.to_q(hidden), attn.to_k(context)))
    return (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)


def finish(attn, maps, context):
    v = rearrange(attn.to_v(context), "b n (h c) -> b h n c", h=4)
    return attn.to_out[0](rearrange(maps @ v, "b h n c -> b n (h c)"))


def run(attn, kind, plan, hidden, context=None):
    return processor(kind, plan)(attn, hidden, context)


def test_word_injection_is_the_explicit_formula_and_the_tap_sees_it():
    attn, f = attention(24), 3
    hidden, text = torch.randn(2 * f, 16, 32), torch.randn(2, 9, 24).repeat_interleave(f, 0)
    mapping, keep = torch.rand(9, 9), torch.rand(9)
    tap = WordTap(0)
    plan = AttentionPlan(words=(WordInjection(1, 0, mapping, keep),), tap=tap, streams=2, frames=f)
    ours = run(attn, "cross", plan, hidden, text)
    maps = probabilities(attn, hidden, text)
    maps[f:] = maps[:f] @ mapping + maps[f:] * keep
    torch.testing.assert_close(ours, finish(attn, maps, text), atol=1e-6, rtol=1e-5)
    tap.end_of_forward()
    torch.testing.assert_close(tap.maps, rearrange(maps.mean(1), "(s f) n l -> s f n l", s=2), atol=1e-6, rtol=1e-5)


def test_self_injection_is_the_source_map_times_the_edit_values():
    attn, f = attention(), 3
    hidden = torch.randn(2 * f, 16, 32)
    plan = AttentionPlan(FramePlan(("first", "previous")), selves=(SelfInjection(1, 0),), streams=2, frames=f)
    ours = run(attn, "self", plan, hidden)

    def gather(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.cat([x[0], x[max(i - 1, 0)]])[None] for i in range(f)])

    context = torch.cat([gather(hidden[:f]), gather(hidden[f:])])
    maps = probabilities(attn, hidden, context)
    maps[f:] = maps[:f]
    torch.testing.assert_close(ours, finish(attn, maps, context), atol=1e-6, rtol=1e-5)


def test_self_injection_respects_its_limits():
    attn, hidden = attention(), torch.randn(2, 16, 32)
    plain = run(attn, "self", AttentionPlan(streams=2), hidden)
    for injection in (SelfInjection(1, 0, spatial=False, temporal=True), SelfInjection(1, 0, level=1)):
        assert torch.equal(run(attn, "self", AttentionPlan(selves=(injection,), streams=2), hidden), plain)
    assert not torch.allclose(
        run(attn, "self", AttentionPlan(selves=(SelfInjection(1, 0),), streams=2), hidden)[1], plain[1], atol=1e-4
    )


def test_stored_queries_and_keys_are_the_live_ones(tmp_path):
    attn, text = attention(24), torch.randn(2, 9, 24)
    hidden, mapping, keep = torch.randn(2, 16, 32), torch.rand(9, 9), torch.rand(9)
    live = run(attn, "cross", AttentionPlan(words=(WordInjection(1, 0, mapping, keep),), streams=2), hidden, text)[1]
    for store in (RamStore(), DiskStore(tmp_path / "store")):
        run(attn, "cross", AttentionPlan(record=Record(store)), hidden[:1], text[:1])
        stored = run(
            attn,
            "cross",
            AttentionPlan(words=(WordInjection(0, None, mapping, keep),), store=store),
            hidden[1:],
            text[1:],
        )[0]
        torch.testing.assert_close(stored, live, atol=1e-6, rtol=1e-5)
        assert store.nbytes() == 4 * (16 * 32 + 9 * 32)  # the input, and one frame of keys


shapes = st.fixed_dictionaries(
    {"frames": st.integers(1, 4), "heads": st.integers(1, 3), "tokens": st.integers(1, 9), "width": st.integers(1, 8)}
)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(shapes, st.integers(1, 7), st.integers(2, 4), st.data())
def test_word_injection_of_any_shape_is_the_explicit_formula(shape, words, streams, data):
    """Any stream into any other, any mapping, weights beyond 1: A_source M + A_target keep, and what is not injected
    stays.
    """
    target, source = data.draw(st.permutations(range(streams)))[:2]
    f, seed = shape["frames"], data.draw(st.integers(0, 999))
    q = random(seed, streams * f, shape["heads"], shape["tokens"], shape["width"])
    k, v = random(seed + 1, 2, streams * f, shape["heads"], words, shape["width"])
    mapping, keep = 3 * random(seed + 2, words, words), 3 * random(seed + 3, words)
    plan = AttentionPlan(words=(WordInjection(target, source, mapping, keep),), streams=streams, frames=f)
    ours = layer("cross", plan, q, k, v)
    maps = (q @ k.transpose(-1, -2) * shape["width"] ** -0.5).softmax(-1).unflatten(0, (streams, f))
    expected = maps.clone()
    expected[target] = maps[source] @ mapping + maps[target] * keep
    torch.testing.assert_close(ours, expected.flatten(0, 1) @ v, atol=1e-4, rtol=1e-4)


@given(
    shapes,
    st.lists(st.sampled_from(("self", "first", "previous", "middle", "all")), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.integers(0, 999),
)
def test_self_injection_of_any_shape_is_the_source_s_map_where_the_mask_is_0(shape, slots, masked, seed):
    f, n = shape["frames"], shape["tokens"]
    q, k, v = random(seed, 3, 2 * f, shape["heads"], n, shape["width"])
    mask = (random(seed + 1, f, n) > 0).float() if masked else torch.zeros(f, n)
    plan = AttentionPlan(
        FramePlan(slots), selves=(SelfInjection(1, 0, masks={0: mask} if masked else None),), streams=2, frames=f
    )
    ours = layer("self", plan, q, k, v).unflatten(0, (2, f))
    q, k, v = (x.unflatten(0, (2, f)) for x in (q, k, v))
    where = {
        "self": lambda i: [i],
        "first": lambda i: [0],
        "previous": lambda i: [max(i - 1, 0)],
        "middle": lambda i: [(f - 1) // 2],
        "all": lambda i: list(range(f)),
    }
    for i in range(f):
        frames = [j for slot in slots for j in where[slot](i)]
        keys, values = (torch.cat([x[:, j] for j in frames], -2) for x in (k, v))
        source, own = (q[:, i] @ keys.transpose(-1, -2) * shape["width"] ** -0.5).softmax(-1)
        b = mask[i][None, :, None]
        torch.testing.assert_close(
            ours[:, i],
            torch.stack([source @ values[0], (b * own + (1 - b) * source) @ values[1]]),
            atol=1e-5,
            rtol=1e-4,
        )


def test_temporal_attention_in_parts_is_the_same_to_the_bit(video_unet, monkeypatch):
    latents, text, plan = torch.randn(2, 3, 4, 8, 8), torch.randn(2, 5, 24), AttentionPlan(FramePlan(("self",)))
    with torch.no_grad():
        whole = video_unet(latents, 500, text, plan=plan)
        monkeypatch.setattr(machine, "SEQUENCES_AT_ONCE", 5)
        fused, sizes = machine.F.scaled_dot_product_attention, []
        monkeypatch.setattr(
            machine.F,
            "scaled_dot_product_attention",
            lambda q, k, v: sizes.append((len(q), q.shape[2])) or fused(q, k, v),
        )
        assert torch.equal(video_unet(latents, 500, text, plan=plan), whole)
    assert max(batch for batch, length in sizes if length == 3) == 5  # three frames: temporal attention alone


def test_two_threads_give_the_same_gradients_every_time():
    """Of frames that several rows read, as tuning does; else a seed would not tell a tuning."""
    q, k, v = (random(seed, 8, 4, 256, 16).requires_grad_() for seed in range(3))
    plan = AttentionPlan(FramePlan(("first", "previous")), frames=8)
    torch.set_num_threads(2)
    try:
        gradients = [torch.autograd.grad(layer("self", plan, q, k, v).square().sum(), (q, k, v)) for _ in range(40)]
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for other in gradients[1:] for a, b in zip(gradients[0], other, strict=True))


@pytest.mark.parametrize(
    "frame_plan,rows", [(("all",), [[0, 1, 2]] * 3), (("middle",), [[1]] * 3), (("first",), [[0]] * 3)]
)
@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_shared_keys_and_values_are_the_gathered_ones(frame_plan, rows, at_once):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2 * 3, 2, 5, 4)
    plan = AttentionPlan(FramePlan(frame_plan), streams=2, frames=3, rows_at_once=at_once)
    ours = layer("self", plan, q, k, v)
    for s in range(2):
        for i, row in enumerate(rows):
            gathered = (torch.cat([x[3 * s + j] for j in row], 1) for x in (k, v))
            expected = torch.nn.functional.scaled_dot_product_attention(q[3 * s + i], *gathered)
            torch.testing.assert_close(ours[3 * s + i], expected, atol=1e-6, rtol=1e-5)


def test_narrow_layers_see_only_their_own_frame():
    q, k, v = torch.randn(3, 3, 2, 5, 4)
    plan = AttentionPlan(FramePlan(("first",), min_width=0.5), frames=3)
    narrow, wide = (layer("self", plan, q, k, v, width) for width in (0.25, 0.5))
    assert torch.equal(narrow, torch.nn.functional.scaled_dot_product_attention(q, k, v)) and not torch.allclose(
        narrow, wide
    )


def test_query_masks_choose_between_the_edit_s_and_the_source_s_attention():
    """Equation 7 of FateZero as explicit maps; all ones is the edit alone, all zeros the source's map everywhere."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2 * 2, 2, 5, 4)
    maps = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    for mask in (torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 1, 0, 1]]), torch.ones(2, 5), torch.zeros(2, 5)):
        b = mask[:, None, :, None]
        plan = AttentionPlan(selves=(SelfInjection(1, 0, masks={0: mask}),), streams=2, frames=2)
        ours = layer("self", plan, q, k, v)
        torch.testing.assert_close(ours[2:], (b * maps[2:] + (1 - b) * maps[:2]) @ v[2:], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ours[:2], maps[:2] @ v[:2], atol=1e-6, rtol=1e-5)
