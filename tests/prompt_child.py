"""Run by test_syntax.py with ComfyUI's Python: prompts read and encoded by ComfyUI's own CLIP classes and by ours,
with the same small random weights. Prints one JSON object.

    python prompt_child.py <pack folder> <ComfyUI folder> <work folder>
"""

import json
import random
import sys
from pathlib import Path

from packages import load_package

PACK, COMFYUI, WORK = map(Path, sys.argv[1:4])
sys.argv = [sys.argv[0], "--cpu", "--fp32-text-enc"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402  ComfyUI reads sys.argv when told to, before its other modules are imported

comfy.options.enable_args_parsing()
import comfy.sd1_clip  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402

WIDTH = 32
SIZE = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "quick_gelu",
}
WRITTEN = [
    "a man skiing in the snow",
    "",
    "a (blue star:1.2) moving on the meadow",
    "((a) (b:0.5) c:1.3)",
    "a \\(plain\\) (star\\):0.7)",
    "(a:1.2)(b:0)",
    "(a:-0.5) b",
    "unpaired (one here",
    "and) another (here:1.2) there",
    "(a:b:1.4) (c:d) (:1.5) (e:)",
    "it's a C++ ... -- ?! <<>> snow_man's 4k, don't (stop!!:1.1)",
    "a embedding:name moving on the meadow",
    "embedding:name, and (embedding:wide:0.6)",
    "embedding:wide<x embedding:name",
    "a,embedding:name is words",
    "embedding:sub/deep embedding:deep embedding:name.safetensors",
    "embedding: name here",
    " ".join(f"word{i}" for i in range(60)),
    "(very long weighted text " * 12 + ":0.9)",
    "(one two three:1.1) " * 40,
    "x " * 75,
    "x " * 76,
    "((((deep))))",
    "e\u0301t\u00e9 \u4e2d\u6587 \U0001f600!! \u0130stanbul",
    "a\nb\tc  d",
]
PARTS = [
    "a",
    "cat",
    " ",
    " ",
    ", ",
    "(",
    ")",
    ":1.3)",
    ":0.5)",
    "(blue star:1.2)",
    "\\(",
    "\\)",
    " embedding:name ",
    " embedding:wide, ",
    "extraordinarily",
    "...",
    "!?",
    "'s",
    "<x*>",
    "snowboarder in the mountains at noon",
    " -- ",
    "C++",
    ":",
    "(((",
    "4k",
    "(photo of a very small red house:1.1)",
]


def random_prompts(count: int) -> list[str]:
    choice = random.Random(0)
    return ["".join(choice.choice(PARTS) for _ in range(choice.randint(1, 60))) for _ in range(count)]


def live_core():
    load_package("live_core", PACK / "live_core")
    from live_core import prompts, text

    return prompts, text


def embeddings() -> dict[str, Path]:
    """One vector, three, one in a folder, and one of another model's beside ours in one file."""
    generator = torch.Generator().manual_seed(1)
    files = {
        "name.safetensors": {"emb_params": torch.randn(1, WIDTH, generator=generator)},
        "wide.safetensors": {
            "clip_g": torch.randn(2, 40, generator=generator),
            "clip_l": torch.randn(3, WIDTH, generator=generator),
        },
        "sub/deep.safetensors": {"emb_params": torch.randn(WIDTH, generator=generator)},
    }
    for name, tensors in files.items():
        (WORK / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, WORK / name)
    return {name: WORK / name for name in files}


@torch.no_grad()
def main() -> None:
    prompts, text = live_core()
    files = embeddings()
    torch.manual_seed(0)
    ours = CLIPTextModel(
        CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, bos_token_id=49406, eos_token_id=49407, **SIZE)
    ).eval()
    state = {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in ours.state_dict().items()
    }
    tokenizer = CLIPTokenizer.from_pretrained(COMFYUI / "comfy" / "sd1_tokenizer", local_files_only=True)
    tokenizer.model_max_length = 77
    report = {"ids": [], "weights": [], "apart": 0.0, "chunks": [], "prompts": 0}
    for padding, pad_with_end in (("<|endoftext|>", True), ("!", False)):  # Stable Diffusion 1.x, 2.x
        tokenizer.pad_token = padding
        config = {**SIZE, "max_position_embeddings": 77, "eos_token_id": 49407}
        special = {"start": 49406, "end": 49407, "pad": tokenizer.pad_token_id}
        theirs = comfy.sd1_clip.SDClipModel(textmodel_json_config=config, special_tokens=special, dtype=torch.float32)
        missing = theirs.load_sd(state)
        assert not missing.unexpected_keys and all("projection" in key for key in missing.missing_keys), missing
        reader = comfy.sd1_clip.SDTokenizer(
            pad_with_end=pad_with_end, embedding_directory=str(WORK), embedding_size=WIDTH
        )
        known = text.Embeddings(files, WIDTH)
        for prompt in [*WRITTEN, *random_prompts(60)]:
            read, pairs = prompts.read_prompt(prompt, tokenizer, {}, known), reader.tokenize_with_weights(prompt)
            flat = [pair for chunk in pairs for pair in chunk]
            if [-1 if torch.is_tensor(token) else token for token, _ in flat] != [max(i, -1) for i in read.ids]:
                report["ids"].append(prompt)
                continue
            if [weight for _, weight in flat] != list(read.weights):
                report["weights"].append(prompt)
            wanted, got = theirs.encode_token_weights(pairs)[0][0], text.encode(read, ours)
            report["apart"] = max(report["apart"], float(((got - wanted).abs() / wanted.abs().clamp_min(1)).max()))
            report["chunks"].append(len(pairs))
            report["prompts"] += 1
    print(json.dumps(report))


main()
