"""What is asked of an edit and has no effect is said."""

import re
from dataclasses import replace

import pytest
from conftest import ROOT
from transformers import CLIPTokenizer

from live_core.change import Edit, word_edits
from live_core.editing import edit
from live_core.frames import FramePlan
from live_core.inversion import invert
from live_core.methods import LIVE, Method
from live_core.notes import gathered
from live_core.prompts import read_prompt

TOKENIZER = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")
BALL = "a red ball moving on the meadow"


@pytest.mark.parametrize(
    "method,change,says",
    [
        ({}, {"weights": (("ball", 2.0),)}, "word weights: 'ball' acts while its attention is injected"),
        ({}, {"weights": (("ball", 1.0),)}, None),
        ({}, {"keep_words": "red, ball"}, "keep words: 'red' acts .* at none of the 4 steps"),
        ({"cross_ratio": 0.5}, {"windows": (("ball", (0.1, 0.15)),)}, "word windows: 'ball' acts"),
        ({"cross_ratio": 0.5}, {"windows": (("ball", (0.0, 0.0)),)}, None),
        ({"cross_ratio": 0.5}, {"windows": (("ball", (0.0, 0.0)),), "weights": (("ball", 2.0),)}, "word weights: "),
        ({"cross_ratio": 0.5}, {"weights": (("ball", 2.0),), "keep_words": "red"}, None),
    ],
)
def test_words_that_no_injection_reaches_are_noted(method, change, says):
    prompt = read_prompt(BALL, TOKENIZER)
    with gathered() as notes:
        word_edits(Method("m", ("self",), **method), prompt, prompt, Edit(BALL, **change), 4)
    assert bool(notes) == (says is not None) and all(re.match(says, text) for text in notes[:1])


@pytest.mark.parametrize(
    "method,change,says",
    [
        ({}, {"source_words": "ball"}, ["source words: 'ball', but no mask of 'x' reads them; set blend threshold"]),
        ({}, {"subtract_words": "meadow"}, ["subtract words: 'meadow', but no mask"]),
        ({"blend_threshold": 0.3}, {"source_words": "ball", "edit_words": "ball", "subtract_words": "meadow"}, []),
        (
            {"blend_threshold": 0.3, "mask_from": "source"},
            {"source_words": "ball", "edit_words": "ball"},
            ["edit words: 'ball', but no mask of 'x' reads them; take the mask from 'both'"],
        ),
        ({"blend_threshold": 0.3, "blend_start": 0.6, "blend_end": 0.7}, {}, ["blend start, blend end: 0.6 to 0.7"]),
        ({"edit_latent_prompt": "reference"}, {}, ["edit latent prompt: 'reference', but 'x' has no latent prompt"]),
        ({"image_guidance_scale": 2.0}, {}, ["image guidance scale: 2 is not read"]),
        ({"image_guidance_scale": 1.0}, {}, []),
    ],
)
def test_what_is_asked_of_masks_and_seats_that_are_not_there_is_noted(demo_model, clip, method, change, says):
    row = Method("x", FramePlan(("self",)), guidance_scale=2, **method)
    inversion = invert(demo_model, clip, BALL, row, 2)
    with gathered() as notes:
        edit(demo_model, inversion, Edit(BALL.replace("red", "blue"), **change))
    found = [text for text in notes if not text.startswith("mask: ")]
    assert len(found) == len(says) and all(map(str.startswith, found, says)), notes


def test_live_without_a_tuning_or_without_a_photo_says_what_is_in_the_seats(demo_model, clip, tuned):
    """Its words are edited all the same."""
    change = Edit(BALL.replace("red", "blue"))
    photo = (r"unconditional latent prompt: 'reference', but 'a blue ball .*' names no photo",)
    first_frame = (r"method: 'live' has a latent prompt, and the model is not tuned, so the clip's first frame takes",)
    bare = tuned.with_tuning(replace(tuned.tuning, latent_prompt=None, concepts=()))
    trained = tuned.with_tuning(replace(tuned.tuning, concepts=()))
    without = (r"method: 'live' has a latent prompt, and the model was tuned without one",)
    for model, at_inversion, at_edit in (
        (demo_model, first_frame, first_frame + photo),
        (bare, without, without + photo),
        (trained, (), photo),
    ):
        with gathered() as said:
            inversion = invert(model, clip, BALL, LIVE, 1)
        assert len(said) == len(at_inversion) and all(map(re.match, at_inversion, said)), said
        with gathered() as said:
            edit(model, inversion, change)
        said = [text for text in said if not text.startswith("mask: ")]
        assert len(said) == len(at_edit) and all(map(re.match, at_edit, said)), said


@pytest.mark.host
def test_a_norm_without_its_frame_is_noted(talk):
    """In either way of asking for it."""
    frames = {"frame_plan": "self, first", "source": "reconstruction", "guidance_scale": 7.5, "start": 0.0}
    frames |= {"min_width": 0.0, "decoupled_guidance": False, "norm_latent_prompt": False}
    frames |= {name: "trained" for name in ("edit_latent_prompt", "unconditional_latent_prompt")}
    frames |= {"image_guidance_scale": 0.0}

    async def each(client):
        said = []
        for more in ({"norm": "clip and latent prompt"}, {"norm_latent_prompt": True}, {"norm": "clip"}):
            graph = {"1": {"class_type": "LIVE_MethodFrames", "inputs": {**frames, **more}}}
            graph["2"] = {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}
            _, _, history = await client.run(graph)
            said.append(history["outputs"].get("1", {}).get("text", []))
        return said

    one, other, none = talk(each)
    assert one == other and one[0].startswith("norm: 'clip and latent prompt', but the frame plan") and none == []
