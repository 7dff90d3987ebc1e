"""What an edit by instruction does not take is refused, or said."""

from dataclasses import replace

import pytest
import torch

from live_core import LiveError
from live_core.change_map import change_mask
from live_core.frames import FramePlan, GroupPlan
from live_core.instruct import instruct
from live_core.instruct_settings import GATHER_AND_SWAP, INSTRUCT_PIX2PIX, Instruction, InstructMethod, Search
from live_core.local import Local
from live_core.notes import gathered


@pytest.fixture(scope="module")
def seven():
    """(7, 4, 8, 8) latents."""
    return torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def edited(model, clip, method=GATHER_AND_SWAP, **options) -> torch.Tensor:
    return instruct(model, clip, Instruction("make the ball blue", steps=2, seed=3), method, **options)


def test_what_an_instruction_cannot_do_is_said(instruct_model, seven):
    """As of any prompt, at the edit and at the search for a mask."""
    for text, says in (
        ("()", "instruction: '\\(\\)' has no words"),
        ("make it <lora:blue:1>", "instruction: '<lora:blue:1>' loads nothing"),
        ("make the <thing*> blue", "instruction: '<thing\\*>' stands for no photo here"),
    ):
        for call in (
            lambda text=text: instruct(instruct_model, seven, Instruction(text, 1)),
            lambda text=text: change_mask(instruct_model, seven, Instruction(text), Search(draws=1)),
        ):
            with pytest.raises(LiveError, match=says):
                call()
    with gathered() as notes:
        instruct(
            instruct_model,
            seven[:4],
            Instruction("make it blue BREAK now", 1),
            replace(INSTRUCT_PIX2PIX, guidance_scale=0.0),
        )
    assert [text.split(",")[0] for text in notes if "few words" not in text] == [
        "instruction: 'BREAK' is read as words",
        "guidance scale: 0",
    ]


@pytest.mark.parametrize(
    "texts,says",
    [
        (torch.zeros(1, 5, 16), "texts of 5 vectors of 16 numbers, and this model reads vectors of 128"),
        (torch.zeros(1, 0, 128), "texts of 0 vectors"),
        (torch.full((1, 5, 128), torch.inf), "not finite"),
    ],
)
def test_texts_that_the_model_cannot_read_are_refused(instruct_model, seven, texts, says):
    with pytest.raises(LiveError, match=f"conditioning: .*{says}"):
        instruct(instruct_model, seven, Instruction(""), texts=texts)


def test_bad_inputs_are_named(instruct_model, demo_model, seven):
    mask = torch.ones(3, 64, 64)
    for says, call in {
        "instruction: '  '; say what to change": lambda: instruct(instruct_model, seven, Instruction("  ")),
        "mask: 3 frames of 64x64; the clip has 7 frames": lambda: edited(instruct_model, seven, local=Local(mask)),
        "key frames: 8, and the clip has 7 frames": lambda: edited(
            instruct_model, seven, replace(GATHER_AND_SWAP, frame_plan=GroupPlan(size=8))
        ),
        "'model' is a text-to-image model .*Edit by Instruction takes an InstructPix2Pix model": lambda: edited(
            demo_model, seven
        ),
        "conditioning: 3 texts for a clip of 7 frames": lambda: edited(
            instruct_model, seven, texts=torch.zeros(3, 5, 16)
        ),
        "window: 3 of 7 frames.*so it has to be whole": lambda: edited(
            instruct_model, seven, InstructMethod("previous", FramePlan(("previous",), norm="frame")), window=3
        ),
        "window: 0": lambda: edited(instruct_model, seven, window=0),
        "boundary: 'falling'": lambda: Local(mask, "falling"),
        "origin: 'drawn'": lambda: Local(mask, origin="drawn"),
        "swap until: 2": lambda: replace(GATHER_AND_SWAP, swap_until=2),
        "key frames: 0": lambda: GroupPlan(size=0),
    }.items():
        with pytest.raises(LiveError, match=says):
            call()
