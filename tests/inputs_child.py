"""Run by test_inputs.py with ComfyUI's Python: nodes are given what links and API graphs may bring. Prints one JSON
object: what each said.

python inputs_child.py <pack folder> <ComfyUI folder>
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from packages import load_package

PACK, COMFYUI = map(Path, sys.argv[1:3])
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, str(COMFYUI))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import torch  # noqa: E402

INF, NAN = float("inf"), float("nan")
CLIP, MASK, CALM = torch.rand(2, 16, 16, 3), torch.ones(1, 16, 16), {"dilation": 0, "blur": 0.0}
TORN, GREY = CLIP.clone(), torch.full((2, 16, 16, 3), 128.0)
TORN[1, 3, 3] = NAN


def rows() -> dict:
    """Name -> (node, what it is given in the place of what works)."""
    return {
        "negative": ("Composite", {"dilation": -3}),
        "huge": ("Composite", {"dilation": 2**70}),
        "endless": ("Composite", {"dilation": 10**5000}),
        "half": ("Composite", {"dilation": 2.5}),
        "boolean": ("Composite", {"dilation": True}),
        "number as text": ("Composite", {"dilation": "4"}),
        "NaN": ("Composite", {"blur": NAN}),
        "infinite": ("Composite", {"blur": INF}),
        "beyond": ("Composite", {"blur": 200.5}),
        "list": ("Composite", {"blur": [1.0]}),
        "text for a clip": ("Composite", {"images": "clip.mp4"}),
        "number for a mask": ("Composite", {"mask": 3}),
        "nothing": ("Composite", {"mask": None}),
        "1 channel": ("Composite", {"images": CLIP[..., :1]}),
        "a batch too many": ("Composite", {"images": CLIP[None]}),
        "no frames": ("Composite", {"images": CLIP[:0]}),
        "bytes": ("Composite", {"images": (CLIP * 255).byte()}),
        "torn": ("Composite", {"edited": TORN}),
        "torn mask": ("Composite", {"mask": TORN[..., 0]}),
        "boolean mask": ("Composite", {"mask": MASK.bool()}),
        "mask of four axes": ("Composite", {"mask": MASK[None]}),
        "no mask": ("Composite", {"mask": MASK[:, :0]}),
        "one pixel": ("Composite", {"mask": torch.ones(1, 1, 1), "blur": 3.0}),
        "other size": ("Composite", {"mask": torch.ones(1, 8, 16)}),
        "eight bits as floats": ("Composite", {"edited": GREY}),
        "mask of two axes": ("Composite", {"mask": MASK[0]}),
        "whole as float": ("Composite", {"dilation": 1.0}),
        "text for a model": ("Tune", {"model": "sd15"}),
        "no model": ("Tune", {"model": None}),
        "a clip for a model": ("Tune", {"model": CLIP}),
        "concept of nothing": ("Tune", {"concept": ()}),
        "number for text": ("Tune", {"prompt": 7}),
        "half a character": ("Tune", {"prompt": "a \ud83d ball"}),
        "text for yes or no": ("Tune", {"photo_latent_prompt": "no"}),
        "no such choice": ("Tune", {"photo_loss": "cube"}),
        "number for a choice": ("Tune", {"photo_loss": 3}),
        "negative steps": ("Tune", {"clip_steps": -1}),
        "65 bits": ("Tune", {"seed": 2**64}),
        "negative seed": ("Tune", {"seed": -1}),
        "no such method": ("Invert", {"method": {"method": "lvie"}}),
        "text for a method": ("Invert", {"method": "live"}),
        "no method": ("Invert", {"method": None}),
        "no row": ("Invert", {"method": {"method": "custom", "row": None}}),
        "text for a row": ("Invert", {"method": {"method": "custom", "row": "live"}}),
        "setting of a method": ("Edit", {"method": {"method": "live", "cross_ratio": 1.5}}),
        "NaN in a method": ("Edit", {"method": {"method": "live", "guidance_scale": NAN}}),
        "nested choice": ("Edit", {"method": {"method": "live", "self_target": "everywhere"}}),
        "records of text": ("Inspect", {"records": "all"}),
        "no such view": ("Inspect", {"which": {"which": "wrods"}}),
        "rows": (
            "Inspect",
            {"which": {"which": "steps", "words": "", "side": "edit", "first": 0, "last": 1, "rows": 0}},
        ),
        "text for MODEL": ("FromComfy", {"model": "sd15"}),
        "no text encoder": ("FromComfy", {"clip": None}),
        "number for a video": ("FitClip", {"video": 3}),
        "pictures for a video": ("FitClip", {"video": CLIP}),
        "pictures for MODEL": ("FromComfy", {"model": CLIP}),
        "pictures for CLIP_VISION": ("Measure", {"clip_vision": CLIP}),
        "a pair for a VAE": ("FromComfy", {"vae": (1, 2)}),
        "sparse pictures": ("Composite", {"images": CLIP.to_sparse()}),
        "pictures of no values": ("Composite", {"images": CLIP.to("meta")}),
    }


@torch.inference_mode()  # as ComfyUI runs nodes
def main() -> None:
    load_package("live_pack", PACK)
    from live_pack import nodes
    from live_pack.live_core import LiveError
    from live_pack.live_core.inversion import Inversion
    from live_pack.live_core.pretrained import load_folder
    from live_pack.live_core.records import Records
    from live_pack.nodes.sockets import HAS

    def like(kind: str) -> SimpleNamespace:
        return SimpleNamespace(**dict.fromkeys(HAS[kind]))

    model = load_folder(PACK / "demo" / "model")
    works = {
        "Composite": {"images": CLIP, "edited": CLIP, "mask": MASK, **CALM},
        "Tune": {"model": model, "images": CLIP, "prompt": "a ball"},
        "Invert": {"model": model, "images": CLIP, "prompt": "a ball"},
        "Edit": {"model": model, "inversion": object.__new__(Inversion), "prompt": "a ball"},
        "Inspect": {"images": CLIP, "records": object.__new__(Records)},
        "FromComfy": {"model": like("MODEL"), "clip": like("CLIP"), "vae": like("VAE")},
        "Measure": {"images": CLIP, "edited": CLIP, "clip_folder": "none"},
        "FitClip": {},
    }
    said = {}
    for name, (node, given) in rows().items():
        node = getattr(nodes, node)
        defaults = {field.id: getattr(field, "default", None) for field in node.define_schema().inputs}
        try:
            output = node.execute(**{**defaults, **works[node.__name__], **given})
            said[name] = ["done", *(output.ui or {}).get("text", ())]
        except LiveError as error:
            said[name] = [str(error)]
        except Exception as error:
            said[name] = [f"bare {type(error).__name__}: {error}"]
    print(json.dumps({**said, "damaged links": damaged_links()}))


def damaged_links() -> list[str]:
    """What looking for the file behind a photo raises in graphs whose links, before Load Image or into it, are none."""
    from live_pack.nodes import host

    raised = []
    for damaged in ([], [[]], ["file"], ["file", 0, 0], [0, 0], ["gone", 0], {}, None, ""):
        graphs = (
            {"bind": {"inputs": {"photo": damaged}}},
            {"bind": {"inputs": {}}},
            {
                "bind": {"inputs": {"photo": ["file", 0]}},
                "file": {"class_type": "LoadImage", "inputs": {"image": damaged}},
            },
            {
                "bind": {"inputs": {"photo": ["scaled", 0]}},
                "scaled": {"class_type": "ImageScale", "inputs": {"image": damaged}},
            },
        )
        for graph in graphs if damaged != "" else graphs[:2]:
            try:
                host.check_opaque(graph, "bind", "photo", "cut it out")
            except Exception as error:
                raised.append(f"{damaged!r}: {type(error).__name__}: {error}")
    return raised


if __name__ == "__main__":
    main()
