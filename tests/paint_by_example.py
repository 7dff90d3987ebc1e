"""diffusers' own photo encoder of Paint-by-Example, and how a single file names its tensors."""

import torch

PUBLISHED = {  # CLIP ViT-L/14's
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
}
# As a folder names them, and as a single file does.
NAMES = {
    "model.": "cond_stage_model.transformer.vision_model.",
    "mapper.blocks.": "cond_stage_model.mapper.resblocks.",
    "final_layer_norm.": "cond_stage_model.final_ln.",
    "proj_out.": "proj_out.",
    "uncond_vector": "learnable_vector",
}
IN_A_BLOCK = {
    "norm1": "ln_1",
    "norm3": "ln_2",
    "attn1.to_q": "attn.c_qkv",
    "attn1.to_out.0": "attn.c_proj",
    "ff.net.0.proj": "mlp.c_fc",
    "ff.net.2": "mlp.c_proj",
}


def encoder(**config):
    """One with random weights, of transformers' `CLIPVisionConfig`."""
    # diffusers keeps it among what it no longer tends.
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import PaintByExampleImageEncoder
    from transformers import CLIPVisionConfig

    return PaintByExampleImageEncoder(CLIPVisionConfig(**config)).eval()


def in_a_file(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A folder's tensors as the published single file has them: queries, keys and values are one."""
    found = {}
    for key, tensor in tensors.items():
        beginning = next(each for each in NAMES if key.startswith(each))
        name = key.removeprefix(beginning).removeprefix("vision_model.")
        if beginning == "mapper.blocks." and (".to_k." in name or ".to_v." in name):
            continue
        if ".to_q." in name:
            tensor = torch.cat([tensors[key.replace(".to_q.", f".to_{each}.")] for each in "qkv"])
        if beginning == "mapper.blocks.":
            block, layer, kind = name.partition(".")[0], *name.partition(".")[2].rsplit(".", 1)
            name = f"{block}.{IN_A_BLOCK[layer]}.{kind}"
        found[NAMES[beginning] + name] = tensor
    return found
