"""Run by test_host.py with ComfyUI's Python: a small random CLIP through ComfyUI's own classes, beside transformers.
Prints one JSON object.

python clip_child.py <pack folder> <ComfyUI folder> <work folder>
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from packages import load_package

PACK, COMFYUI, WORK = map(Path, sys.argv[1:4])
sys.argv = [sys.argv[0], "--cpu", "--fp32-text-enc"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402  ComfyUI reads sys.argv when told to, before its other modules are imported

comfy.options.enable_args_parsing()
import comfy.clip_vision  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.sd1_clip  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer  # noqa: E402

TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
PROMPTS = ("a red ball moving on the meadow", "a blue star, moving!")


def live_pack():
    load_package("live_pack", PACK)
    from live_pack.live_core import LiveError, concept, metrics, tunings
    from live_pack.nodes import evaluate, host

    return evaluate, host, metrics, concept, tunings, LiveError


def text_encoder(state: dict, name: str):
    """As Load CLIP loads the file of a CLIP ViT-L, at this size."""
    save_file(state, WORK / name)
    return comfy.sd.load_clip([str(WORK / name)], model_options={"model_config": dict(TEXT)})


def image_encoder(state: dict, width: int = 64):
    """As Load CLIP Vision loads it, but for the size, which it takes from a table of whole models."""
    encoder = comfy.clip_vision.ClipVisionModel(
        {
            **VISION,
            "num_channels": 3,
            "hidden_act": "quick_gelu",
            "model_type": "clip_vision_model",
            "projection_dim": width,
        }
    )
    encoder.load_sd(
        {
            name: tensor[:width] if name == "visual_projection.weight" else tensor
            for name, tensor in state.items()
            if name.startswith("vis")
        }
    )
    return encoder


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    evaluate, host, metrics, concept, tunings, LiveError = live_pack()
    torch.manual_seed(0)
    ids = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
    theirs = CLIPModel(CLIPConfig(text_config={**TEXT, **ids}, vision_config=VISION, projection_dim=64)).eval()
    for weight in theirs.parameters():
        weight.copy_(torch.randn_like(weight) * 0.1 + weight)
    theirs.visual_projection.weight.neg_()  # for a score above 0
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    whole, vision = text_encoder(state, "whole.safetensors"), image_encoder(state)

    reference = metrics.CLIP(theirs, CLIPTokenizer.from_pretrained(host.tokenizer_folder()))
    ours = host.ComfyClip(vision, whole)
    fitting, other = (
        torch.randint(0, 256, size, generator=torch.Generator().manual_seed(1)) / 255
        for size in ((20, 56, 56, 3), (2, 96, 128, 3))
    )
    report = {
        "texts": max(
            float((ours.text(prompt) - reference.text(prompt)).abs().max()) for prompt in (*PROMPTS, "a (round:2) ball")
        ),
        "texts_differ": float((ours.text(PROMPTS[0]) - ours.text(PROMPTS[1])).abs().max()),
        "images": float((ours.images(fitting) - reference.images(fitting)).abs().max()),
        "scaled_images": float((ours.images(other) - reference.images(other)).abs().max()),
    }

    def measure(**sockets) -> list[str]:
        values = evaluate.Measure.execute(
            images=fitting, edited=fitting, clip_folder="none", prompt=PROMPTS[0], source_prompt=PROMPTS[1], **sockets
        ).args
        return [None if value != value else value for value in values[:3]]

    features, texts = reference.images(fitting), [reference.text(prompt) for prompt in PROMPTS]
    report |= {
        "both": measure(clip_vision=vision, clip=whole),
        "vision_alone": measure(clip_vision=vision),
        "expected": [
            float(f.float().mean())
            for f in (
                metrics.clip_score(features, texts[0]),
                metrics.temporal_consistency(features),
                metrics.frame_accuracy(features, *texts),
            )
        ],
    }

    projection = "text_projection.weight"
    bare = {name: tensor for name, tensor in state.items() if name != projection}
    unfilled = text_encoder(bare, "bare.safetensors")
    # What the memory held may look like a projection.
    unfilled.cond_stage_model.clip_l.transformer.text_projection.weight.copy_(state[projection])
    unknown = text_encoder({**state, projection: torch.eye(64)}, "identity.safetensors")
    blank = image_encoder({**state, "visual_projection.weight": torch.zeros(64, 48)})
    refused = {
        "no projection in the file": (vision, unfilled),
        "identity": (vision, unknown),
        "other width": (image_encoder(state, 32), whole),
        "blank": (blank, None),
        "siglip": (SimpleNamespace(model_type="siglip_vision_model"), None),
        "no clip": (vision, SimpleNamespace(cond_stage_model=SimpleNamespace(t5xxl=0))),
    }
    for name, sockets in refused.items():
        try:
            host.ComfyClip(*sockets)
            report[name] = "accepted"
        except LiveError as error:
            report[name] = str(error)

    vector = torch.randn(1, 64)
    tunings.save_embedding(
        concept.Concept("<thing*>", "thing", torch.zeros(1, 4, 2, 2), vector), WORK / "mine.safetensors"
    )
    report["embedding"] = torch.equal(comfy.sd1_clip.load_embed("mine", [str(WORK)], 64, "clip_l"), vector)
    print(json.dumps(report))


main()
