"""Golden data: outputs of the reference implementations, beside the project in ``../shared/reference``, and how tests
read them.

Each case states its own tolerance; none is loosened in the tests. A case that stores attention maps is fed through our
fused attention by queries and keys that produce exactly these maps: keys one-hot, queries the maps' logarithms.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from layers import processor
from safetensors.torch import load_file

from live_core.attention import AttentionPlan
from live_core.diffusion import Schedule, scaled_linear

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "reference"
needed = pytest.mark.skipif(
    not FOLDER.exists(), reason="the golden data (../shared/reference) is not beside the project"
)
# The parity switch. A `reference_bug` case has two expectations: off, our result must be the corrected one; on, our
# result with the published mistake put into it, which the test spells out as a rule, must be the literal one.
parity = pytest.mark.parametrize("as_published", [False, True], ids=["corrected", "as_published"])


def case(name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """The case's options and tolerance, and its tensors."""
    entry = next(c for c in json.loads((FOLDER / "cases.json").read_text())["cases"] if c["id"] == name)
    return entry, load_file(FOLDER / entry["file"])


def close(ours: torch.Tensor, theirs: torch.Tensor, entry: dict) -> None:
    torch.testing.assert_close(ours, theirs, atol=entry["tolerance"]["atol"], rtol=entry["tolerance"].get("rtol", 0.0))


def schedule(config: dict) -> Schedule:
    return Schedule(scaled_linear(config["beta_start"], config["beta_end"]), offset=config.get("steps_offset", 1))


def frames_first(x: torch.Tensor) -> torch.Tensor:
    """(b, c, f, h, w), the references' layout, to ours, (s, f, c, h, w); its own inverse."""
    return x.transpose(1, 2)


def attend(
    kind: str,
    weights: dict[str, torch.Tensor],
    heads: int,
    hidden: torch.Tensor,
    context: torch.Tensor | None,
    plan: AttentionPlan,
) -> torch.Tensor:
    """One of our attention layers with the given weights, outside any U-Net."""
    from diffusers.models.attention_processor import Attention

    width = weights["to_q.weight"].shape[1]
    layer = Attention(
        width, weights["to_k.weight"].shape[1], heads=heads, dim_head=weights["to_q.weight"].shape[0] // heads
    )
    layer.load_state_dict(weights)
    layer.set_processor(processor(kind, plan))
    with torch.no_grad():
        return layer(hidden, context)


def under(data: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in data.items() if name.startswith(prefix)}


def queries_and_keys(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(streams, heads, n, k) maps as queries and keys whose softmax they are."""
    size = maps.shape[-1]
    return maps.clamp_min(1e-35).log() * math.sqrt(size), torch.eye(size).expand(*maps.shape[:2], -1, -1)


def level_of(queries: torch.Tensor, limit: int | None) -> int:
    """1 for a layer that has no more queries (b, heads, n, c) than the reference's limit, else 0."""
    return int(limit is None or queries.shape[2] <= limit)


def windows_of(setting) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """The reference's cross_replace_steps, a ratio, a window or one of these for each word, as our default window and
    words' own.
    """
    words = dict(setting) if isinstance(setting, dict) else {"default_": setting}
    words = {word: tuple(window) if isinstance(window, list) else (0.0, window) for word, window in words.items()}
    return words.pop("default_"), words
