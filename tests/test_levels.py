"""The same layers of Stable Diffusion at every size: which ones word maps are read from and attention goes into."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from live_core.attention import AttentionPlan, Record, SelfInjection, WordInjection
from live_core.change import Edit
from live_core.editing import edit
from live_core.inversion import invert
from live_core.methods import BLENDED_LATENT, FATEZERO_ATTRIBUTE, LIVE, METHODS, PROMPT_TO_PROMPT
from live_core.taps import WordTap
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


class Store(dict):
    """Keeps a source's attention, and counts by the layer's kind how often it is read."""

    def __init__(self):
        self.count = Counter()

    def write(self, key: str, value: torch.Tensor) -> None:
        self[key] = value

    def read(self, key: str) -> torch.Tensor:
        if not key.startswith("text/"):
            self.count[key.rpartition("/")[2]] += 1
        return self[key]


class Tap(WordTap):
    count = 0

    def record(self, before: torch.Tensor, acted: torch.Tensor) -> None:
        self.count += 1
        super().record(before, acted)


def acted(unet: VideoUNet, method, height: int, width: int) -> dict[str, int]:
    """How often a layer of each kind reads the source's attention, and how many give maps, "tap": in one forward as an
    edit by `method` has it, from a store, every injection of the method open.
    """
    store, tap = Store(), Tap(unet.map_level)
    cross, own = unet.level_within(method.cross_max_tokens), unet.level_within(method.self_max_tokens)
    with torch.device("meta"):
        words = (WordInjection(0, None, torch.zeros(7, 7), torch.zeros(7), cross),) if method.cross_ratio else ()
        selves = (SelfInjection(0, None, level=own),) if method.self_ratio and method.self_target != "temporal" else ()
        for plan in (
            AttentionPlan(record=Record(store)),
            AttentionPlan(words=words, selves=selves, tap=tap, store=store),
        ):
            unet(torch.zeros(1, 1, 4, height // 8, width // 8), 5, torch.zeros(1, 7, 24), plan=plan)
    return {**store.count, "tap": tap.count}


@pytest.mark.parametrize("height,width", SIZES)
def test_word_maps_are_of_the_same_five_layers_at_every_size(meta, height, width):
    assert acted(meta, BLENDED_LATENT, height, width) == {"tap": 5} and meta.map_level == 2
    assert meta.map_size(height // 8, width // 8) == (-(-height // 32), -(-width // 32))


@pytest.mark.parametrize("height,width", SIZES)
@pytest.mark.parametrize(
    "method,cross,own",
    [(LIVE, 16, 11), (FATEZERO_ATTRIBUTE, 11, 11), (PROMPT_TO_PROMPT, 16, 6)],
    ids=lambda x: getattr(x, "name", x),
)
def test_attention_is_injected_into_the_same_layers_at_every_size(meta, height, width, method, cross, own):
    """Papers' limits count tokens at 512x512: 1024 leaves out five of 16 layers, 256 ten."""
    assert acted(meta, method, height, width) == {"tap": 5, "cross": cross, "self": own}


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.name)
def test_no_method_depends_on_the_size(meta, method):
    counts = [acted(meta, method, height, width) for height, width in (SIZES[0], SIZES[3], SIZES[-1])]
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
def test_an_edit_at_a_size_whose_levels_halve_unevenly(demo_model, monkeypatch, method):
    """9 x 12 cells: 5 x 6, 3 x 3 and 2 x 2, which masks of queries have to fit. Source and edit are in one batch, or
    the source runs first.
    """
    model = replace(demo_model, unet=VideoUNet(sd_shaped(text_width=128).eval()).requires_grad_(False))
    clip = torch.randn(2, 4, 9, 12)
    inversion = invert(model, clip, "a red ball moving on the meadow", method, 2)
    taps, record = [], WordTap.record
    monkeypatch.setattr(WordTap, "record", lambda tap, *maps: taps.append(tap) or record(tap, *maps))
    result = edit(
        model,
        inversion,
        Edit("a blue ball moving on the meadow"),
        replace(method, unconditional_latent_prompt="trained", self_ratio=1.0),
    )
    assert result.latents.isfinite().all() and result.records.map_size == (3, 3)
    steps = len(range(2)) * (2 if method.source == "inversion" else 1)
    assert len(taps) == 5 * steps
