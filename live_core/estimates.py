"""How much memory the U-Net will take, before it takes any: counted layer by layer from what each makes and keeps.

What is counted is that of the layers as they are written here and in diffusers, frames joined in norms, attention
fused, so that its maps are never there. The U-Net's weights are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from .economy import Economy
from .frames import FramePlan

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@dataclass(frozen=True)
class Work:
    """What is asked of a U-Net at a time: `streams` of `frames`, beside each a latent prompt if there is one, latents
    of `size` (height, width), whose numbers take `bytes` each, seeing one another as `frame_plan` has it."""

    streams: int
    frames: int
    latent_prompt: bool
    size: tuple[int, int]
    bytes: int
    frame_plan: FramePlan
    injected: int = 0  # `AttentionPlan.injected`

    @property
    def seen(self) -> int:
        """How many frames the U-Net sees of a stream."""
        return self.frames + self.latent_prompt


@dataclass(frozen=True)
class Layer:
    """One layer of the network at one frame: from `before` channels to `after`, at `places`. `waiting`: numbers that
    wait beside it for the way up. `reads`: how many frames its self-attention reads on the average; 0 for a ResNet
    block, which has none."""

    before: int
    after: int
    places: int
    waiting: int
    reads: float = 0.0

    @property
    def kept(self) -> float:
        """Numbers that its backward pass reads. Of a ResNet block: the inputs of two norms, activations and
        convolutions, and of its shortcut. Of a transformer block: inputs of the norm and the projections around it (3),
        of three layer norms (3) and two attentions (2), these attentions' queries and results (4), the keys and values
        that each frame has gathered, the gated feed-forward (12), and temporal attention (7)."""
        if self.reads:
            return (31 + 2 * self.reads) * self.after * self.places
        shortcut = self.before if self.before != self.after else 0
        return (3 * self.before + 3 * self.after + shortcut) * self.places

    @property
    def entered(self) -> float:
        """What stays of it where the backward pass computes it again: what goes in; for a transformer block also what
        the norm and the projections around it read."""
        return (4 * self.after if self.reads else self.before) * self.places

    def passing(self, part: float) -> float:
        """Numbers that it has at a time without a backward pass, if it gathers keys and values, and feeds forward, for
        that `part` of the frames at a time. A ResNet block: its input, and that of a norm as it is joined, normed and
        parted. A transformer block: five states of its own beside the feed-forward's 16, or in attention queries, keys,
        values and results besides, and what is gathered."""
        if not self.reads:
            return (3 * self.before + self.after) * self.places + self.waiting
        feed_forward = 5 + 16 * part
        attention = 10 + (2 * self.reads + 2) * part
        return max(feed_forward, attention) * self.after * self.places + self.waiting


def needs(unet: UNet2DConditionModel, work: Work, economy: Economy) -> int:
    """Bytes of a forward without gradients, at its highest. Streams apart also keep the inputs of what is injected."""
    rows = work.seen * (1 if economy.apart else work.streams)
    part = min(economy.rows_at_once / rows, 1.0) if economy.rows_at_once else 1.0
    layers = list(layers_of(unet, work))
    numbers = max(layer.passing(part) for layer in layers) * rows
    if economy.apart:
        numbers += work.injected * work.seen * sum(layer.after * layer.places for layer in layers if layer.reads)
    return round(numbers * work.bytes)


def needs_to_learn(unet: UNet2DConditionModel, work: Work, economy: Economy) -> int:
    """Bytes of a forward and its backward pass, at their highest. With checkpointing what layers keep is computed
    again, one layer at a time; smaller parts of a layer then gain next to nothing."""
    layers = list(layers_of(unet, work))
    if economy.checkpointing:
        numbers = sum(layer.entered for layer in layers) + max(layer.kept for layer in layers)
    else:
        numbers = sum(layer.kept for layer in layers)
    return round(numbers * work.streams * work.seen * work.bytes)


def layers_of(unet: UNet2DConditionModel, work: Work) -> Iterator[Layer]:
    """The U-Net's layers, in the order of a forward."""
    height, width = work.size
    channels = unet.config.block_out_channels
    skips = [channels[0] * height * width]  # the first convolution's; a block on the way up holds all of its own
    out, entering = channels[0], skips[0]
    for name, block in _blocks(unet):
        way, places = name.split("_")[0], height * width
        waiting = sum(skips) + entering
        for i, (resnet, attention) in enumerate(zip_longest(block.resnets, getattr(block, "attentions", ()))):
            out = resnet.out_channels
            yield Layer(resnet.in_channels, out, places, waiting)
            for j, _ in enumerate(attention.transformer_blocks if attention is not None else ()):
                reads = _reads(work, out / max(channels), f"{name}.attentions.{i}.transformer_blocks.{j}")
                yield Layer(out, out, places, waiting, reads)
            if way == "down":
                skips.append(out * places)
        if getattr(block, "downsamplers", None):
            height, width = -(-height // 2), -(-width // 2)
            skips.append(out * height * width)
        if getattr(block, "upsamplers", None):
            height, width = height * 2, width * 2
        if way == "up":
            del skips[-len(block.resnets) :]
        entering = out * height * width


def _blocks(unet: UNet2DConditionModel) -> Iterator[tuple[str, Any]]:
    yield from ((f"down_blocks.{i}", block) for i, block in enumerate(unet.down_blocks))
    yield "mid_block", unet.mid_block
    yield from ((f"up_blocks.{i}", block) for i, block in enumerate(unet.up_blocks))


def _reads(work: Work, width: float, block: str) -> float:
    """How many frames a frame's self-attention reads there, on the average."""
    rows = work.frame_plan.sources(work.frames, work.latent_prompt, width, block)
    return sum(map(len, rows)) / len(rows)
