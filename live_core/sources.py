"""Where an edit's source comes from: the clip's latents, word maps, queries and keys at each of the edit's steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import LiveError
from .attention import AttentionPlan, AttentionStore
from .inversion import Inversion, record_of, source_stream
from .methods import Method
from .pretrained import LiveModel
from .records import SELF_STEPS, evenly
from .steering import Part, Piece, Step
from .step_store import StepStore
from .streams import Stream, guided, predict
from .taps import WordTap
from .transfers import sent


class Source(Part):
    """No source at all, and what every kind shares. Its `latents` (f, c, h, w) are the clip's at the step under way,
    and after it at the next.
    """

    streams: tuple[Stream, ...] = ()  # its rows of the edit's batch, the first of them the clip under its own prompt
    store: AttentionStore | None = None  # where its queries and keys are read when it has no row

    def __init__(self, model: LiveModel, inversion: Inversion, method: Method):
        self.model, self.inversion, self.method = model, inversion, method
        self.latents = inversion.at(method.first_step(inversion.steps)).to(model.unet.device)

    def on_the_path(self) -> torch.Tensor:
        """The inversion's latents (N, f, c, h, w) that each step leads to, put where they are read once for all."""
        return self.inversion.latents[:-1].flip(0).to(self.latents)

    @property
    def row(self) -> int | None:
        """Its row of the batch, None where its attention comes from the store."""
        return 0 if self.streams else None

    def tapped(self, step: Step) -> tuple[int, ...]:
        """The rows of a step whose maps masks read: the edit's, then its own, if it has one."""
        return (step.target,) if self.row is None else (step.target, self.row)

    def maps(self, tap: WordTap) -> torch.Tensor | None:
        """(F, n, L): the word maps that a mask reads at this step; None before there are any."""
        return None

    def acted(self, tap: WordTap) -> torch.Tensor | None:
        """(F, n, L): the step's own word maps."""
        return None

    def self_maps(self, tap: WordTap) -> torch.Tensor | None:
        """(F, n, n): the sum of self-attention over the recorded steps, None where the source did not run."""
        return None


class Beside(Source):
    """A reconstruction that runs in the edit's own batch; guided, if there is null text, else by its conditional
    prediction alone.
    """

    def __init__(self, model: LiveModel, inversion: Inversion, method: Method):
        super().__init__(model, inversion, method)
        stream = source_stream(model, method, inversion.prompt, inversion.at(inversion.steps).to(self.latents))
        null = inversion.null_text if method.guidance_scale != 1 else None
        unconditional = (
            ()
            if null is None
            else (Stream("source unconditional", "source", null.to(stream.text), stream.latent_prompt),)
        )
        self.streams = (stream, *unconditional)
        self.chain = [(each.name, method.guidance_scale) for each in (*unconditional, stream)]

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        self.latents = self.model.schedule.denoise(self.latents, guided(noise, self.chain), step.t, step.total)
        return x

    def maps(self, tap: WordTap) -> torch.Tensor | None:
        return None if tap.maps is None else tap.maps[1]

    def acted(self, tap: WordTap) -> torch.Tensor | None:
        return None if tap.acted is None else tap.acted[1]

    def self_maps(self, tap: WordTap) -> torch.Tensor | None:
        return None if tap.self_maps is None else tap.self_maps[1]


class Path(Beside):
    """The same with the inversion's own latents at each step, so that it never drifts from the clip (Plug-and-Play,
    TokenFlow); null text, which mends a reconstruction, it does not need."""

    def __init__(self, model: LiveModel, inversion: Inversion, method: Method):
        super().__init__(model, inversion, method)
        self.streams, self.path = self.streams[:1], self.on_the_path()

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        self.latents = self.path[step.index]
        return x


