"""What sits on ComfyUI's MODEL or CLIP beside its weights: LIVE copies weights, so the rest is refused or named."""

from __future__ import annotations

from collections.abc import Iterator

# Object patches that LIVE reads (the noise schedule) or has settings of its own for (the number format).
READ = {"model_sampling", "manual_cast_dtype"}


def injected(patcher) -> list[str]:
    """Names of what is computed beside the weights on a ModelPatcher, such as a LoRA in bypass mode."""
    return sorted(patcher.injections)


def beside_weights(patcher) -> list[str]:
    """What else was put on a ModelPatcher, each as "<who put it> (<where>)"; sampling settings and number formats left
    out.
    """
    found = [
        *_leaves(patcher.model_options),
        *_leaves(patcher.wrappers),
        *_leaves(patcher.weight_wrapper_patches),
        *_leaves({name: value for name, value in patcher.object_patches.items() if name not in READ}),
        *(f"{name} (additional model)" for name in patcher.additional_models),
    ]
    if patcher.hook_patches or patcher.forced_hooks is not None:
        found.append("hooks (Set CLIP Hooks or the like)")
    return list(dict.fromkeys(found))


def _leaves(value, where: str = "") -> Iterator[str]:
    """Everything in nested containers that is not plain data; `where` is the nearest name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, name if isinstance(name, str) else where)
    elif isinstance(value, (list, tuple, set)):
        for inner in value:
            yield from _leaves(inner, where)
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        maker = getattr(value, "__qualname__", type(value).__qualname__).split(".")[0]
        yield f"{maker} ({where})"
