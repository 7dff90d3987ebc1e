"""TokenFlow against its passes written out in plain torch over diffusers' own U-Net, and its limits."""

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT

from demo.cases import CASES
from live_core import LiveError, tokenflow
from live_core.around import as_it_is
from live_core.attention import AttentionPlan
from live_core.editing import Edit, edit
from live_core.frames import ALONE, FramePlan
from live_core.inspect import show_self_attention
from live_core.inversion import invert
from live_core.memory import one_run
from live_core.methods import DDIM, TOKENFLOW
from live_core.notes import gathered
from live_core.tokenflow import key_frames, key_weights, nearest

CASE = CASES["ball-to-star"]
CHANGE = Edit("a blue star moving on the meadow")
STEPS = 4
SEGMENTS_OF_2 = replace(TOKENFLOW, segment_length=2)


@pytest.fixture(scope="module")
def clip(demo_model):
    """The middle quarter of five frames: two segments of two, and one of one."""
    return demo_model.encode_frames(torch.from_numpy(CASE.clip.frames()[:5, 32:96, 32:96]).float() / 255)


@pytest.fixture(scope="module")
def inversion(demo_model, clip):
    return invert(demo_model, clip, CASE.prompt, TOKENFLOW, STEPS)


class Written:
    """TokenFlow's two passes on a plain U-Net, token by token. Rows: the source's frames, then the unconditional and
    the conditional ones."""

    def __init__(self, unet, steps: int, length: int, self_ratio: float, feature_ratio: float):
        self.unet, self.steps, self.length = unet, steps, length
        self.self_ratio, self.feature_ratio = self_ratio, feature_ratio
        self.step, self.keys_alone = 0, True
        self.tokens, self.outputs = {}, {}
        for name, module in unet.named_modules():
            if name.endswith(".attn1"):
                module.forward = lambda hidden, *_, name=name, attn=module, **__: self.attention(name, attn, hidden)
        unet.up_blocks[1].resnets[1].conv2.register_forward_hook(self.features)

    def features(self, _conv, _inputs, out):
        source = out.chunk(3)[0]
        return torch.cat([source] * 3) if self.step < self.feature_ratio * self.steps else out

    def attention(self, name, attn, hidden):
        streams = hidden.chunk(3)
        if self.keys_alone:
            self.tokens[name] = streams[0]
            self.outputs[name] = [self.together(name, attn, row, streams) for row in range(3)]
            return torch.cat(self.outputs[name])
        return torch.cat([torch.stack(self.flowed(name, streams[0], of_keys)) for of_keys in self.outputs[name]])

    def together(self, name, attn, row, streams):
        """Explicit maps: a frame of the source sees itself, one of the edit all key frames."""
        decoder, block, _, layer = (*name.split("."), "")[:4]
        injected = decoder == "up_blocks" and (int(block) > 1 or (int(block) == 1 and int(layer) > 0))
        early = self.step < self.self_ratio * self.steps
        queries_of = streams[0] if injected and early else streams[row]
        out = []
        for i in range(len(streams[row])):
            seen = [i] if row == 0 else range(len(streams[row]))
            q, k, v = (
                x.unflatten(-1, (attn.heads, -1)).transpose(0, 1)
                for x in (
                    attn.to_q(queries_of[i]),
                    attn.to_k(torch.cat([queries_of[j] for j in seen])),
                    attn.to_v(torch.cat([streams[row][j] for j in seen])),
                )
            )
            attended = (q @ k.mT * attn.scale).softmax(-1) @ v
            out.append(attn.to_out[0](attended.transpose(0, 1).flatten(1)))
        return torch.stack(out)

    def flowed(self, name, source, of_keys):
        """What each frame takes from the key frames' outputs (k, n, d)."""
        frames = []
        for i, tokens in enumerate(source):
            segment = i // self.length
            taken = []
            for key in (segment, segment - 1)[: 1 + (segment > 0)]:
                similar = [F.cosine_similarity(token[None], self.tokens[name][key]).argmax() for token in tokens]
                taken.append(of_keys[key][torch.stack(similar)])
            if segment:
                own = segment * self.length + min(self.length, len(source) - segment * self.length) // 2
                before = (segment - 1) * self.length + self.length // 2
                weight = torch.tensor(abs(i - before) / (abs(i - own) + abs(i - before))).sigmoid()
                taken = [weight * taken[0] + (1 - weight) * taken[1]]
            frames.append(taken[0])
        return frames

    def run(self, source, x, text, t, keys, step):
        """The noise of the edit's streams, (2, f, c, h, w)."""
        self.step = step
        for self.keys_alone, frames in ((True, keys), (False, list(range(len(x))))):
            latents = torch.cat([source[frames], x[frames], x[frames]])
            noise = self.unet(latents, t, text.repeat_interleave(len(frames), 0)).sample
        return noise.unflatten(0, (3, -1))[1:]


