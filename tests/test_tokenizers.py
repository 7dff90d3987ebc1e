"""CLIP's tokenizer is read as transformers reads it, and one that asks for more is refused."""

import pytest
from folders import DEMO, change

from live_core import LiveError
from live_core.notes import gathered
from live_core.pretrained import load_folder
from live_core.vocabulary import load_tokenizer

pytestmark = pytest.mark.usefixtures("no_network")


# ----------------------------------------------------------------------------------------------------------- tokenizers
@pytest.mark.parametrize(
    "file,changes,says",
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}, "'auto_map'"),
        ("tokenizer_config.json", {"tokenizer_class": "EvilTokenizer"}, 'tokenizer_class "EvilTokenizer"'),
        ("tokenizer_config.json", {"tokenizer_file": "../../tokenizer.json"}, "'tokenizer_file'"),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}, "'vocab_file'"),
        ("tokenizer_config.json", {"chat_template": "{{ evil }}"}, "'chat_template'"),
        ("tokenizer_config.json", {"init_inputs": ["x"]}, "'init_inputs'"),
        ("tokenizer_config.json", {"do_lower_case": False}, "do_lower_case false; LIVE takes true"),
        ("tokenizer_config.json", {"pad_token": "<pad>"}, "has no '<pad>'"),
        ("tokenizer_config.json", {"bos_token": "!"}, "other tokens than CLIP's"),
        ("tokenizer_config.json", {"model_max_length": -1}, "model_max_length -1"),
        ("vocab.json", {"extra": 9999}, "not numbered from 0"),
        ("vocab.json", {"!": "0"}, "not numbered"),
        ("vocab.json", {"!": 1}, "not numbered"),
    ],
)
def test_tokenizers_that_ask_for_more_are_refused(file, changes, says, mine):
    change(mine / "tokenizer" / file, **changes)
    with pytest.raises(LiveError, match=f"^tokenizer of 'mine'.*{says}"):
        load_folder(mine)


@pytest.mark.parametrize(
    "file,text",
    [
        ("vocab.json", "[]"),
        ("vocab.json", "{"),
        ("vocab.json", "[" * 100_000),
        ("vocab.json", "{}"),
        ("merges.txt", "a b c d\n"),
        ("merges.txt", "zz qq\n"),
        ("tokenizer_config.json", "3"),
        ("merges.txt", None),
        ("vocab.json", None),
    ],
)
def test_damaged_tokenizers_are_said_to_be(file, text, mine):
    if text is None:
        (mine / "tokenizer" / file).unlink()
    else:
        (mine / "tokenizer" / file).write_text(text)
    with pytest.raises(LiveError, match="^tokenizer of 'mine'.*(cannot be read|has no|not numbered)"):
        load_folder(mine)


TEXTS = [
    "a red ball moving on the meadow",
    "it's naïve, café! ...??",
    "3D 123 <|endoftext|> don't we'll",
    "日本語 \u00e9 e\u0301  x\n\ty",
    "A.B--C++ ?! <thing*>",
    "",
]


@pytest.mark.parametrize("folder", ["demo", "ComfyUI's"])
def test_our_tokenizer_is_transformers_own(folder, request, tmp_path):
    from transformers import CLIPTokenizer

    folder = (
        DEMO / "tokenizer" if folder == "demo" else request.getfixturevalue("comfyui")[0] / "comfy" / "sd1_tokenizer"
    )
    theirs = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    theirs.save_pretrained(tmp_path)  # of version 5: one tokenizer.json
    assert not (tmp_path / "vocab.json").exists()
    for ours in (load_tokenizer(folder, 77), load_tokenizer(tmp_path, 77)):
        assert ours.get_vocab() == theirs.get_vocab() and ours.model_max_length == min(77, theirs.model_max_length)
        for options in ({}, {"add_special_tokens": False}):
            assert [ours(text, **options).input_ids for text in TEXTS] == [
                theirs(text, **options).input_ids for text in TEXTS
            ]
        assert [getattr(ours, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")] == [
            getattr(theirs, f"{name}_token_id") for name in ("bos", "eos", "pad", "unk")
        ]


def test_a_tokenizer_s_padding_and_added_tokens(mine):
    folder = mine / "tokenizer"
    # As Stable Diffusion 2.x has it.
    (folder / "special_tokens_map.json").write_text('{"pad_token": "!", "bos_token": {"content": "<|startoftext|>"}}')
    assert (
        load_tokenizer(folder, 77).pad_token == "!"
        and load_tokenizer(folder, 77, "<|endoftext|>").pad_token == "<|endoftext|>"
    )
    (folder / "added_tokens.json").write_text('{"<cat-toy>": 254}')
    with gathered() as notes:
        load_tokenizer(folder, 77)
    assert len(notes) == 1 and "the token '<cat-toy>' was added to CLIP's" in notes[0]
