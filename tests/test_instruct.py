"""Edits by instruction: what rides along, gather and swap, windows, masks, and what is refused."""

from dataclasses import replace

import pytest
import torch
from conftest import tiny_unet
from einops import rearrange

from live_core import LiveError
from live_core.attention import AttentionPlan
from live_core.change_map import change_mask
from live_core.frames import ALONE, FramePlan, GroupPlan
from live_core.instruct import CLIP_AT, instruct, texts_of
from live_core.instruct_settings import GATHER_AND_SWAP, INSTRUCT_PIX2PIX, Instruction, Search
from live_core.local import BOUNDARIES, ORIGINS, Local
from live_core.local_latents import weight_of_edit
from live_core.notes import gathered
from live_core.steering import Step
from live_core.streams import guided, needed
from live_core.video_unet import VideoUNet
from live_core.windows import windows_of

TEXT, STREAMS, TOKENS, WIDTH = "make the ball blue", 2, 5, 24


@pytest.fixture(scope="module")
def unet():
    return VideoUNet(tiny_unet()).requires_grad_(False)


@pytest.fixture(scope="module")
def frames():
    """(1, 4, 4, 16, 16), four key frames."""
    return torch.randn(1, 4, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def texts(count: int, alike: bool = False) -> torch.Tensor:
    """(1, count, L, d), one for each frame."""
    made = torch.randn(1, 1 if alike else count, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    return made.expand(1, count, -1, -1)


class Gathering:
    """Gathering as the paper tells it, a key frame after the other: each layer keeps its keys and values of those that
    went before, and the frame under way takes these in the place of its own. Queries, and what is done with them, are
    diffusers' stock layer's; `swaps` is for frames that take all that was kept and keep nothing."""

    def __init__(self, swaps: bool = False):
        self.keys, self.values, self.swaps = [], [], swaps

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        keys, values = torch.cat(self.keys or [k], 1), torch.cat(self.values or [v], 1)
        if not self.swaps:
            self.keys.append(k)
            self.values.append(v)
        q, keys, values = (rearrange(x, "b n (h c) -> b h n c", h=attn.heads) for x in (q, keys, values))
        scores = (q @ keys.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return attn.to_out[0](rearrange(scores @ values, "b h n c -> b n (h c)"))


def test_one_forward_under_the_causal_plan_is_gathering_frame_by_frame(unet, frames):
    """And swapping: two more frames, each by itself, with all that was gathered. Every frame has a text of its own, so
    cross-attention is gathered and swapped too."""
    others = torch.randn(1, 2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    clip, said = torch.cat([frames, others], 1), texts(6)
    ours = unet(clip, 481, said, plan=AttentionPlan(GroupPlan()))[0]

    plain = tiny_unet()
    layers = {name: Gathering() for name in plain.attn_processors}
    plain.set_attn_processor(dict(layers))
    for i in range(6):
        for layer in layers.values():
            layer.swaps = i >= 4
        theirs = plain(clip[:, i], 481, said[:, i]).sample[0]
        torch.testing.assert_close(ours[i], theirs, atol=1e-5, rtol=0)
    assert (ours - unet(clip, 481, said)[0]).abs().max() > 1e-2


def test_a_group_of_one_is_attention_to_the_first_frame(unet, frames):
    """The key frame rides along and is edited too, and both become the same."""
    text = texts(1)[0]
    grouped = unet(torch.cat([frames[:, :1], frames], 1), 481, text, plan=AttentionPlan(GroupPlan(size=1)))
    first = unet(frames, 481, text, plan=AttentionPlan(FramePlan(("first",), norm="frame", temporal=False)))
    torch.testing.assert_close(grouped[:, 1:], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(grouped[:, 0], grouped[:, 1], atol=1e-5, rtol=0)


def test_one_text_for_all_frames_swaps_for_itself(unet, frames):
    """Keys that are all alike, once or four times: the same attention. So it is left out where there is one text."""
    clip = torch.cat([frames, frames], 1)
    plan = AttentionPlan(GroupPlan())
    torch.testing.assert_close(
        unet(clip, 481, texts(8, alike=True), plan=plan), unet(clip, 481, texts(1)[0], plan=plan), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("at_once", [5, 3, 2, 1])
def test_a_group_in_less_memory_is_the_same_group(unet, frames, at_once):
    """Attention gathers keys and values of a few of ten frames at a time when memory runs out, and again."""
    clip, text = torch.cat([frames, frames.flip(1), frames[:, 1:3]], 1), texts(1)[0]
    plan = AttentionPlan(GroupPlan(size=3, own=True))
    whole = unet(clip, 481, text, plan=plan)
    shortages = iter(range([5, 3, 2, 1].index(at_once) + 1))

    def crowded(*_):
        if next(shortages, None) is not None:
            raise torch.OutOfMemoryError("no room")

    hook = unet.unet.register_forward_hook(crowded)
    try:
        with gathered() as notes:
            less = unet(clip, 481, text, plan=plan)
    finally:
        hook.remove()
    assert notes[-1] == f"memory ran out: the U-Net went on with {at_once} frame{'s' * (at_once > 1)} at a time"
    torch.testing.assert_close(less, whole, atol=1e-5, rtol=0)


def test_own_keys_may_be_added():
    assert GroupPlan(size=2).sources(4, False) == [[0], [0], [0, 1], [0, 1]]
    assert GroupPlan(size=3, own=True).sources(5, False) == [[0], [0], [0, 1], [0, 1, 2, 3], [0, 1, 2, 4]]
    assert GroupPlan().riders(24) == (0, 8, 15, 23) and GroupPlan(size=1).riders(9) == (0,)


def test_texts_of_each_frame_are_counted(unet, frames):
    with pytest.raises(LiveError, match="text: 3 texts for 4 frames"):
        unet(frames, 481, texts(3))


def test_streams_that_cancel_out_are_not_run():
    """Whatever the weights, guidance is the same without them."""
    generator = torch.Generator().manual_seed(0)
    noise = {name: torch.randn(3, generator=generator) for name in ("neither", "picture", "both")}
    for picture in (0.0, 1.0, 1.5):
        for words in (0.0, 1.0, 1.5, 7.5):
            chain = [("neither", 1.0), ("picture", picture), ("both", words)]
            torch.testing.assert_close(guided(noise, needed(chain)), guided(noise, chain))
    assert needed([("neither", 1.0), ("picture", 1.0), ("both", 7.5)]) == [("picture", 1.0), ("both", 7.5)]


# --------------------------------------------------------------------------------------------------------- whole edits
@pytest.fixture(scope="module")
def seven(instruct_model):
    """(7, 4, 8, 8)."""
    from chain import frames

    clip = instruct_model.encode_frames(frames())
    generator = torch.Generator().manual_seed(0)
    return torch.cat([clip[:1] + 0.3 * torch.randn(1, *clip.shape[1:], generator=generator) for _ in range(7)])


def edited(model, clip, method=GATHER_AND_SWAP, **options) -> torch.Tensor:
    return instruct(model, clip, Instruction(TEXT, steps=2, seed=3), method, **options)


def test_windows_of_any_size_give_the_same_frames(instruct_model, seven):
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    for local in (None, Local(mask)):
        whole = edited(instruct_model, seven, window=7, local=local)
        for size in (2, 3, 5):
            torch.testing.assert_close(
                edited(instruct_model, seven, window=size, local=local), whole, atol=1e-4, rtol=1e-4
            )
    assert [list(window.frames) for window in windows_of(7, 3, [ALONE])] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_frame_depends_on_the_key_frames_and_itself(instruct_model, seven):
    """Not on the others, nor, frame by frame, on any."""
    other = seven.clone()
    other[1] += 1
    for method, size in ((replace(GATHER_AND_SWAP, frame_plan=GroupPlan(size=3)), 7), (INSTRUCT_PIX2PIX, 4)):
        a, b = (edited(instruct_model, clip, method, window=size) for clip in (seven, other))
        changed = [i for i in range(7) if (a[i] - b[i]).abs().max() > 1e-3]
        assert changed == [1]
    other = seven.clone()
    other[3] += 1  # the middle key frame
    a, b = (
        edited(instruct_model, clip, replace(GATHER_AND_SWAP, frame_plan=GroupPlan(size=3))) for clip in (seven, other)
    )
    assert all((a[i] - b[i]).abs().max() > 1e-3 for i in range(7))


def test_the_swap_ends_where_it_is_told_to(instruct_model, seven):
    """At none of the steps it is the picture model, frame by frame; at some it is neither."""
    alone = edited(instruct_model, seven, INSTRUCT_PIX2PIX)
    never, half, whole = (
        edited(instruct_model, seven, replace(GATHER_AND_SWAP, swap_until=until)) for until in (0, 0.5, 1)
    )
    torch.testing.assert_close(never, alone, atol=1e-4, rtol=1e-4)
    assert min((half - never).abs().max(), (half - whole).abs().max()) > 1e-3


def test_frames_start_alike(instruct_model, seven):
    """Equal frames become equal ones, and the seed says what."""
    same = seven[:1].expand(4, -1, -1, -1)
    a = edited(instruct_model, same, INSTRUCT_PIX2PIX)
    torch.testing.assert_close(a[0], a[3], atol=1e-5, rtol=0)
    assert torch.equal(a, edited(instruct_model, same, INSTRUCT_PIX2PIX))
    other = instruct(instruct_model, same, Instruction(TEXT, steps=2, seed=4), INSTRUCT_PIX2PIX)
    assert (a - other).abs().max() > 0.1


def test_texts_of_one_s_own_stand_for_the_instruction(instruct_model, seven):
    text = instruct_model.encode_text(TEXT)[None]
    told = edited(instruct_model, seven, INSTRUCT_PIX2PIX)
    given = instruct(
        instruct_model, seven, Instruction("", steps=2, seed=3), INSTRUCT_PIX2PIX, texts=text.expand(7, -1, -1)
    )
    torch.testing.assert_close(given, told, atol=1e-4, rtol=1e-4)
    with gathered() as notes:
        edited(instruct_model, seven[:1], INSTRUCT_PIX2PIX, texts=text)
    assert notes == [f"instruction: {TEXT!r} is not read where texts are given; leave one of them out"]


def test_the_network_never_sees_more_than_a_window_and_the_key_frames(instruct_model, seven, monkeypatch):
    """So memory is that of one window, whatever the clip's length."""
    seen, forward = [], VideoUNet.forward
    monkeypatch.setattr(
        VideoUNet,
        "forward",
        lambda self, x, *more, **options: seen.append(x.shape[1]) or forward(self, x, *more, **options),
    )
    long = torch.cat([seven] * 3)
    edited(instruct_model, long, window=3, local=Local(torch.ones(1, 64, 64)))
    assert set(seen) == {7} and len(seen) == 7 * (2 + 2)  # windows, steps of the edit and of the inversion


def test_the_preview_counts_over_the_whole_clip(instruct_model, seven):
    seen = []
    edited(instruct_model, seven, window=3, callback=lambda *at: seen.append((*at[:2], len(at[2]))))
    assert seen == [(1, 6, 3), (2, 6, 3), (3, 6, 3), (4, 6, 3), (5, 6, 1), (6, 6, 1)]


# --------------------------------------------------------------------------------------------- local latent adaptation
def test_boundaries():
    """The edit's weight inside, and outside, the mask after each of four steps; in the end they agree."""
    mask = torch.tensor([1.0, 0.0])[None, None]
    weights = {
        boundary: [weight_of_edit(mask, boundary, Step(i, 4, 0)).flatten().tolist() for i in range(4)]
        for boundary in BOUNDARIES
    }
    assert weights == {
        "rising": [[0.25, 0], [0.5, 0], [0.75, 0], [1, 0]],
        "reversed": [[1, 0.75], [1, 0.5], [1, 0.25], [1, 0]],
        "none": [[1, 0]] * 4,
    }


def told(notes: list[str]) -> list[str]:
    """But for that this model, of another's words, was not taught those of an instruction."""
    assert notes[0].startswith("instruction: this model was taught few words, and reads 'make' letter by letter")
    return notes[1:]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_outside_the_mask_the_clip_stays(instruct_model, seven, origin, boundary):
    """To the last bit; inside it does not."""
    mask = torch.zeros(7, 64, 64)
    mask[:, :, 32:] = 1
    mask[2] = 0
    with gathered() as notes:
        ours = edited(instruct_model, seven, local=Local(mask, boundary, origin, grow=0, feather=0))
    assert torch.equal(ours[:, :, :, :4], seven[:, :, :, :4]) and torch.equal(ours[2], seven[2])
    assert (ours - seven)[[0, 1, 3], :, :, 4:].abs().amax((1, 2, 3)).min() > 0.05
    assert told(notes) == ["mask: it is empty in frames 3 of 7, which stay as they are"]


def test_a_full_mask_without_boundary_is_no_mask(instruct_model, seven):
    for boundary in ("none", "reversed"):
        full = Local(torch.ones(1, 64, 64), boundary, "noised")
        torch.testing.assert_close(
            edited(instruct_model, seven, local=full), edited(instruct_model, seven), atol=1e-4, rtol=1e-4
        )


def test_the_clip_is_inverted_by_the_steps_of_the_edit(instruct_model, seven):
    """Each step back, by what the network sees where the inversion came from, leads there: without words, unguided,
    with the clip's own picture. Frames are alone, so a window's are the clip's."""
    from live_core.streams import Stream, predict

    model, clip, steps = instruct_model, seven[:2], 4
    at = CLIP_AT["inverted"](model, clip, torch.zeros_like(clip), steps)
    stream = Stream("clip", "clip", model.encode_text(""), picture=clip / model.vae.config.scaling_factor)
    for i, t in enumerate(model.schedule.timesteps(steps)):
        noise = predict(model.unet, [stream], {"clip": at(i + 1)}, t)["clip"]
        torch.testing.assert_close(model.schedule.denoise(at(i), noise, t, steps), at(i + 1), atol=1e-4, rtol=1e-4)
    assert at(steps) is clip
    alone = CLIP_AT["inverted"](model, clip[1:], torch.zeros_like(clip[1:]), steps)
    torch.testing.assert_close(alone(0), at(0)[1:], atol=1e-4, rtol=1e-4)


def test_masks_are_grown_and_feathered_in_pixels():
    mask = torch.zeros(1, 64, 64)
    mask[:, 24:40, 24:40] = 1
    cells = Local(mask, grow=0, feather=0).on_latents(3, (64, 64), (8, 8))
    assert cells.shape == (3, 8, 8) and cells.sum() == 3 * 4
    assert Local(mask, grow=8, feather=0).on_latents(1, (64, 64), (8, 8)).sum() == 16
    soft = Local(mask, grow=0, feather=4).on_latents(1, (64, 64), (8, 8))
    assert 0 < soft[0, 2, 3] < 1 and soft[0, 0, 0] == 0


def test_a_mask_by_instruction_is_where_predictions_differ(instruct_model, seven, monkeypatch):
    """All frames have one scale: one that the instruction does not concern is empty."""
    with gathered() as notes:
        mask = change_mask(instruct_model, seven[:3], Instruction(TEXT), Search(0.5, draws=2))
    assert mask.shape == (3, 64, 64) and set(mask.unique().tolist()) == {0, 1} and not told(notes)
    assert torch.equal(mask, change_mask(instruct_model, seven[:3], Instruction(TEXT), Search(0.5, draws=2)))
    smaller = change_mask(instruct_model, seven[:3], Instruction(TEXT), Search(0.8, draws=2))
    assert (smaller <= mask).all() and smaller.sum() < mask.sum()
    with gathered() as notes:
        change_mask(instruct_model, seven[:1], Instruction(TEXT), Search(0, draws=1))
    assert told(notes) == ["threshold: 0 finds the whole picture; raise it, or draw a mask"]


def test_conditioning_is_one_text_or_one_for_each_frame():
    """As ComfyUI has it, in one entry or in several."""
    a, b = torch.randn(2, 3, 5, 4)
    assert torch.equal(texts_of([(a, {"pooled_output": None})]), a)
    with gathered() as notes:
        assert torch.equal(texts_of([(a, {}), (b, {"mask": 1})]), torch.cat([a, b]))
    assert notes == ["conditioning: mask is not read, only the texts; the clip is the picture"]
    for wrong in ([(a, {}), (b[:, 1:], {})], [(a[0], {})], [], ["text"], [(None, {})]):
        with pytest.raises(LiveError, match="^conditioning: "):
            texts_of(wrong)
