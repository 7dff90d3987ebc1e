"""A photo as what a U-Net reads in the place of a text: one token, of CLIP's view of the whole photo (Paint by Example,
Yang et al. 2023, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import CLIPVisionConfig

# CLIP ViT-L/14, which the published model has.
PUBLISHED = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "hidden_act": "quick_gelu",
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
}
IN_FOLDER, IN_FILE = "folder", "file"
# Beginnings of names, and parts of them, as a diffusers folder and a single file have them -> ours.
_NAMES = {
    IN_FOLDER: (
        {"model.": "vision.", "mapper.blocks.": "mapper.", "final_layer_norm.": "norm.", "uncond_vector": "no_photo"},
        {
            ".norm3.": ".norm2.",
            ".attn1.to_qkv.": ".self_attn.in_proj_",
            ".attn1.to_out.0.": ".self_attn.out_proj.",
            ".ff.net.0.proj.": ".linear1.",
            ".ff.net.2.": ".linear2.",
        },
    ),
    IN_FILE: (
        {
            "cond_stage_model.transformer.": "vision.",
            "cond_stage_model.mapper.resblocks.": "mapper.",
            "cond_stage_model.final_ln.": "norm.",
            "learnable_vector": "no_photo",
        },
        {
            ".ln_1.": ".norm1.",
            ".ln_2.": ".norm2.",
            ".attn.c_qkv.": ".self_attn.in_proj_",
            ".attn.c_proj.": ".self_attn.out_proj.",
            ".mlp.c_fc.": ".linear1.",
            ".mlp.c_proj.": ".linear2.",
        },
    ),
}


class PhotoEncoder(nn.Module):
    """CLIP's pooled view, through a mapper of one block for each five of CLIP's layers, normed and projected.
    `no_photo`: the token of none, learned for guidance."""

    def __init__(self, config: CLIPVisionConfig):
        from transformers import CLIPVisionModel

        super().__init__()
        vision = CLIPVisionModel(config)
        width, blocks = config.hidden_size, (config.num_hidden_layers + 1) // 5
        self.size = config.image_size  # pixels
        self.vision = getattr(vision, "vision_model", vision)  # transformers dropped this level in version 5
        self.mapper = nn.Sequential(*(_block(width) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, config.projection_dim)
        self.no_photo = nn.Parameter(torch.empty(1, 1, config.projection_dim))

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """(n, 1, d), for photos (n, 3, s, s) as `pictures.as_clip_sees` gives them."""
        pooled = self.vision(pixel_values=photos).pooler_output
        return self.proj_out(self.norm(self.mapper(pooled[:, None])))


def _block(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, 1, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)


def renamed(tensors: Mapping[str, torch.Tensor], layout: str) -> dict[str, torch.Tensor]:
    """An encoder's tensors of a folder or a single file under our names. What has none keeps its own."""
    beginnings, parts = _NAMES[layout]
    found = {}
    for key, tensor in _joined(tensors).items():
        if key.endswith(".position_ids"):
            continue
        beginning = next((each for each in beginnings if key.startswith(each)), "")
        name = beginnings.get(beginning, "") + key.removeprefix(beginning)
        if name.startswith("mapper."):
            for old, new in parts.items():
                name = name.replace(old, new)
        found[name.replace("vision.vision_model.", "vision.", 1)] = tensor
    return found


def _joined(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Queries, keys and values as one tensor, wherever there are three alike."""
    found = dict(tensors)
    for query in [key for key in tensors if ".attn1.to_q." in key]:
        names = [query.replace(".to_q.", f".to_{each}.") for each in "qkv"]
        alike = {(tensors[name].shape, tensors[name].dtype) for name in names if name in tensors}
        if all(name in tensors and tensors[name].ndim for name in names) and len(alike) == 1:
            found[query.replace(".to_q.", ".to_qkv.")] = torch.cat([found.pop(name) for name in names])
    return found
