"""Damage to files, drawn by hypothesis: to headers, tensors and JSON."""

import json
import math
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from live_core import LiveError

FEW = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
NUMBERS = st.integers(-2, 40) | st.sampled_from(
    [2**31, 2**63, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf]
)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=8)
    | st.sampled_from(["silu", "UNet2DConditionModel", "../x", "CrossAttnDownBlock3D"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


SHAPES = st.lists(st.integers(0, 9), max_size=5)
TYPES = st.sampled_from(
    [
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int8,
        torch.int64,
        torch.bool,
        torch.complex64,
        torch.float8_e4m3fn,
    ]
)


@st.composite
def damaged_header(draw, raw: bytes) -> bytes:
    """A safetensors file with its header rewritten, or cut, or with some bytes changed."""
    size = int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    names = sorted(header.keys() - {"__metadata__"})
    how = draw(st.sampled_from(["bytes", "cut", "metadata", "metadata", "shape", "dtype", "rename", "remove", "add"]))
    if how == "bytes":
        data = bytearray(raw)
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, 8 + size - 1))] = draw(st.integers(0, 255))
        return bytes(data)
    if how == "cut":
        return raw[: draw(st.integers(0, len(raw) - 1))]
    if how == "metadata":
        told = header.get("__metadata__", {})
        key = draw(st.sampled_from([*told, "extra"]))
        text = draw(VALUES.map(json.dumps) | st.text(max_size=10) | st.none())
        told.pop(key, None)
        header["__metadata__"] = {**told, **({} if text is None else {key: text})}
    else:
        name = draw(st.sampled_from(names))
        if how == "shape":
            header[name]["shape"] = draw(
                SHAPES
                | st.just([1, *header[name]["shape"]])
                | st.just([*header[name]["shape"], 1])
                | st.just([math.prod(header[name]["shape"])])
            )
        elif how == "dtype":
            header[name]["dtype"] = draw(
                st.sampled_from(["F64", "F32", "F16", "BF16", "I8", "I64", "BOOL", "F8_E4M3", "C64", "X", ""])
            )
        elif how == "rename":
            header[draw(st.sampled_from([*names, "unet/x", "concept/9/vector", "latent_prompt", "concept/0", ""]))] = (
                header.pop(name)
            )
        elif how == "remove":
            del header[name]
        else:
            header[draw(st.text(max_size=12))] = dict(header[name])
    told = json.dumps(header).encode(errors="surrogatepass")
    return len(told).to_bytes(8, "little") + told + body


@st.composite
def damaged_tensors(draw, file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, one of them another."""
    tensors = load_file(file)
    name = draw(st.sampled_from(sorted(tensors)))
    own = tensors.pop(name)
    how = draw(st.sampled_from(["remove", "rename", "retype", "reshape", "spoil", "add"]))
    if how == "rename":
        tensors[
            draw(
                st.sampled_from(
                    ["x", f"text_model.{name}", name.replace("to_q", "query"), name.replace("weight", "bias2")]
                )
            )
        ] = own
    elif how == "retype":
        tensors[name] = own.to(draw(TYPES))
    elif how == "reshape":
        tensors[name] = draw(
            SHAPES.map(torch.zeros) | st.just(own[None]) | st.just(own.flatten()) | st.just(own.flatten()[:1].clone())
        )
    elif how == "spoil" and own.numel():
        tensors[name] = own.clone()
        tensors[name].view(-1)[draw(st.integers(0, own.numel() - 1))] = draw(
            st.sampled_from([math.nan, math.inf, -math.inf, 1e38])
        )
    elif how == "add":
        tensors |= {name: own, draw(st.text(max_size=8)): own.clone()}
    return tensors


def damaged(data, file: Path, use) -> None:
    """`use()`, with `file` another for its length."""
    before = file.read_bytes() if file.is_file() else None
    try:
        if file.suffix == ".safetensors" and data.draw(st.booleans()):
            save_file({name: tensor.contiguous() for name, tensor in data.draw(damaged_tensors(file)).items()}, file)
        elif file.suffix == ".safetensors":
            file.write_bytes(data.draw(damaged_header(before)))
        elif file.suffix == ".json":
            file.write_text(damaged_json(data, before))
        else:
            lines = before.decode().split("\n")
            place = data.draw(st.integers(0, len(lines) - 1))
            lines[place] = data.draw(st.sampled_from(["", "a", "a b c", "zz qq", "#version"]) | st.text(max_size=5))
            file.write_bytes("\n".join(lines).encode(errors="replace"))
        use()
    except LiveError as error:
        assert str(error)
    finally:
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)


def damaged_json(data, before: bytes | None) -> str:
    """A .json file with one of its values, wherever it lies, another; or another altogether."""
    if before is None or data.draw(st.integers(0, 9)) == 0:
        return data.draw(
            VALUES.map(json.dumps)
            | st.text(max_size=10).filter(lambda text: text.isprintable())
            | st.just("[" * 20_000)
        )
    value = json.loads(before)
    inner = value
    key = data.draw(
        st.sampled_from(sorted(value))
        | st.sampled_from(["dropout", "new", "_attn_implementation", "quantization_config", "auto_map", "pad_token"])
    )
    while isinstance(inner.get(key), dict) and inner[key] and data.draw(st.booleans()):
        inner = inner[key]
        key = data.draw(st.sampled_from(sorted(inner)))
    if key in inner and data.draw(st.integers(0, 3)) == 0:
        del inner[key]
    else:
        inner[key] = data.draw(VALUES)
    return json.dumps(value)