@pytest.mark.parametrize(
    "length,self_ratio,feature_ratio", [(2, 0.5, 0.75), (3, 0.0, 0.0), (8, 1.0, 0.0), (1, 0.0, 1.0)]
)
def test_an_edit_is_the_two_passes_written_out(demo_model, clip, inversion, length, self_ratio, feature_ratio):
    from diffusers import UNet2DConditionModel

    method = replace(TOKENFLOW, segment_length=length, self_ratio=self_ratio, feature_ratio=feature_ratio)
    unet = UNet2DConditionModel.from_pretrained(ROOT / "demo" / "model" / "unet").eval().requires_grad_(False)
    written = Written(unet, STEPS, length, self_ratio, feature_ratio)
    text = torch.stack([demo_model.encode_text(prompt) for prompt in (CASE.prompt, "", CHANGE.prompt)])
    generator, x = torch.Generator().manual_seed(method.key_frame_seed), inversion.at(0)
    for i, t in enumerate(demo_model.schedule.timesteps(STEPS)):
        keys = key_frames(len(clip), length, generator)
        without, told = written.run(inversion.at(i), x, text, t, keys, i)
        x = demo_model.schedule.denoise(x, without + method.guidance_scale * (told - without), t, STEPS)
    torch.testing.assert_close(edit(demo_model, inversion, CHANGE, method).latents, x, atol=1e-3, rtol=0)


def test_where_every_frame_is_a_key_frame_of_its_own_all_see_all(demo_model, clip, inversion, monkeypatch):
    """Without injection, and without the part that the published code takes from the segment before: the edit's frames
    with the keys and values of all frames."""
    monkeypatch.setattr(tokenflow, "key_weights", lambda frames, _length: [{i: 1.0} for i in range(frames)])
    method = replace(TOKENFLOW, segment_length=1, self_ratio=0.0, feature_ratio=0.0)
    extended = replace(DDIM, frame_plan=replace(ALONE, slots=("all",)))
    torch.testing.assert_close(
        edit(demo_model, inversion, CHANGE, method).latents,
        edit(demo_model, replace(inversion, method=extended), CHANGE, extended).latents,
        atol=1e-3,
        rtol=0,
    )


@pytest.mark.parametrize("at_once", [2**24, 70, 1])
def test_the_nearest_token_is_that_of_greatest_cosine(monkeypatch, at_once):
    monkeypatch.setattr(tokenflow, "SIMILARITIES_AT_ONCE", at_once)
    torch.manual_seed(0)
    tokens, others = torch.randn(23, 8), torch.randn(17, 8) * torch.rand(17, 1).mul(9).exp()
    slow = [max(range(17), key=lambda j: float(F.cosine_similarity(token, others[j], dim=0))) for token in tokens]
    assert nearest(tokens, others).tolist() == slow


