"""Run by test_patches.py with ComfyUI's Python: what core's own nodes put on a small MODEL and CLIP. Prints one JSON
object.

python patches_child.py <pack folder> <ComfyUI folder> <work folder>
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from packages import load_package

PACK, COMFYUI, WORK = map(Path, sys.argv[1:4])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402  ComfyUI reads sys.argv when told to, before its other modules are imported

comfy.options.enable_args_parsing()
import comfy.model_management  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.supported_models  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402
from comfy.model_patcher import ModelPatcher  # noqa: E402
from comfy_extras import (  # noqa: E402
    nodes_freelunch,
    nodes_hooks,
    nodes_hypernetwork,
    nodes_model_advanced,
    nodes_pag,
    nodes_tomesd,
    nodes_torch_compile,
)
from safetensors.torch import save_file  # noqa: E402

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 4,
    "context_dim": 768,
    "num_heads": 4,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_checkpoint": False,
    "legacy": False,
    "adm_in_channels": None,
}
TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q"
TEXT_LAYER = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def live_pack():
    load_package("live_pack", PACK)
    from live_pack.live_core import LiveError, notes
    from live_pack.nodes import host

    return host, notes, LiveError


def text_encoder():
    from transformers import CLIPTextConfig, CLIPTextModel

    state = CLIPTextModel(CLIPTextConfig(**TEXT, vocab_size=49408, max_position_embeddings=77)).state_dict()
    state = {name if name.startswith("text_model.") else f"text_model.{name}": tensor for name, tensor in state.items()}
    return comfy.sd.load_text_encoder_state_dicts([state], model_options={"model_config": dict(TEXT)})


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    host, notes, LiveError = live_pack()
    config = comfy.supported_models.SD15(UNET)
    config.set_inference_dtype(torch.float32, None)
    model = ModelPatcher(config.get_model({}, device="cpu"), torch.device("cpu"), torch.device("cpu"))
    clip = text_encoder()
    vae = SimpleNamespace(
        patcher=ModelPatcher(torch.nn.Linear(1, 1), torch.device("cpu"), torch.device("cpu")), get_sd=dict
    )
    lora = {
        f"{LAYER}.lora_up.weight": torch.randn(32, 4),
        f"{LAYER}.lora_down.weight": torch.randn(4, 32),
        f"{LAYER}.alpha": torch.tensor(4.0),
        f"{TEXT_LAYER}.lora_up.weight": torch.randn(64, 4),
        f"{TEXT_LAYER}.lora_down.weight": torch.randn(4, 64),
        f"{TEXT_LAYER}.alpha": torch.tensor(4.0),
    }
    bypassed, bypassed_clip = comfy.sd.load_bypass_lora_for_models(model, clip, lora, 1.0, 1.0)
    worked, worked_clip = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
    save_file({"nothing": torch.zeros(1)}, WORK / "mine.safetensors")
    folder_paths.add_model_folder_path("hypernetworks", str(WORK))
    folder_paths.folder_names_and_paths["hypernetworks"][1].add(".safetensors")
    cases = {
        "plain": (model, clip),
        "LoRA": (worked, worked_clip),
        "bypassed LoRA": (bypassed, clip),
        "bypassed LoRA of the text": (model, bypassed_clip),
        "sampling": (nodes_model_advanced.ModelSamplingDiscrete().patch(model, "v_prediction", True)[0], clip),
        "FreeU": (nodes_freelunch.FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).args[0], clip),
        "guidance": (nodes_model_advanced.RescaleCFG().patch(model, 0.7)[0], clip),
        "perturbed attention": (nodes_pag.PerturbedAttentionGuidance.execute(model, 3.0).args[0], clip),
        "merged tokens": (nodes_tomesd.TomePatchModel.execute(model, 0.3).args[0], clip),
        "hypernetwork": (nodes_hypernetwork.HypernetworkLoader.execute(model, "mine.safetensors", 1.0).args[0], clip),
        "hooks": (model, nodes_hooks.SetClipHooks().apply_hooks(clip, False, True, comfy.hooks.HookGroup())[0]),
        "compiled": (nodes_torch_compile.TorchCompileModel.execute(model, "inductor").args[0], clip),
    }
    report = {}
    for name, (network, text) in cases.items():
        with notes.gathered() as found:
            try:
                host.take_apart(network, text, vae, name)
            except LiveError as error:
                found.append(f"error: {error}")
        report[name] = found
    print(json.dumps(report))


main()
