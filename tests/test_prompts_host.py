"""Prompts through the real queue: what ComfyUI's syntax does in LIVE's nodes, and what is said of it on them and
before them."""

import numpy as np
import pytest
from conftest import ROOT
from graphs import frames_of, message
from safetensors.torch import save_file

from live_core.pretrained import load_folder

pytestmark = pytest.mark.host


def texts(history: dict) -> list[str]:
    return [text for output in history["outputs"].values() for text in output.get("text", ())]


@pytest.fixture
def edited(talk, workflow):
    """Run the shipped workflow with these overrides: its video's frames, and what its nodes say."""

    def go(**changes):
        async def run(client):
            outcome, events, history = await client.run(workflow(**changes))
            assert outcome == "success", message(events)
            return frames_of(await client.fetch(history["outputs"]["11"]["images"][0])), texts(history)

        return talk(run)

    return go


def test_weights_and_long_and_negative_prompts_act_and_the_words_looked_for_are_shown(edited):
    """Each by itself gives another video, from the same tuning; the node says what it looked for, tags or not."""
    prompt = "a <thing*> moving on the meadow"
    runs = [
        edited(**changes)
        for changes in (
            {},
            {"Edit prompt.value": "a (<thing*>:1.4) moving on the meadow"},
            {"Edit prompt.value": f"{prompt}, " + "in the snow " * 12},
            {"Edit Video.negative_prompt": "a red ball"},
        )
    ]
    for i, (frames, said) in enumerate(runs):
        assert all(not np.array_equal(frames, other) for other, _ in runs[:i]), i
        assert "looked for 'red ball' of the clip's prompt and '<thing*>' of this prompt" in said


@pytest.mark.parametrize(
    "prompt,says",
    [
        (
            "a blue star moving on the meadow",
            "does not say where the thing of the photo shall be; put '<thing*>' into it",
        ),
        (
            "a <thing*> and embedding:absent",
            "'embedding:absent' is not there; write one of the .safetensors files of models/embeddings",
        ),
        ("a <thing*> <lora:x:1>", "'<lora:x:1>' loads nothing in ComfyUI"),
        (" ", "has no words"),
    ],
)
def test_what_stops_the_edit_is_said_before_any_tuning(talk, workflow, prompt, says):
    outcome, events, _ = talk(
        lambda c: c.run(
            workflow(**{"Edit prompt.value": prompt, "Tune Video.clip_steps": 100_000, "Tune Video.seed": 77})
        )
    )
    assert outcome == "error" and says in message(events) and events[-1][2]["node_type"] == "LIVE_Tune"


def test_a_demo_case_s_words_are_known_before_any_tuning(talk, workflow):
    """As the workflow opens the edit prompt is linked to them, by a node of text; the placeholder is renamed."""
    graph = workflow(
        **{"Bind Photo to Placeholder.placeholder": "<other*>", "Tune Video.clip_steps": 100_000, "Tune Video.seed": 78}
    )
    outcome, events, _ = talk(lambda c: c.run(graph))
    assert outcome == "error" and "edit prompt: '<thing*>' stands for no photo here" in message(events)
    assert events[-1][2]["node_type"] == "LIVE_Tune"


def test_an_embedding_of_models_embeddings_is_read(edited, server):
    """The vector of a word is that word, in either prompt; the file may come after the model was loaded."""
    model = load_folder(ROOT / "demo" / "model")
    ids = model.tokenizer("meadow", add_special_tokens=False).input_ids
    plain, _ = edited()
    folder = server.base / "models" / "embeddings"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {"emb_params": model.text_encoder.get_input_embeddings().weight[ids].detach().clone()},
        folder / "place.safetensors",
    )
    named, said = edited(
        **{
            "Prompt.value": "a red ball moving on the embedding:place",
            "Edit prompt.value": "a <thing*> moving on the embedding:place",
        }
    )
    assert "looked for 'red ball' of the clip's prompt and '<thing*>' of this prompt" in said and np.array_equal(
        named, plain
    )


def test_what_is_no_syntax_is_noted_on_the_node(edited):
    _, said = edited(**{"Edit prompt.value": "a <thing*> BREAK moving on the (meadow"})
    assert any("'BREAK' is read as words" in text for text in said) and any(
        "parentheses do not pair" in text for text in said
    )
