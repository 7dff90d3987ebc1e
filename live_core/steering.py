"""The parts of a method. Each gives a piece of a step's attention plan before the U-Net runs, and may change the
latents after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from .around import Around
from .attention import AttentionPlan, AttentionStore, SelfInjection, WordInjection
from .frames import FramePlan
from .masks import Finder, blend
from .methods import Method
from .prompts import Prompt
from .records import Side, SideRecorder
from .streams import Chain, Stream
from .taps import WordTap
from .token_edits import TokenEdit, spread
from .transfers import sent
from .video_unet import VideoUNet


@dataclass(frozen=True)
class Step:
    """Step `index` of `total`, from the noisiest, at timestep `t`; `latents` (f, c, h, w): the edit's before it.
    `streams`: the rows of its batch, of which the last is the edit's conditional one; `chain` guides those of the edit.
    """

    index: int
    total: int
    t: int
    latents: torch.Tensor | None = None
    streams: Sequence[Stream] = ()
    chain: Chain = ()

    @property
    def target(self) -> int:
        """The row that attention is injected into, and whose maps masks read."""
        return len(self.streams) - 1


@dataclass(frozen=True)
class Piece:
    """What one part adds to a step's plan."""

    words: tuple[WordInjection, ...] = ()
    selves: tuple[SelfInjection, ...] = ()
    tap: WordTap | None = None
    store: AttentionStore | None = None
    around: Mapping[str, Around] = field(default_factory=dict)


def merge(frame_plan: FramePlan, step: Step, pieces: Sequence[Piece]) -> AttentionPlan:
    """One plan of all pieces. At most one brings a tap, and one a store."""
    return AttentionPlan(
        frame_plan,
        words=tuple(word for piece in pieces for word in piece.words),
        selves=tuple(each for piece in pieces for each in piece.selves),
        tap=next((piece.tap for piece in pieces if piece.tap is not None), None),
        store=next((piece.store for piece in pieces if piece.store is not None), None),
        step=step.index,
        around={layer: around for piece in pieces for layer, around in piece.around.items()},
    )


class Part:
    """Does nothing; what a part does not do it inherits."""

    def before(self, step: Step) -> Piece:
        """Its piece of the plan, asked for before the U-Net runs."""
        return Piece()

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        """The edit's latents (f, c, h, w) from `x`, those the step gave. `noise`: what each stream predicted."""
        return x


class InjectWords(Part):
    """Cross-attention of chosen words from the source (prompt-to-prompt, and LIVE's word swap). `tokens`: how many the
    texts of source and edit have where they meet, those of a batch repeated to one length."""

    def __init__(
        self,
        method: Method,
        unet: VideoUNet,
        token_edits: Sequence[TokenEdit | None],
        source: int | None,
        tokens: tuple[int, int],
    ):
        self.source, self.tokens = source, tokens
        self.level = unet.level_within(method.cross_max_tokens)
        # Where they are read, before the first step: every layer of every step reads them.
        there = torch.empty(0, device=unet.device)
        self.token_edits = [edit and (sent(edit[0], there), sent(edit[1], there)) for edit in token_edits]

    def before(self, step: Step) -> Piece:
        token_edit = self.token_edits[step.index]
        if token_edit is None:
            return Piece()
        return Piece(words=(WordInjection(step.target, self.source, *spread(token_edit, *self.tokens), self.level),))


class InjectSelf(Part):
    """Self-attention from the source, everywhere or but for the places that `own` finds (FateZero, section 3.3)."""

    def __init__(
        self,
        method: Method,
        unet: VideoUNet,
        source: int | None,
        own: Callable[[], dict[int, torch.Tensor] | None],
    ):
        self.method, self.source, self.own = method, source, own
        self.level = unet.level_within(method.self_max_tokens)
        # Step -> (f, tokens) bool, in main memory: the finest mask it used, without the latent prompt's.
        self.masks: dict[int, torch.Tensor] = {}

    def finest_masks(self, size: Sequence[int]) -> dict[int, torch.Tensor]:
        """Step -> (f, *size) bool, in main memory: the masks at the latents' own size, without the latent prompt's."""
        return {i: mask.unflatten(-1, size) for i, mask in self.masks.items()}

    def before(self, step: Step) -> Piece:
        method = self.method
        if step.index not in method.self_steps(step.total):
            return Piece()
        masks = self.own() if step.index >= method.self_blend_from(step.total) else None
        if masks is not None:
            # There before the loop's check of the step is through.
            finest = masks[0][int(method.latent_prompt) :].bool()
            self.masks[step.index] = finest.to("cpu", non_blocking=True)
        injection = SelfInjection(
            target=step.target,
            source=self.source,
            spatial=method.self_target != "temporal",
            temporal=method.self_target != "spatial",
            level=self.level,
            masks=masks,
        )
        return Piece(selves=(injection,))


class LocalBlend(Part):
    """The source's latents wherever no changed word points (prompt-to-prompt's local blend; blended latent diffusion's
    background).
    """

    def __init__(self, method: Method, finder: Finder, latents_of_source: Callable[[], torch.Tensor]):
        self.method, self.finder, self.latents_of_source = method, finder, latents_of_source
        self.masks: dict[int, torch.Tensor] = {}  # step -> (f, h, w) bool, in main memory

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        if step.index not in self.method.blend_steps(step.total):
            return x
        height, width = x.shape[-2:]
        allowed = self.finder.mask((height, width), self.method.mask_grow)
        # There before the loop's check of the step is through.
        self.masks[step.index] = allowed.bool().to("cpu", non_blocking=True)
        return blend(self.latents_of_source(), x, allowed)


class Recorder(Part):
    """Taps the maps that masks read, and keeps what `inspect.py` shows. `tapped`: the rows of a step that `tap` taps;
    `acted_of_source` gives the source's maps of the step, None where it did not run; the frames of maps start at
    `shift`."""

    def __init__(
        self,
        tap: WordTap,
        tapped: Callable[[Step], tuple[int, ...]],
        self_steps: Sequence[int],
        prompts: tuple[Prompt, Prompt],
        shift: int,
        acted_of_source: Callable[[], torch.Tensor | None],
    ):
        self.tap, self.tapped, self.self_steps, self.acted_of_source = tap, tapped, self_steps, acted_of_source
        self.source, self.edit = (SideRecorder(prompt, shift) for prompt in prompts)

    def before(self, step: Step) -> Piece:
        self.tap.rows, self.tap.self_attention = self.tapped(step), step.index in self.self_steps
        return Piece(tap=self.tap)

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        own = None if self.tap.acted is None else self.tap.acted[0]
        for side, acted in ((self.edit, own), (self.source, self.acted_of_source())):
            if acted is not None:
                side.step(step.index, acted)
        return x

    def sides(self, self_maps_of_source: torch.Tensor | None) -> tuple[Side | None, Side]:
        """What was kept of the source, and of the edit."""
        own = None if self.tap.self_maps is None else self.tap.self_maps[0]
        return self.source.side(self_maps_of_source) if self.source.ran else None, self.edit.side(own)
