"""What a tuning of one clip is, and its file: one safetensors file with metadata, of which every part is checked as it
comes in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import LiveError
from .checks import GREATEST, is_finite
from .concept import Concept
from .files import read_safetensors, reading, write_safetensors
from .frames import FramePlan
from .video_unet import CLIP, LEARNED

FORMAT, VERSION = "live-tuning", "1"


@dataclass(frozen=True)
class Tuning:
    """What one-clip tuning learned: an overlay on the U-Net, the latent prompt, and the concepts' vectors.

    `tensors`: U-Net parameter name -> tensor. `latent_prompt` (c, h, w) or None. `prompt`: what the clip shows, or the
    instruction of an edit; `learns`: which of these, a key of `LEARNED`. `base`, `base_name`: fingerprint and name of
    the model it belongs to.
    """

    tensors: dict[str, torch.Tensor]
    latent_prompt: torch.Tensor | None
    concepts: tuple[Concept, ...]
    prompt: str
    base: str
    settings: dict = field(default_factory=dict)
    losses: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    base_name: str = ""
    learns: str = CLIP

    @property
    def frame_plan(self) -> FramePlan | None:
        """What frames saw while the clip was learned; None where none was, or a file does not tell. Files of 0.1 have
        the slots alone.
        """
        told = self.settings.get("frame_plan") if self.tensors else None
        try:
            if isinstance(told, dict):
                fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
                return FramePlan(**fields)
            return None if told is None else FramePlan(tuple(told))
        except (TypeError, LiveError):
            return None

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """All that was learned, by the names that its file has."""
        named = {f"unet/{name}": tensor for name, tensor in self.tensors.items()}
        if self.latent_prompt is not None:
            named["latent_prompt"] = self.latent_prompt
        for i, concept in enumerate(self.concepts):
            named |= {f"concept/{i}/vector": concept.vectors.squeeze(0), f"concept/{i}/reference": concept.reference}
        return named

    def check_fit(self, model: str, learned: Mapping[str, torch.Tensor], channels: int, width: int) -> None:
        """LiveError unless every tensor has the very shape that the model of that name has for it: `learned`, its
        parameters that tuning learns, by name; `channels` of its latents; `width` of its token embeddings. Either all
        of `learned` were, or none.
        """
        for name in self.tensors.keys() ^ learned.keys() if self.tensors else ():
            raise self._misfit(
                model, f"unet/{name}", "is missing" if name in learned else "is nothing that tuning learns"
            )
        for name, tensor in self.tensors.items():
            if tensor.shape != learned[name].shape:
                raise self._misfit(
                    model, f"unet/{name}", f"has shape {tuple(tensor.shape)}, not {tuple(learned[name].shape)}"
                )
        for name, tensor in self.named_tensors().items():
            wanted = {
                "vector": (*tensor.shape[:-1], width),
                "latent_prompt": (channels, *tensor.shape[1:]),
                "reference": (1, channels, *tensor.shape[2:]),
            }
            own = wanted.get(name.rpartition("/")[2])
            if own is not None and tensor.shape != own:
                raise self._misfit(model, name, f"has shape {tuple(tensor.shape)}, not {own}")

    def _misfit(self, model: str, name: str, how: str) -> LiveError:
        return LiveError(
            f"tuning: it does not fit {model!r}: {name!r:.100} {how}; load the base model it was trained on,"
            f" {self.base_name!r:.100}"
        )


def save_tuning(tuning: Tuning, path: Path) -> None:
    """One safetensors file: tensors, and metadata with prompt, settings, base fingerprint and version. Replaced whole
    or not at all.

    LiveError for a tuning with a value that is not finite, and for a place that cannot be written
    (`files.write_safetensors`).
    """
    named = tuning.named_tensors()
    _check_values(named, "tuning: it", "so nothing was saved; tune again with smaller learning rates")
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "base": tuning.base,
        "base_name": tuning.base_name,
        "learns": tuning.learns,
        "prompt": tuning.prompt,
        "settings": json.dumps(tuning.settings),
        "losses": json.dumps(tuning.losses),
        "concepts": json.dumps([[c.placeholder, c.initial_word] for c in tuning.concepts]),
    }
    for key, text in metadata.items():
        if text.encode(errors="replace").decode() != text:
            raise LiveError(
                f"tuning: its {key} {text!r:.100} has characters that no file can hold; tune again without them"
            )
    write_safetensors(named, path, metadata)


def save_embedding(concept: Concept, path: Path) -> None:
    """The learned vectors as an embedding file: one tensor ``emb_params`` (n, d), which ComfyUI reads for
    `embedding:<name>` in a prompt.
    """
    write_safetensors({"emb_params": concept.vectors}, path)


def load_tuning(path: Path) -> Tuning:
    """The tuning in a file. LiveError for a file that is damaged, that is no tuning, or that has what no tuning has."""
    path = Path(path)
    with reading(f"tuning: {path.name!r:.100}", "it is cut short or no whole tuning, so save the tuning again"):
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
            raise LiveError(
                f"tuning: {path.name!r:.100} is not a LIVE tuning of version {VERSION}; choose a file written by Save"
                " Tuning"
            )
        _check_values(
            tensors, f"tuning: {path.name!r:.100}", "so it would spoil all that is made with it; save the tuning again"
        )
        return _tuning_of(dict(tensors), metadata)


def _check_values(tensors: Mapping[str, torch.Tensor], what: str, remedy: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise LiveError(f"{what} has {name!r:.100} as {tensor.dtype}, which is no kind of fraction, {remedy}")
        if not is_finite(tensor):
            raise LiveError(f"{what} has values in {name!r:.100} that are not finite (NaN or infinite), {remedy}")


def _tuning_of(tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> Tuning:
    """ValueError where a part is missing, of another kind or shape, or one too many."""

    def told(key: str) -> str:
        if key not in metadata:
            raise ValueError(f"it has no {key!r}")
        return metadata[key]

    def kept(name: str, *dimensions: int) -> torch.Tensor:
        if name not in tensors:
            raise ValueError(f"it has no {name!r}")
        shape = tuple(tensors[name].shape)
        if len(shape) not in dimensions or 0 in shape or len(shape) == 4 and shape[0] != 1:
            raise ValueError(
                f"{name!r} has shape {shape}, where {' or '.join(map(str, dimensions))} dimensions are"
                f" expected{', the first of 1' if 4 in dimensions else ''}"
            )
        return tensors.pop(name)

    base = told("base")
    learns = metadata.get("learns", CLIP)  # files of 0.1 tell of clips alone
    settings = json.loads(told("settings"))
    words = json.loads(told("concepts"))
    losses = json.loads(told("losses"))
    if not re.fullmatch("[0-9a-f]{16}", base):
        raise ValueError(f"base {base!r:.60} is no fingerprint")
    if learns not in LEARNED:
        raise ValueError(f"it learned {learns!r:.60}, and not {' or '.join(LEARNED)}")
    if not isinstance(settings, dict):
        raise ValueError(f"settings {settings!r:.60} are no names with values")
    if (
        not _are_lists(words, str)
        or any(len(pair) != 2 or len(pair[0].split()) != 1 for pair in words)
        or len({pair[0] for pair in words}) < len(words)
    ):
        raise ValueError(f"concepts {words!r:.60} are no pairs of a placeholder and a word, each placeholder once")
    if (
        not _are_lists(losses, (int, float))
        or len(losses) != 2
        or not all(-GREATEST <= loss <= GREATEST for part in losses for loss in part)
    ):
        raise ValueError(f"losses {losses!r:.60} are no two lists of finite numbers")
    concepts = tuple(
        Concept(
            placeholder,
            word,
            kept(f"concept/{i}/reference", 4),
            torch.atleast_2d(kept(f"concept/{i}/vector", 1, 2)),
            base=base,
        )
        for i, (placeholder, word) in enumerate(words)
    )
    latent_prompt = kept("latent_prompt", 3) if "latent_prompt" in tensors else None
    strange = sorted(name for name in tensors if not name.startswith("unet/"))
    if strange:
        raise ValueError(f"{strange[0]!r:.100} is nothing that a tuning has")
    return Tuning(
        {name.removeprefix("unet/"): tensor for name, tensor in tensors.items()},
        latent_prompt,
        concepts,
        told("prompt"),
        base,
        settings,
        (tuple(losses[0]), tuple(losses[1])),
        metadata.get("base_name", ""),
        learns,
    )


def _are_lists(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether `value` is a list of lists of that kind of thing."""
    return isinstance(value, list) and all(
        isinstance(part, list) and all(isinstance(item, kind) for item in part) for part in value
    )