class Inverted(Source):
    """The inversion itself, run again at each step before the edit (FateZero). At step s it is the latents that the
    step leads to, at the timestep that it starts from, as the inversion saw them; a mask reads the maps of this step
    alone. It runs at the steps `read`, at which something reads its attention."""

    def __init__(self, model: LiveModel, inversion: Inversion, method: Method, words: bool, read: Sequence[int]):
        super().__init__(model, inversion, method)
        self.words, self.injects, self.read = words, words or method.self_ratio > 0, read
        self.self_steps, self.path = evenly(read, SELF_STEPS), self.on_the_path()
        self.stream = source_stream(model, method, inversion.prompt, inversion.at(inversion.steps).to(self.latents))
        self.step_maps: torch.Tensor | None = None
        self.self_sum: torch.Tensor | None = None

    def before(self, step: Step) -> Piece:
        self.latents, self.step_maps = self.path[step.index], None
        if step.index not in self.read:
            return Piece()
        store = StepStore()
        tap = WordTap(self.model.unet.map_level, self_attention=step.index in self.self_steps, self_maps=self.self_sum)
        plan = AttentionPlan(
            self.method.frame_plan,
            tap=tap,
            record=record_of(self.method, self.model.unet, store, self.words) if self.injects else None,
            step=step.index,
        )
        predict(self.model.unet, [self.stream], {"source": self.latents}, step.t, step.index, plan)
        self.step_maps, self.self_sum = None if tap.maps is None else tap.maps[0], tap.self_maps
        return Piece(store=store)

    def maps(self, tap: WordTap) -> torch.Tensor | None:
        return self.step_maps

    def acted(self, tap: WordTap) -> torch.Tensor | None:
        return self.step_maps

    def self_maps(self, tap: WordTap) -> torch.Tensor | None:
        return None if self.self_sum is None else self.self_sum[0]


class Kept(Source):
    """A source whose attention and maps were kept when the clip was inverted: the inversion's, or that of a
    reconstruction. The inversion's maps are read at the steps `read`, as they would be computed.
    """

    def __init__(
        self,
        model: LiveModel,
        inversion: Inversion,
        store: AttentionStore,
        method: Method,
        words: bool,
        read: Sequence[int],
    ):
        super().__init__(model, inversion, method)
        self.read = read
        check_kept(model, inversion, store, method, words)
        self.kept, self.of_inversion = store, method.source == "inversion"
        self.path = self.on_the_path() if self.of_inversion else None
        self.step_maps: torch.Tensor | None = None
        self.sum: torch.Tensor | None = None

    def before(self, step: Step) -> Piece:
        if self.path is not None:
            self.latents, self.step_maps = self.path[step.index], None
            if step.index not in self.read:
                return Piece()
        self.step_maps = self._of_step(step, "maps")
        self.sum = self.step_maps if self.sum is None else self.sum + self.step_maps
        return Piece(store=self.kept)

    def after(self, step: Step, x: torch.Tensor, noise: dict[str, torch.Tensor]) -> torch.Tensor:
        if not self.of_inversion:
            self.latents = self._of_step(step, "latents")
        return x

    def _of_step(self, step: Step, what: str) -> torch.Tensor:
        return sent(self.kept.read(f"{step.index:04d}/{what}"), self.latents)

    def maps(self, tap: WordTap) -> torch.Tensor | None:
        return self.step_maps if self.of_inversion else self.sum

    def acted(self, tap: WordTap) -> torch.Tensor | None:
        return self.step_maps


def check_kept(model: LiveModel, inversion: Inversion, store: AttentionStore, method: Method, words: bool) -> None:
    """LiveError when the edit injects attention that was not kept, because the clip was inverted for other settings."""
    kept = record_of(inversion.method, model.unet, store)
    wanted = record_of(method, model.unet, store, words)
    missing = {
        "cross-attention (cross_ratio, cross_max_tokens or a word's window)": (
            wanted.cross and (not kept.cross or wanted.cross_level < kept.cross_level)
        ),
        "spatial self-attention (self_ratio, self_target or self_max_tokens)": (
            wanted.spatial and (not kept.spatial or wanted.self_level < kept.self_level)
        ),
        "temporal attention (self_ratio or self_target)": wanted.temporal and not kept.temporal,
    }
    for what in (what for what, is_missing in missing.items() if is_missing):
        raise LiveError(
            f"inversion: attention {inversion.attention!r} was kept for {inversion.method.name!r}, without all the"
            f' {what} that this edit injects; invert the clip again with attention "recompute", or for method "custom"'
            " with the settings of the edit"
        )


def source_of(
    model: LiveModel, inversion: Inversion, method: Method, needed: bool, words: bool, read: Sequence[int]
) -> Source:
    """The source that `method` asks for. `needed`: whether anything reads it; `words`: whether any word's attention is
    injected; `read`: the steps at which its attention is read.
    """
    if not needed:
        return Source(model, inversion, method)
    if inversion.store is not None:
        return Kept(model, inversion, inversion.store, method, words, read)
    if method.source == "inversion":
        return Inverted(model, inversion, method, words, read)
    return {"reconstruction": Beside, "path": Path}[method.source](model, inversion, method)
