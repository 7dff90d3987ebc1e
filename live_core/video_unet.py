"""A stock diffusers U-Net made to see video: frames folded into the batch, never a fork.

A 1x3x3 inflated convolution *is* a 2-D convolution on folded frames, so inflation adds three things only: group-norm
statistics joined over frames where Tune-A-Video pools them, temporal attention after each transformer block, and
attention processors that see other frames.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from einops import rearrange, repeat
from torch import nn

from . import LiveError
from .apart import can_part, one_by_one
from .around import as_it_is
from .attention import PLAIN, AttentionPlan, VideoAttention
from .economy import Economy, backwards, first_way, forwards
from .estimates import Work, needs, needs_to_learn
from .interrupts import heed
from .memory import copies, once_a_run, with_less

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention import BasicTransformerBlock

T = TypeVar("T")
MAP_SIDE = 16  # cells of a word map at the model's native size
# What a tuning learns -> the parameters it may change, by their names. Of a clip: self and cross queries, and temporal
# attention, whose norm stays (Tune-A-Video, LIVE). Of an edit (`adaptation`): all projections of attention.
CLIP, EDIT = "clip", "edit"
LEARNED = {CLIP: r"\.attn[12]\.to_q\.weight$|\.attn_temp\.", EDIT: r"\.attn[12]\.to_(q|k|v|out\.0)\.weight$"}


class JointGroupNorm(nn.GroupNorm):
    """Group norm whose statistics pool over frames of a stream, as 5-D tensors have them in Tune-A-Video's ResNets;
    `runs_of` gives how many successive frames pool (`FramePlan.runs`)."""

    runs_of: Callable[[], tuple[int, ...]] = staticmethod(lambda: (1,))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        runs, norm = self.runs_of(), super().forward
        if set(runs) == {1}:
            return norm(x)
        parts = rearrange(x, "(s f) c h w -> s f c h w", f=sum(runs)).split(runs, 1)
        pooled = [
            rearrange(norm(rearrange(part, "s f c h w -> s c (f h) w")), "s c (f h) w -> s f c h w", f=part.shape[1])
            for part in parts
        ]
        return torch.cat(pooled, 1).flatten(0, 1)


class VideoUNet(nn.Module):
    """`unet` inflated in place. Temporal attention starts as the identity: zero output weight and bias; its other
    weights are random ones that are always the same, so that a tuning's seed tells all of its outcome.

    The U-Net belongs to this object from then on; what a run changes it puts back (`overlay`).
    """

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        self.unet: UNet2DConditionModel = unet
        self._economy: Economy | None = None  # of the computation under way
        self._plan = PLAIN
        self._blocks: list[BasicTransformerBlock] = []
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(0)  # torch.manual_seed would reseed every device's generator too
            self._inflate()

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.conv_in.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.unet.conv_in.weight.device

    def _inflate(self) -> None:
        from diffusers.models.attention import BasicTransformerBlock
        from diffusers.models.attention_processor import Attention
        from diffusers.models.resnet import ResnetBlock2D

        def join(owner: nn.Module, name: str) -> None:
            norm = getattr(owner, name)
            joined = JointGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
            joined.weight, joined.bias = norm.weight, norm.bias
            joined.runs_of = self._runs
            setattr(owner, name, joined)

        join(self.unet, "conv_norm_out")
        levels = len(getattr(self.unet, "down_blocks", ())) or 1
        widest = max(m.attn1.to_q.in_features for m in self.unet.modules() if isinstance(m, BasicTransformerBlock))
        for name, module in self.unet.named_modules():
            if isinstance(module, ResnetBlock2D):
                join(module, "norm1")
                join(module, "norm2")
                module.conv2.register_forward_hook(partial(self._feature_hook, name))
            if isinstance(module, BasicTransformerBlock):
                like = module.attn1
                width = like.to_q.in_features
                module.norm_temp = nn.LayerNorm(width)
                module.attn_temp = Attention(width, heads=like.heads, dim_head=like.inner_dim // like.heads)
                nn.init.zeros_(module.attn_temp.to_out[0].weight)
                nn.init.zeros_(module.attn_temp.to_out[0].bias)
                for part in (module.norm_temp, module.attn_temp):
                    part.to(like.to_q.weight)
                for attention, kind in (
                    (module.attn1, "self"),
                    (module.attn2, "cross"),
                    (module.attn_temp, "temporal"),
                ):
                    attention.set_processor(
                        VideoAttention(name, kind, lambda: self._plan, width / widest, _level_of(name, levels))
                    )
                module.register_forward_hook(self._temporal_hook)
                self._blocks.append(module)

    def _runs(self) -> tuple[int, ...]:
        return self._plan.frame_plan.runs(self._plan.frames, self._plan.latent_prompt)

    def _feature_hook(self, name: str, _conv: nn.Module, inputs: tuple, features: torch.Tensor) -> torch.Tensor:
        return self._plan.around.get(name, as_it_is)(name, inputs[0], lambda: features)

    def _temporal_hook(self, block: BasicTransformerBlock, _inputs: tuple, hidden: torch.Tensor) -> torch.Tensor:
        plan = self._plan
        if not plan.frame_plan.temporal:
            return hidden
        frames, tokens = plan.frames + plan.latent_prompt, hidden.shape[1]
        x = rearrange(hidden, "(s f) n c -> (s n) f c", f=frames)
        x = x + block.attn_temp(block.norm_temp(x))
        return rearrange(x, "(s n) f c -> (s f) n c", n=tokens)

    def forward(
        self,
        latents: torch.Tensor,
        timestep: int | torch.Tensor,
        text: torch.Tensor,
        latent_prompts: torch.Tensor | None = None,
        plan: AttentionPlan = PLAIN,
    ) -> torch.Tensor:
        """Predict noise (s, f, 4, h, w) for `latents` (s, f, c, h, w) under `text` (s, L, d), or (s, F, L, d), each
        frame's own.

        `timestep`: one for all streams, or (s,), each stream's own. `latent_prompts` (s, c, h, w), clean latents, join
        each stream as one more frame whose output is dropped. Computed in the model's dtype, returned in that of
        `latents`. Where it does not fit in memory, or runs out, it is done with less (`economy.forwards`).
        """
        if latents.ndim != 5 or latents.shape[1] == 0:
            raise LiveError(
                f"latents of shape {tuple(latents.shape)}: expected (streams, frames, channels, height, width) with at"
                " least one frame"
            )
        reads = self.unet.config.in_channels, self.unet.config.cross_attention_dim
        if (latents.shape[2], text.shape[-1]) != reads:
            raise LiveError(
                f"model: its U-Net reads latents of {reads[0]} channels and texts of width {reads[1]}, and was given"
                f" {latents.shape[2]} and {text.shape[-1]}; put the parts of one model together"
            )
        seen = latents.shape[1] + (latent_prompts is not None)
        if text.ndim == 4 and text.shape[1] != seen:
            raise LiveError(f"text: {text.shape[1]} texts for {seen} frames; give one for all, or one for each")
        if isinstance(timestep, torch.Tensor) and timestep.ndim and timestep.shape != latents.shape[:1]:
            raise LiveError(
                f"timestep: {tuple(timestep.shape)} for {len(latents)} streams; give one for all, or one for each"
            )
        heed()
        work = self.work(latents, latent_prompts is not None, plan)
        return self._retried(
            "the U-Net",
            lambda: self._predict(latents, timestep, text, latent_prompts, plan),
            forwards(len(latents) if can_part(plan, len(latents)) else 1, latents.shape[1]),
            work,
            partial(needs, self.unet, work),
        )

    def retried(self, compute: Callable[[], T], work: Work, beside: float = 0) -> T:
        """`compute()`, a forward of this U-Net that is `work` with its backward pass; with less memory, in one of the
        ways of `economy.backwards`, where it does not fit or runs out. `beside`: bytes still to be taken besides.
        """
        needed = partial(needs_to_learn, self.unet, work)
        return self._retried("training", compute, backwards(work.frames), work, needed, beside)

    def work(self, latents: torch.Tensor, seat: bool, plan: AttentionPlan) -> Work:
        """What a forward of latents (s, f, c, h, w) is, with a latent prompt if there is a `seat`."""
        return Work(
            streams=latents.shape[0],
            frames=latents.shape[1],
            latent_prompt=seat,
            size=(latents.shape[-2], latents.shape[-1]),
            bytes=self.dtype.itemsize,
            frame_plan=plan.frame_plan,
            injected=plan.injected,
        )

    def _retried(
        self,
        stage: str,
        compute: Callable[[], T],
        economies: list[Economy],
        work: Work,
        needed: Callable[[Economy], int],
        beside: float = 0,
    ) -> T:
        if self._economy is not None:  # within another, which does all of its work again
            return compute()
        ways = [(str(economy), partial(self._under, economy, compute)) for economy in economies]
        first = once_a_run((stage, work), partial(first_way, stage, economies, needed, beside))
        return with_less(stage, ways, first)

    def _under(self, economy: Economy, compute: Callable[[], T]) -> T:
        self._economy = economy
        if economy.checkpointing:
            self.unet.enable_gradient_checkpointing()
        try:
            return compute()
        finally:  # not before: a backward pass may compute layers again, under the same plan
            self._economy, self._plan = None, PLAIN
            self._chunk_feed_forward(None)
            if economy.checkpointing:
                self.unet.disable_gradient_checkpointing()

    def _predict(
        self,
        latents: torch.Tensor,
        timestep: int | torch.Tensor,
        text: torch.Tensor,
        latent_prompts: torch.Tensor | None,
        plan: AttentionPlan,
    ) -> torch.Tensor:
        if self._economy is not None and self._economy.apart and can_part(plan, len(latents)):
            return one_by_one(self._predict, latents, timestep, text, latent_prompts, plan)
        streams, frames = latents.shape[:2]
        x = latents if latent_prompts is None else torch.cat([latent_prompts[:, None].to(latents), latents], 1)
        rows, at_once = streams * x.shape[1], self._economy.rows_at_once if self._economy else None
        self._plan = replace(
            plan,
            streams=streams,
            frames=frames,
            latent_prompt=latent_prompts is not None,
            frame_texts=text.ndim == 4,
            rows_at_once=at_once,
        )
        if isinstance(timestep, int):  # diffusers would make a tensor of it in main memory, and upload that
            timestep = torch.full((rows,), timestep, device=x.device)
        elif timestep.ndim:  # diffusers wants one for each frame
            timestep = timestep.repeat_interleave(x.shape[1])
        if at_once is not None:  # diffusers wants chunks of equal size
            self._chunk_feed_forward(max(n for n in range(1, at_once + 1) if rows % n == 0))
        try:
            noise = self.unet(
                rearrange(x, "s f c h w -> (s f) c h w").to(self.dtype),
                timestep,
                _for_frames(text.to(self.dtype), x.shape[1]),
            ).sample
            noise = rearrange(noise, "(s f) c h w -> s f c h w", s=streams).to(latents.dtype)
            if plan.tap is not None:
                plan.tap.end_of_forward()
        except BaseException:
            if plan.tap is not None:
                plan.tap.forget_forward()
            raise
        return noise if latent_prompts is None else noise[:, 1:]

    def _chunk_feed_forward(self, size: int | None) -> None:
        for block in self._blocks:
            block.set_chunk_feed_forward(size, 0)

    def trainable(self, learns: str = CLIP) -> dict[str, nn.Parameter]:
        """What a tuning that `learns` this may change, a key of `LEARNED`."""
        return {name: p for name, p in self.unet.named_parameters() if re.search(LEARNED[learns], name)}

    @contextmanager
    def overlay(self, tensors: dict[str, torch.Tensor]) -> Iterator[VideoUNet]:
        """Put a tuning's tensors on for the length of a `with` block; the base weights are back afterwards, whatever
        happens.
        """
        parameters = dict(self.unet.named_parameters())
        unknown = sorted(set(tensors) - set(parameters))
        wrong = [n for n in tensors if n in parameters and tensors[n].shape != parameters[n].shape]
        if unknown or wrong:
            raise LiveError(
                f"this tuning does not fit this model: {(unknown + wrong)[0]!r} is"
                f" {'unknown' if unknown else 'of another shape'} here; load the base model it was trained on"
            )
        base = copies({name: parameters[name] for name in tensors})
        try:
            _copy(parameters, tensors)
            yield self
        finally:
            _copy(parameters, base)

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(height, width) of every level, for latents of height x width."""
        out = [(height, width)]
        for _ in self.unet.config.block_out_channels[1:]:
            height, width = -(-height // 2), -(-width // 2)
            out.append((height, width))
        return out

    def level_within(self, tokens: int | None) -> int:
        """The finest level whose frames have at most `tokens` tokens at the model's native size, 0 for None; one past
        the coarsest where none has. So a published limit means the same layers at every size: 1024 is Stable
        Diffusion's level 1, 32x32 cells at 512x512.
        """
        sides = (side for side, _ in self.sizes(self._native_side, self._native_side))
        return 0 if tokens is None else sum(side**2 > tokens for side in sides)

    @property
    def map_level(self) -> int:
        """The level that word maps are read from, the coarsest of at least 16x16 cells at the model's native size: five
        cross-attention layers of Stable Diffusion, as in prompt-to-prompt's local blend."""
        return sum(side >= MAP_SIDE for side, _ in self.sizes(self._native_side, self._native_side)[1:])

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the word maps, for latents of height x width."""
        return self.sizes(height, width)[self.map_level]

    @property
    def _native_side(self) -> int:
        """Latent cells on a side of the size the model was made for, at most the 64 of 512x512, from which the papers'
        counts come: Stable Diffusion 2.x has the same levels at 768x768."""
        side = self.unet.config.sample_size or 64
        return min(side if isinstance(side, int) else max(side), 64)


def _for_frames(text: torch.Tensor, frames: int) -> torch.Tensor:
    """(s, L, d), or (s, F, L, d) where every frame has its own -> (s F, L, d)."""
    return text.flatten(0, 1) if text.ndim == 4 else repeat(text, "s l d -> (s f) l d", f=frames)


def _level_of(name: str, levels: int) -> int:
    """The level, 0 the finest, of the module `name` in a U-Net of `levels`."""
    block = re.match(r"(down|mid|up)_block(?:s\.(\d+))?", name)
    if block is None:
        return 0
    kind, index = block[1], int(block[2] or 0)
    return {"down": index, "mid": levels - 1, "up": levels - 1 - index}[kind]


@torch.no_grad()
def _copy(parameters: dict[str, nn.Parameter], tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)
