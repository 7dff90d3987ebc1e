"""The demo model's tokenizer: CLIP's byte-pair scheme with a vocabulary of the sprite world's words.

Every word a caption uses is one token; any other word falls apart into letters, as a rare word does in CLIP's own
tokenizer.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

from .world import COLOURS, SCENES, SHAPES

CONTEXT = 32  # tokens in a prompt, start and end included
WORDS = [
    *COLOURS,
    *SHAPES,
    *SCENES,
    "thing",
    "nothing",
    "moving",
    "photo",
    "a",
    "an",
    "the",
    "and",
    "of",
    "on",
    "in",
    "is",
    "with",
    "over",
    "style",
    "picture",
    "video",
]
# Of instructions, beside them.
INSTRUCTION_WORDS = [
    *WORDS,
    "turn",
    "into",
    "make",
    "it",
    "put",
    "remove",
    "change",
    "colour",
    "something",
    "else",
    "'s",
]


def save_tokenizer(folder: Path, words: list[str] = WORDS) -> None:
    """A tokenizer in which each of `words` is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single = string.ascii_lowercase + string.digits + string.punctuation
    trainer = trainers.BpeTrainer(
        vocab_size=10_000, end_of_word_suffix="</w>", initial_alphabet=list(single), show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(words), " ".join(single)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].get) + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in model["merges"]) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "model_max_length": CONTEXT,
                "do_lower_case": True,
            },
            indent=1,
        )
        + "\n"
    )
