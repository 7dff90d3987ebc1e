"""The workflow instruct_clip as it ships, held to the clip that is right."""

import json

import pytest
from conftest import ROOT
from graphs import frames_of, message

from demo.cases import CASES
from demo.frames import to_frames, to_pictures
from demo.measure import measure
from live_core.pretrained import load_folder

pytestmark = pytest.mark.host


def test_the_workflow_s_clip_is_the_one_that_was_asked_for(talk):
    """Nearer to the true answer through the autoencoder, which is the best that the model can draw, than to the clip
    unedited.
    """
    graph = json.loads((ROOT / "workflows" / "api" / "instruct_clip.json").read_text())
    case, model = CASES["ball-to-star"], load_folder(ROOT / "demo" / "model_instruct")

    async def run(client):
        outcome, events, entry = await client.run(graph)
        assert outcome == "success", message(events)
        return await client.fetch(entry["outputs"]["11"]["images"][0])

    edited = measure(case, frames_of(talk(run)))
    unedited = measure(case, case.clip.frames())
    best = measure(case, to_frames(model.decode_frames(model.encode_frames(to_pictures(case.truth.frames())))))
    assert edited["object_accuracy"] > (unedited["object_accuracy"] + best["object_accuracy"]) / 2, edited
    assert edited["edit_error"] < (unedited["edit_error"] + best["edit_error"]) / 2, edited
