"""One step of AdamW, torn by a shortage of memory or not, is PyTorch's own to the bit."""

import pytest
import torch
from torch.optim import AdamW

from live_core import descent
from live_core.descent import descend
from live_core.memory import one_run


def tensors(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,), (2, 2, 2))]


def optimiser(owned):
    return AdamW(
        [
            {"params": owned[:2], "lr": 1e-2, "weight_decay": 1e-1},
            {"params": owned[2:], "lr": 1e-3, "weight_decay": 0.0},
        ]
    )


@pytest.mark.parametrize("most", [1.0, 1e9, None], ids=["clipped", "within the limit", "no limit"])
@pytest.mark.parametrize("torn", [None, 0, 1, 4], ids=["whole", "first tensor", "second tensor", "second step"])
def test_a_step_is_pytorch_s_own(monkeypatch, most, torn):
    ours, theirs = tensors(0), tensors(0)
    mine, reference, calls, adamw = optimiser(ours), optimiser(theirs), [], descent.adamw

    def crowded(*args, **options):
        calls.append(adamw(*args, **options))  # what it was given is changed when it fails
        if len(calls) - 1 == torn:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(descent, "adamw", crowded)
    with one_run():
        for step in range(3):
            gradients = tensors(10 + step)
            descend(mine, ours, [1024 * g for g in gradients], 1024, most)
            for tensor, gradient in zip(theirs, gradients, strict=True):
                tensor.grad = gradient
            if most is not None:
                torch.nn.utils.clip_grad_norm_(theirs, most)
            reference.step()
            assert all(map(torch.equal, ours, theirs))
    assert len(calls) == 9 + (torn is not None)
    for own, other in zip(ours, theirs, strict=True):
        assert mine.state[own].keys() == reference.state[other].keys()
        assert all(torch.equal(mine.state[own][key], value) for key, value in reference.state[other].items())


def test_a_part_of_the_tensors_steps_alone():
    owned = tensors(0)
    before = [t.clone() for t in owned]
    descend(optimiser(owned), owned[1:2], tensors(1)[1:2])
    assert [torch.equal(a, b) for a, b in zip(owned, before, strict=True)] == [True, False, True]