@pytest.mark.parametrize("frames,length", [(40, 8), (9, 4), (3, 8), (5, 1)])
def test_each_segment_has_one_key_frame_and_each_frame_is_drawn(frames, length):
    generator = torch.Generator().manual_seed(0)
    drawn = [key_frames(frames, length, generator) for _ in range(400)]
    assert all([key // length for key in keys] == list(range(-(-frames // length))) for keys in drawn)
    assert set(Counter(key for keys in drawn for key in keys)) == set(range(frames))
    assert drawn[:9] == [key_frames(frames, length, g) for g in [torch.Generator().manual_seed(0)] for _ in range(9)]


def test_weights_are_the_published_ones():
    """Frames 8 to 15 of segments of eight: middles 12 and 4."""
    weights = key_weights(20, 8)
    assert weights[:8] == [{0: 1.0}] * 8
    for i in range(8, 16):
        w = torch.tensor((i - 4) / (abs(i - 12) + i - 4)).sigmoid().item()
        assert weights[i] == pytest.approx({1: w, 0: 1 - w}, abs=1e-6)
    assert weights[18] == pytest.approx({2: torch.tensor(1.0).sigmoid().item(), 1: torch.tensor(-1.0).sigmoid().item()})


def test_frames_of_a_clip_that_stands_still_come_out_alike(demo_model, clip):
    still = clip[:1].repeat(5, 1, 1, 1)
    frames = edit(demo_model, invert(demo_model, still, CASE.prompt, SEGMENTS_OF_2, STEPS), CHANGE).latents
    torch.testing.assert_close(frames, frames[:1].expand_as(frames), atol=1e-3, rtol=0)
    assert (frames - still).abs().max() > 0.5


def test_one_seed_gives_one_edit_and_another_another(demo_model, inversion):
    one, again, other = (
        edit(demo_model, inversion, CHANGE, replace(SEGMENTS_OF_2, key_frame_seed=seed)).latents for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and (one - other).abs().max() > 0.05


def test_what_is_put_around_layers_and_changes_nothing_changes_no_bit(video_unet):
    x, text, plan = torch.randn(2, 3, 4, 16, 16), torch.randn(2, 7, 24), AttentionPlan(FramePlan(("first", "previous")))
    met: set[str] = set()

    def count(name, inputs, output):
        met.add(name)
        return as_it_is(name, inputs, output)

    layers = ("self", "cross", "temporal", tokenflow.FEATURES)
    with torch.no_grad():
        plain = video_unet(x, 100, text, plan=plan)
        around = video_unet(x, 100, text, plan=replace(plan, around=dict.fromkeys(layers, count)))
    assert torch.equal(plain, around) and tokenflow.FEATURES in met and len(met) > 3


def test_injection_reaches_the_blocks_it_names(demo_model):
    names = [name for name, _ in demo_model.unet.unet.named_modules()]
    assert all(any(name.startswith(block) for name in names) for block in (*tokenflow.ATTENTION[:1], "up_blocks.2"))
    assert f"{tokenflow.FEATURES}.conv2" in names


def test_too_little_memory_gives_the_same_edit(demo_model, inversion, monkeypatch):
    expected = edit(demo_model, inversion, CHANGE, SEGMENTS_OF_2).latents
    room = {"left": 3}  # the key frames' second pass gets through some layers, then runs out

    def small(tokens, others):
        room["left"] -= 1
        if room["left"] == 0:
            raise torch.OutOfMemoryError("no room")
        return nearest(tokens, others)

    monkeypatch.setattr(tokenflow, "nearest", small)
    with one_run(), gathered() as notes:
        again = edit(demo_model, inversion, CHANGE, SEGMENTS_OF_2).latents
    torch.testing.assert_close(again, expected, atol=1e-3, rtol=0)
    assert any("the U-Net went on with 3 frames at a time" in note for note in notes)


def test_a_path_for_source_ends_at_the_clip(demo_model, clip, inversion):
    """Where a mask allows nothing, the edit is the source: the inversion's own latents, whatever its guidance."""
    nothing = torch.zeros(1, 64, 64)
    for method in (SEGMENTS_OF_2, replace(DDIM, source="path")):
        assert torch.equal(edit(demo_model, inversion, CHANGE, method, mask=nothing).latents, clip)


def test_what_it_cannot_do_is_refused(demo_model, clip, inversion):
    with pytest.raises(LiveError, match="attention: 'ram', but the source of 'tokenflow' runs beside its edit"):
        invert(demo_model, clip, CASE.prompt, TOKENFLOW, 2, "ram")
    for changed, says in (
        ({"segment_length": 0}, "segment_length: 0; give a whole number of 1 or more"),
        ({"key_frame_seed": -1}, "key_frame_seed: -1"),
        ({"feature_ratio": 1.5}, "feature_ratio: 1.5"),
        ({"segment_length": None}, "feature_ratio: 0.8, but there are no segments"),
        ({"source": "reconstruction"}, "segment_length: 8, but key frames are edited apart"),
        ({"frame_plan": FramePlan(("first",))}, "segment_length: 8, but key frames are edited apart"),
        ({"self_blend_threshold": 0.3}, "segment_length: 8, but key frames are edited apart"),
    ):
        with pytest.raises(LiveError, match=re.escape(says)):
            replace(TOKENFLOW, **changed)
    records = edit(demo_model, inversion, CHANGE).records
    with pytest.raises(LiveError, match="'self-attention' of side 'edit' was not computed, since .* 'tokenflow'"):
        show_self_attention(records, torch.zeros(5, 64, 64, 3))
