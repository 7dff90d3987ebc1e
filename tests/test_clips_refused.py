"""Clips that no model takes, or takes badly: said before anything is computed."""

import pytest
import torch
from graphs import message

from live_core import LiveError
from live_core.notes import gathered
from live_core.pictures import check_clip


@pytest.mark.parametrize(
    "shape,says",
    [
        (
            (8, 102, 134, 3),
            (
                "134x102 pixels; width and height must be multiples of 8, such as 128x96: put Fit Clip .* or Resize"
                " Image/Mask"
            ),
        ),
        ((0, 0, 0, 3), "images: shape .* animated WebP .* Load Image"),
        ((8, 64, 64, 4), "images: 4 channels"),
    ],
)
def test_clips_that_no_model_takes(shape, says):
    with pytest.raises(LiveError, match=says):
        check_clip(torch.zeros(shape), 8, 512)


@pytest.mark.parametrize(
    "shape,says",
    [
        ((3, 2160, 3840, 3), "3 frames of 3840x2160, 95 times the pixels"),
        ((300, 512, 512, 3), "300 times"),
        ((8, 72, 128, 3), "128x72 pixels, and this model was made for 512x512"),
        ((24, 512, 512, 3), None),
        ((16, 768, 768, 3), None),
        ((300, 64, 64, 3), "64x64 pixels"),
        ((8, 288, 512, 3), None),
    ],
)
def test_an_early_word_about_size(shape, says):
    with gathered() as notes:
        check_clip(torch.zeros(1).expand(shape), 8, 512)
    assert len(notes) == (says is not None) and all(says in text for text in notes)


@pytest.mark.host
def test_the_word_about_size_comes_before_tuning(talk, workflow):
    """On Bind, which reads the clip's size first."""
    graph = workflow(**{"Tune Video.clip_steps": 0, "Tune Video.photo_steps": 0})  # an error, so that nothing is tuned
    graph["big"] = {
        "class_type": "ImageScale",
        "inputs": {"image": ["2", 0], "upscale_method": "area", "width": 512, "height": 512, "crop": "disabled"},
    }
    for node in ("5", "6", "7"):
        graph[node]["inputs"]["images"] = ["big", 0]
    said = []
    outcome, events, _ = talk(
        lambda c: c.run(graph, lambda kind, data: kind == "text" and said.append(data[4:].decode()))
    )
    assert (
        outcome == "error"
        and "both 0" in message(events)
        and any("8 frames of 512x512, 128 times the pixels" in text for text in said)
    )
