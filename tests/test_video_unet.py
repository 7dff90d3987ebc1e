"""Inflation: the identity cases are exact, folding holds for every shape, and what a run changes it puts back."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny_unet
from hypothesis import given
from hypothesis import strategies as st

from live_core import LiveError
from live_core.attention import AttentionPlan
from live_core.frames import LATENT_PROMPT, SLOTS, FramePlan
from live_core.memory import one_run
from live_core.video_unet import VideoUNet

PLAN = AttentionPlan(FramePlan(("first", "previous")))


@pytest.mark.parametrize("streams,frames,size", [(1, 1, (16, 16)), (1, 3, (16, 16)), (2, 5, (16, 24)), (2, 2, (8, 20))])
def test_identity_inflation_is_the_2d_model_frame_by_frame(streams, frames, size):
    flat = tiny_unet()
    video = VideoUNet(tiny_unet())
    x, text = torch.randn(streams, frames, 4, *size), torch.randn(streams, 7, 24)
    ours = video(x, 321, text)
    for s in range(streams):
        for f in range(frames):
            torch.testing.assert_close(
                ours[s, f], flat(x[s, f][None], 321, text[s][None]).sample[0], atol=2e-5, rtol=1e-4
            )


def test_joint_norm_of_one_frame_is_the_2d_model():
    x, text = torch.randn(1, 1, 4, 16, 16), torch.randn(1, 7, 24)
    torch.testing.assert_close(
        VideoUNet(tiny_unet())(x, 5, text, plan=PLAN)[0], tiny_unet()(x[0], 5, text).sample, atol=2e-5, rtol=1e-4
    )


def test_inflation_is_the_same_every_time_and_leaves_torch_s_own_randomness_alone():
    one, other = (VideoUNet(tiny_unet(seed)).trainable() for seed in (0, 1))
    temporal = [name for name in one if ".attn_temp." in name]
    assert temporal and all(torch.equal(one[name], other[name]) for name in temporal)
    flat, state = tiny_unet(), torch.get_rng_state()
    VideoUNet(flat)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("frames,size", [(1, (16, 16)), (5, (16, 16)), (4, (12, 20)), (3, (10, 18))])
@pytest.mark.parametrize("latent_prompt", [False, True])
def test_streams_do_not_touch_each_other(video_unet, frames, size, latent_prompt):
    x, text = torch.randn(2, frames, 4, *size), torch.randn(2, 7, 24)
    seats = torch.randn(2, 4, *size) if latent_prompt else None
    plan = AttentionPlan(FramePlan(("latent_prompt", "first", "previous")))
    both = video_unet(x, 100, text, seats, plan)
    assert both.shape == x.shape
    for s in range(2):
        alone = video_unet(x[s : s + 1], 100, text[s : s + 1], None if seats is None else seats[s : s + 1], plan)
        torch.testing.assert_close(both[s : s + 1], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("latent_prompt", [False, True])
def test_each_stream_may_have_its_own_timestep(video_unet, latent_prompt):
    x, text, timesteps = torch.randn(2, 3, 4, 16, 16), torch.randn(2, 7, 24), torch.tensor([900, 20])
    seats = torch.randn(2, 4, 16, 16) if latent_prompt else None
    both = video_unet(x, timesteps, text, seats, PLAN)
    for s in range(2):
        alone = video_unet(
            x[s : s + 1], int(timesteps[s]), text[s : s + 1], None if seats is None else seats[s : s + 1], PLAN
        )
        torch.testing.assert_close(both[s : s + 1], alone, atol=2e-5, rtol=1e-4)
    one = video_unet(x, torch.tensor(20), text, seats, PLAN)
    assert torch.equal(one, video_unet(x, 20, text, seats, PLAN)) and torch.equal(
        one, video_unet(x, torch.tensor([20, 20]), text, seats, PLAN)
    )
    with pytest.raises(LiveError, match=r"timestep: \(3,\) for 2 streams"):
        video_unet(x, torch.tensor([1, 2, 3]), text, seats, PLAN)


def test_temporal_attention_and_other_frames_matter(video_unet):
    x, text = torch.randn(1, 4, 4, 16, 16), torch.randn(1, 7, 24)
    out = video_unet(x, 100, text, plan=PLAN)
    assert not torch.allclose(
        out, video_unet(x, 100, text, plan=AttentionPlan(replace(PLAN.frame_plan, temporal=False))), atol=1e-3
    )
    assert not torch.allclose(out, video_unet(x, 100, text, plan=AttentionPlan(FramePlan(("self",)))), atol=1e-3)


def test_a_latent_prompt_that_no_frame_attends_to_counts_in_the_joint_norms_only_where_the_plan_says_so(video_unet):
    x, text, seats = torch.randn(1, 3, 4, 16, 16), torch.randn(1, 7, 24), torch.randn(2, 1, 4, 16, 16)

    def of(seat, norm):
        return video_unet(
            x, 100, text, seat, AttentionPlan(FramePlan(("first", "previous"), norm=norm, temporal=False))
        )

    without = of(None, "clip")
    for seat in seats:
        torch.testing.assert_close(of(seat, "clip"), without, atol=2e-5, rtol=1e-4)
        assert not torch.allclose(of(seat, "clip and latent prompt"), without, atol=1e-3)


def test_latent_prompt_is_seen_and_its_output_dropped(video_unet):
    x, text = torch.randn(1, 3, 4, 16, 16), torch.randn(1, 7, 24)
    plan = AttentionPlan(FramePlan(("latent_prompt", "first", "previous")))
    a, b = (video_unet(x, 100, text, torch.randn(1, 4, 16, 16), plan) for _ in range(2))
    assert a.shape == x.shape and not torch.allclose(a, b, atol=1e-3)


def test_frame_plan_rows():
    assert FramePlan(("first", "previous")).sources(3, False) == [[0, 0], [0, 0], [0, 1]]
    assert FramePlan(("latent_prompt", "first", "previous")).sources(3, True) == [
        [0, 1],
        [0, 1, 1],
        [0, 1, 1],
        [0, 1, 2],
    ]
    assert FramePlan(("middle",)).sources(4, False) == [[1]] * 4
    with pytest.raises(LiveError, match="sideways"):
        FramePlan(("sideways",))
    with pytest.raises(LiveError, match="norm: 'batch'; choose frame, clip"):
        FramePlan(("self",), norm="batch")


STEPS = {"-2": -2, "-1": -1, "+1": 1, "+3": 3}


@given(st.lists(st.sampled_from((*SLOTS, *STEPS)), min_size=1, max_size=4).map(tuple), st.integers(1, 9))
def test_frame_plans_read_frames_that_are_there(slots, frames):
    """Without a latent prompt: a row a frame, a slot's frames at its place, none before the first. With one: the same,
    one further on.
    """
    clip_slots = tuple(slot for slot in slots if slot != LATENT_PROMPT)
    if clip_slots:
        rows = FramePlan(slots).sources(frames, False)
        assert len(rows) == frames and all(0 <= j < frames for row in rows for j in row)
        assert {len(row) for row in rows} == {sum(frames if slot == "all" else 1 for slot in clip_slots)}
        for i, row in enumerate(rows):
            where = {
                "self": [i],
                "first": [0],
                "previous": [max(i - 1, 0)],
                "middle": [(frames - 1) // 2],
                "last": [frames - 1],
                "all": list(range(frames)),
                **{slot: [min(max(i + step, 0), frames - 1)] for slot, step in STEPS.items()},
            }
            assert row == sum((where[slot] for slot in clip_slots), [])
        shifted = [[1 + j for j in row] for row in rows]
    else:
        with pytest.raises(LiveError, match="needs a latent prompt"):
            FramePlan(slots).sources(frames, False)
        shifted = [[] for _ in range(frames)]
    seat, *seated = FramePlan(slots).sources(frames, True)
    assert seat == [0, 1] and [[j for j in row if j > 0] for row in seated] == shifted
    assert all(row.count(0) == slots.count(LATENT_PROMPT) for row in seated)


def test_overlay_is_taken_off_again(video_unet):
    before = {n: p.clone() for n, p in video_unet.named_parameters()}
    tuning = {n: p + 1 for n, p in video_unet.trainable().items()}
    with pytest.raises(RuntimeError, match="stop"), video_unet.overlay(tuning):
        assert not torch.equal(video_unet.trainable()[next(iter(tuning))], before["unet." + next(iter(tuning))])
        raise RuntimeError("stop")
    assert all(torch.equal(p, before[n]) for n, p in video_unet.named_parameters())
    with pytest.raises(LiveError, match="does not fit"), video_unet.overlay({"no.such": torch.zeros(1)}):
        pass


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(video_unet, dtype):
    x, text = torch.randn(1, 2, 4, 16, 16), torch.randn(1, 7, 24)
    full = video_unet(x, 100, text, plan=PLAN)
    half = video_unet.to(dtype)(x, 100, text, plan=PLAN)
    assert half.dtype == torch.float32
    assert (half - full).std() < 0.05 * full.std()


@pytest.mark.parametrize("latent_prompt", [False, True])
def test_out_of_memory_means_fewer_frames_at_a_time_and_the_same_answer(video_unet, monkeypatch, caplog, latent_prompt):
    """A device that cannot hold the gathered keys and values of more than three frames, nor a feed-forward
    of more than three rows.
    """
    from live_core import attention

    x = torch.randn(2, 5, 4, 16, 16)
    text = torch.randn(2, 7, 24)
    seats = torch.randn(2, 4, 16, 16) if latent_prompt else None
    plan = AttentionPlan(FramePlan(("latent_prompt", "first", "previous")), tap=attention.WordTap(0))
    expected, expected_maps = video_unet(x, 100, text, seats, plan), plan.tap.maps
    fused, most = torch.nn.functional.scaled_dot_product_attention, []

    def small(q, k, v):
        if k.shape[2] > q.shape[2] > 7 and len(q) > 3:
            raise torch.OutOfMemoryError("no room")
        return fused(q, k, v)

    def crowded(_module, inputs):
        most.append(len(inputs[0]))
        if most[-1] > 3:
            raise RuntimeError("CUDA error: out of memory")  # as kernels say it

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", small)
    hooks = [block.ff.register_forward_pre_hook(crowded) for block in video_unet._blocks]
    again = AttentionPlan(plan.frame_plan, tap=attention.WordTap(0))
    with one_run():
        torch.testing.assert_close(video_unet(x, 100, text, seats, again), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(again.tap.maps, expected_maps, atol=1e-6, rtol=1e-4)
        assert most[-1] <= 3 and "one stream after another and with 3 frames at a time" in caplog.text
        tries = len(most)
        video_unet(x, 100, text, seats, again)
        assert all(n <= 3 for n in most[tries:])  # remembered: no second failure
    monkeypatch.undo()
    for hook in hooks:
        hook.remove()
    assert torch.equal(video_unet(x, 100, text, seats, plan), expected)  # and forgotten when the run is over


@pytest.mark.parametrize(
    "error,tries",
    [(torch.OutOfMemoryError("no room"), 3), (RuntimeError("sizes do not match"), 1)],
    ids=["one frame", "another error"],
)
def test_what_less_memory_does_not_help_is_an_error(video_unet, monkeypatch, error, tries):
    from live_core import attention

    calls = []

    def never(*_):
        calls.append(1)
        raise error

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", never)
    with pytest.raises(type(error), match=str(error)):
        video_unet(torch.randn(1, 3, 4, 16, 16), 100, torch.randn(1, 7, 24))
    assert len(calls) == tries


def test_a_text_s_keys_and_values_are_made_once_for_all_frames(demo_model, request):
    """To the bits of those made frame by frame, as where every frame has a text of its own, or where weights learn."""
    rows: list[int] = []
    texts = torch.stack([demo_model.encode_text(text) for text in ("a red ball", "nothing", "a blue star at night")])
    layers = [layer for name, layer in demo_model.unet.named_modules() if name.endswith(("attn2.to_k", "attn2.to_v"))]
    for layer in layers:
        watch = layer.register_forward_hook(lambda _layer, given, _out: rows.append(len(given[0])))
        request.addfinalizer(watch.remove)
    x = torch.randn(3, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        once = demo_model.unet(x, 500, texts)
        assert set(rows) == {3} and len(rows) == len(layers)
        each = demo_model.unet(x, 500, texts[:, None].expand(-1, 4, -1, -1))
    learning = demo_model.unet(x, 500, texts)
    assert set(rows[len(layers) :]) == {12}
    assert torch.equal(once, each) and torch.equal(once, learning)
