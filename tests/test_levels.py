"""The same layers of Stable Diffusion at every size: which ones word maps are read from and attention goes into."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from live_core.attention import AttentionPlan, SelfInjection, VideoAttention, WordInjection, WordTap
from live_core.change import Edit
from live_core.editing import edit
from live_core.inversion import invert
from live_core.methods import BLENDED_LATENT, FATEZERO_ATTRIBUTE, LIVE, METHODS, PROMPT_TO_PROMPT
from live_core.video_unet import VideoUNet

SIZES = [
    (512, 512),
    (768, 768),
    (432, 768),
    (768, 432),
    (576, 1024),
    (1024, 576),
    (512, 736),
    (736, 512),
    (256, 256),
    (256, 384),
]


def sd_shaped(sample_size: int | None = 64, text_width: int = 24):
    """Stable Diffusion's blocks, narrow: 16 transformer blocks, five on each of three levels and one in the middle."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=sample_size,
        block_out_channels=(8, 16, 32, 32),
        cross_attention_dim=text_width,
        attention_head_dim=2,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )


@pytest.fixture(scope="module")
def meta():
    """Shapes alone: what a forward does, without its arithmetic."""
    with torch.device("meta"):
        return VideoUNet(sd_shaped()).requires_grad_(False)


@pytest.fixture
def acted(monkeypatch):
    """How often a layer of each kind read another stream's attention, and how many gave maps, "tap"."""
    count = Counter()
    source, record = VideoAttention._source, WordTap.record

    def counted_source(self, *args):
        count[self.kind] += 1
        return source(self, *args)

    def counted_record(self, *maps):
        count["tap"] += 1
        record(self, *maps)

    monkeypatch.setattr(VideoAttention, "_source", counted_source)
    monkeypatch.setattr(WordTap, "record", counted_record)
    return count


def forward(unet: VideoUNet, method, height: int, width: int) -> None:
    """One forward as an edit by `method` has it, source beside edit, every injection of the method open."""
    cross, own = unet.level_within(method.cross_max_tokens), unet.level_within(method.self_max_tokens)
    with torch.device("meta"):
        words = (WordInjection(1, 0, torch.zeros(7, 7), torch.zeros(7), cross),) if method.cross_ratio else ()
        selves = (SelfInjection(1, 0, level=own),) if method.self_ratio and method.self_target != "temporal" else ()
        plan = AttentionPlan(words=words, selves=selves, tap=WordTap(unet.map_level))
        unet(torch.zeros(2, 1, 4, height // 8, width // 8), 5, torch.zeros(2, 7, 24), plan=plan)


@pytest.mark.parametrize("height,width", SIZES)
def test_word_maps_are_of_the_same_five_layers_at_every_size(meta, acted, height, width):
    forward(meta, BLENDED_LATENT, height, width)
    assert acted == {"tap": 5} and meta.map_level == 2
    assert meta.map_size(height // 8, width // 8) == (-(-height // 32), -(-width // 32))


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize(
    "method,cross,own",
    [(LIVE, 16, 11), (FATEZERO_ATTRIBUTE, 11, 11), (PROMPT_TO_PROMPT, 16, 6)],
    ids=lambda x: getattr(x, "name", x),
)
def test_attention_is_injected_into_the_same_layers_at_every_size(meta, acted, height, width, method, cross, own):
    """Papers' limits count tokens at 512x512: 1024 leaves out five of 16 layers, 256 ten."""
    forward(meta, method, height, width)
    assert acted == {"tap": 5, "cross": cross, "self": own}


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_no_method_depends_on_the_size(meta, acted, method):
    counts = []
    for height, width in (SIZES[0], SIZES[3], SIZES[-1]):
        acted.clear()
        forward(meta, method, height, width)
        counts.append(dict(acted))
    assert all(count == counts[0] for count in counts)


@pytest.mark.parametrize(
    "sample_size,map_level,limits",
    [
        (None, 2, (0, 1, 2, 4)),
        (64, 2, (0, 1, 2, 4)),
        (96, 2, (0, 1, 2, 4)),
        (32, 1, (0, 0, 1, 3)),
        ((64, 48), 2, (0, 1, 2, 4)),
        (24, 0, (0, 0, 1, 2)),
        (16, 0, (0, 0, 0, 2)),
    ],
)
def test_levels_are_counted_at_the_native_size(sample_size, map_level, limits):
    """Stable Diffusion 2.x, 96 cells at 768x768, has the levels that it has at 512x512."""
    with torch.device("meta"):
        unet = VideoUNet(sd_shaped(sample_size))
    assert unet.map_level == map_level
    assert tuple(unet.level_within(tokens) for tokens in (None, 1024, 256, 63)) == limits


def test_every_layer_knows_its_level(meta):
    levels = {
        processor.name.split(".attentions")[0]: processor.level for processor in meta.unet.attn_processors.values()
    }
    assert levels == {
        "down_blocks.0": 0,
        "down_blocks.1": 1,
        "down_blocks.2": 2,
        "mid_block": 3,
        "up_blocks.1": 2,
        "up_blocks.2": 1,
        "up_blocks.3": 0,
    }


@pytest.mark.parametrize(
    "method",
    [LIVE, FATEZERO_ATTRIBUTE, replace(FATEZERO_ATTRIBUTE, self_blend_threshold=0.3)],
    ids=["live", "fatezero", "fused"],
)
def test_an_edit_at_a_size_whose_levels_halve_unevenly(demo_model, acted, method):
    """9 x 12 cells: 5 x 6, 3 x 3 and 2 x 2, which masks of queries have to fit. Source and edit are in one batch, or
    the source runs first.
    """
    model = replace(demo_model, unet=VideoUNet(sd_shaped(text_width=128).eval()).requires_grad_(False))
    clip = torch.randn(2, 4, 9, 12)
    inversion = invert(model, clip, "a red ball moving on the meadow", method, 2)
    acted.clear()
    result = edit(
        model,
        inversion,
        Edit("a blue ball moving on the meadow"),
        replace(method, unconditional_latent_prompt="trained", self_ratio=1.0),
    )
    assert result.latents.isfinite().all() and result.records.map_size == (3, 3)
    steps = len(range(2)) * (2 if method.source == "inversion" else 1)
    assert acted["tap"] == 5 * steps
