"""Fixtures."""

import asyncio
import json
import os
import pathlib
import shutil
import socket
import sys

import hypothesis
import pytest
import torch
from packages import load_package

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


for package in ("live_core", "demo", "bench"):
    load_package(package, ROOT / package)
torch.set_num_threads(1)
hypothesis.settings.register_profile("live", deadline=None)  # a busy machine is not a failing property
hypothesis.settings.load_profile("live")


def absent(what: str) -> None:
    """A part these tests need is not on this machine: a skip by hand, a failure in CI, which must have run them."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def tiny_unet(seed: int = 0):
    """A random U-Net of SD's shape at two attention levels, eager to disagree with itself."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return (
        UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            layers_per_block=1,
            cross_attention_dim=24,
            attention_head_dim=(2, 4),
            norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
        )
        .eval()
        .requires_grad_(False)
    )


@pytest.fixture
def video_unet():
    """The tiny U-Net inflated, its temporal attention given weights so that it matters."""
    from live_core.video_unet import VideoUNet

    unet = VideoUNet(tiny_unet())
    torch.manual_seed(1)
    for name, p in unet.unet.named_parameters():
        if ".attn_temp.to_out" in name:
            torch.nn.init.normal_(p, std=0.3)
    return unet.requires_grad_(False)


@pytest.fixture(scope="session")
def demo_model():
    from live_core.pretrained import load_folder

    return load_folder(ROOT / "demo" / "model")


def reading_more(folder: pathlib.Path, channels: int) -> pathlib.Path:
    """A copy of the demo model's folder whose first layer reads so many channels, the new ones through weights that are
    small but not zero, so that what they show counts: as models that are shown more are begun.
    """
    from safetensors.torch import load_file, save_file

    shutil.copytree(ROOT / "demo" / "model", folder)
    config, weights = folder / "unet" / "config.json", folder / "unet" / "diffusion_pytorch_model.safetensors"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": channels}))
    tensors = load_file(weights)
    first = tensors["conv_in.weight"]
    shape = first.shape[0], channels - first.shape[1], *first.shape[2:]
    more = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * first.float().std() / 4
    save_file({**tensors, "conv_in.weight": torch.cat([first, more.to(first)], 1)}, weights)
    return folder


@pytest.fixture(scope="session")
def instruct_folder(tmp_path_factory):
    """An InstructPix2Pix model as such are begun."""
    return reading_more(tmp_path_factory.mktemp("models") / "instruct", 8)


@pytest.fixture(scope="session")
def inpainting_folder(tmp_path_factory):
    return reading_more(tmp_path_factory.mktemp("models") / "inpainting", 9)


@pytest.fixture(scope="session")
def paint_folder(tmp_path_factory):
    """A Paint-by-Example model, its photo encoder random, as diffusers' own pipeline saves one."""
    from paint_by_example import encoder
    from safetensors.torch import load_file, save_file

    folder = reading_more(tmp_path_factory.mktemp("models") / "paint", 9)
    for part in ("text_encoder", "tokenizer"):
        shutil.rmtree(folder / part)
    (folder / "model_index.json").write_text('{"_class_name": "PaintByExamplePipeline"}')
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 9, "num_attention_heads": 2}
    made = encoder(**tower, image_size=32, patch_size=8, projection_dim=128)
    made.save_pretrained(folder / "image_encoder")
    file = folder / "image_encoder" / "model.safetensors"
    tensors = load_file(file)
    for name in ("proj_out.weight", "uncond_vector"):  # as large as the texts that the U-Net knows
        tensors[name] = tensors[name] * 8
    save_file(tensors, file, {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def paint_model(paint_folder):
    from live_core.pretrained import load_folder

    return load_folder(paint_folder)


@pytest.fixture(scope="session")
def inpainting_model(inpainting_folder):
    from live_core.pretrained import load_folder

    return load_folder(inpainting_folder)


@pytest.fixture(scope="session")
def instruct_model(instruct_folder):
    from live_core.pretrained import load_folder

    return load_folder(instruct_folder)


@pytest.fixture(scope="session")
def clip(demo_model):
    """(3, 4, 8, 8) latents of the first frames' corner."""
    from chain import frames

    return demo_model.encode_frames(frames())


@pytest.fixture(scope="session")
def whole_clip(demo_model):
    """(3, 4, 16, 16) latents of the first frames."""
    from chain import frames

    return demo_model.encode_frames(frames(3, 128, 128))


@pytest.fixture(scope="session")
def middle_clip(demo_model):
    """(3, 4, 8, 8) latents of the middle of the first frames."""
    from chain import frames

    return demo_model.encode_frames(frames(3, 128, 128)[:, 32:96, 32:96])


@pytest.fixture(scope="session")
def concept(demo_model):
    from chain import CASE, bound

    return bound(demo_model, CASE, 64)[0]


@pytest.fixture(scope="session")
def tuned(demo_model, clip, concept):
    """The demo model with the shortest tuning of `clip` and `concept`."""
    from chain import CASE, FAST

    from live_core.tuning import tune

    return demo_model.with_tuning(tune(demo_model, clip, CASE.prompt, (concept,), FAST))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A small random CLIP in transformers layout, with the demo model's tokenizer."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "demo" / "model" / "tokenizer")
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **tower,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    CLIPModel(
        CLIPConfig(text_config=text, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=16)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Whoever looks for another machine fails the test, even if the error is caught."""
    asked = []

    def refuse(*address, **_):
        asked.append(address)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not asked


@pytest.fixture
def mine(tmp_path) -> pathlib.Path:
    """A copy of the demo model's folder."""
    return pathlib.Path(shutil.copytree(ROOT / "demo" / "model", tmp_path / "mine"))


@pytest.fixture
def my_clip(clip_folder, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(clip_folder, tmp_path / "my-clip"))


@pytest.fixture(scope="session")
def comfy():
    """scripts/headless.py, the headless client."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import headless as client

    sys.path.remove(str(ROOT / "scripts"))
    return client


@pytest.fixture(scope="session")
def comfyui():
    """(folder, Python) of the real ComfyUI."""
    if not os.environ.get("COMFYUI_DIR"):
        absent("no COMFYUI_DIR: use `make test`")
    return pathlib.Path(os.environ["COMFYUI_DIR"]), os.environ.get("COMFYUI_PYTHON", sys.executable)


@pytest.fixture(scope="session")
def server(comfy):
    if not os.environ.get("COMFYUI_DIR"):
        absent("no COMFYUI_DIR: use `make test`")
    page = os.environ.get("LIVE_FRONT_END")  # a folder of another release of ComfyUI's page
    starting = comfy.Server(ROOT, ("--front-end-root", page) if page else ())
    for extension in ("counted.py", "odd_values.py", "renamed_nodes.py", "short_of_memory.py"):
        shutil.copy(ROOT / "tests" / extension, starting.base / "custom_nodes")
    with starting as running:
        yield running


@pytest.fixture(scope="session")
def whole_tuning(demo_model, whole_clip):
    """The shortest tuning of `whole_clip` and the photo."""
    from chain import CASE, FAST, bound

    from live_core.tuning import tune

    return tune(demo_model, whole_clip, CASE.prompt, bound(demo_model, CASE, 128), FAST)


@pytest.fixture
def models_of_one_s_own(server, paint_folder, inpainting_folder, whole_tuning):
    """What stands in for those that some workflows wait for."""
    from own_models import offered

    with offered(server, paint_folder, inpainting_folder, whole_tuning):
        yield


@pytest.fixture
def talk(comfy, server):
    """Run a coroutine function of a connected client."""

    def go(function):
        async def main():
            async with comfy.Client(server.url) as client:
                return await function(client)

        return asyncio.run(main())

    return go


@pytest.fixture
def workflow(comfy):
    """The shipped workflow with few steps; call it with more overrides."""

    def make(**changes):
        from graphs import FEW, WORKFLOW

        graph = json.loads(WORKFLOW.read_text())
        for target, value in {**FEW, **changes}.items():
            comfy.override(graph, target, value)
        return graph

    return make
