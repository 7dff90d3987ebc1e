"""Rows of the table of bad inputs: edits by instruction, and their model given to other nodes."""

from bad_values import EMPTY, HUGE, INF, NAN, NOTE, REFUSED, SAID, Node, linked, one_bad, tensor


def local(mask: Node, **changes) -> Node:
    """Local Latent Adaptation of a mask."""
    return Node(
        "LIVE_LocalLatents",
        **{"mask": mask, "boundary": "reversed", "origin": "noised", "grow": 0, "feather": 0.0} | changes,
    )


def texts(*shape: int, value: float = 0.1) -> Node:
    """What ComfyUI calls conditioning, one entry of that shape."""
    return Node("TestConditioning", tensor=tensor(*shape, value=value))


MASKS = [
    ("change mask", {"instruction": ""}, "instruction", "''"),
    ("change mask", {"instruction": " \n"}, "instruction", "' "),
    ("change mask", {"instruction": linked(5)}, "instruction", "5"),
    ("change mask", {"instruction": linked("\ud800")}, "instruction", "ud800"),
    ("change mask", {"instruction": "make it (blue:nan)"}, "instruction|prompt", "nan"),
    ("change mask", {"instruction": "make it <lora:blue:1>"}, "instruction", "<lora:blue:1>"),
    ("change mask", {"instruction": "make it embedding:absent"}, "instruction|prompt", "absent"),
    ("change mask", {"instruction": "make the <thing*> blue"}, "instruction", "<thing\\*>", SAID),
    ("change mask", {"model": ["model", 0]}, "model", "text-to-image"),
    ("change mask", {"model": linked("ip2p")}, "model", "ip2p"),
    ("change mask", {"threshold": linked(NAN)}, "threshold", "nan"),
    ("change mask", {"threshold": linked(1.5)}, "threshold", "1.5"),
    ("change mask", {"threshold": 0.0}, "threshold", "0", NOTE),
    ("change mask", {"noise_level": linked(-0.1)}, "noise.level", "-0.1"),
    ("change mask", {"draws": linked(0)}, "draws", "0"),
    ("change mask", {"draws": linked(10**6)}, "draws", "1000000"),
    ("change mask", {"seed": linked(HUGE)}, "seed", str(HUGE)),
    ("change mask", {"images": EMPTY}, "images", "0"),
    ("change mask", {"images": tensor(2, 63, 64, 3)}, "images", "64x63"),
    ("change mask", {"images": tensor(2, 64, 64, 4)}, "images", "4"),
    ("change mask", {"images": tensor(2, 64, 64, 3, value=200)}, "images", "200", SAID),
    ("change mask", {"images": one_bad(["clip", 0])}, "images", "finite|nan"),
    ("local", {"mask": tensor(0, 64, 64)}, "mask", "0"),
    ("local", {"mask": tensor(2, 2, 64, 64)}, "mask", "2, 2"),
    ("local", {"mask": one_bad(["change mask", 0])}, "mask", "finite|nan"),
    ("local", {"mask": tensor(1, 64, 64, value=255)}, "mask", "255", NOTE),
    ("local", {"mask": ["clip", 0]}, "mask", "IMAGE", REFUSED),
    ("local", {"mask": linked("a mask")}, "mask", "a mask"),
    ("local", {"boundary": "soft"}, "boundary", "soft", REFUSED),
    ("local", {"boundary": linked("soft")}, "boundary", "soft"),
    ("local", {"origin": linked("clip")}, "origin", "clip"),
    ("local", {"grow": linked(-1)}, "grow", "-1"),
    ("local", {"grow": linked(1.5)}, "grow", "1.5"),
    ("local", {"feather": linked(NAN)}, "feather", "nan"),
]

EDITS = [
    ("instruct", {"instruction": ""}, "instruction", "''"),
    ("instruct", {"instruction": linked(None)}, "instruction", "nothing"),
    ("instruct", {"instruction": linked("\udcff")}, "instruction", "udcff"),
    ("instruct", {"instruction": "make it (blue:1e999)"}, "instruction|prompt", "1e999"),
    ("instruct", {"instruction": "make it <lora:blue:1>"}, "instruction", "<lora:blue:1>"),
    ("instruct", {"instruction": "make it (blue:1.2 BREAK"}, "instruction", r"\(blue:1.2", NOTE),
    ("instruct", {"instruction": "make it embedding:absent"}, "instruction|prompt", "absent"),
    ("instruct", {"model": ["model", 0]}, "model", "text-to-image"),
    ("instruct", {"model": ["tune", 0]}, "model", "text-to-image"),
    ("instruct", {"method": "via"}, "method", "'via'"),
    ("instruct", {"method": None}, "method", "None"),
    ("instruct", {"method": linked("gather-and-swap")}, "method", "link|gather"),
    ("instruct", {"method.key_frames": None}, "key_frames", "missing", REFUSED),
    ("instruct", {"method.key_frames": 5}, "key.frames", "5"),
    ("instruct", {"method.key_frames": linked(0)}, "key.frames", "0"),
    ("instruct", {"method.key_frames": linked(1e9)}, "key.frames", "1000000000|1e"),
    ("instruct", {"method.key_frames": 2, "images": tensor(1, 64, 64, 3)}, "key.frames", "2"),
    ("instruct", {"method.swap_until": linked(NAN)}, "swap.until", "nan"),
    ("instruct", {"method.swap_until": linked(1.2)}, "swap.until", "1.2"),
    ("instruct", {"method.own_keys": linked("perhaps")}, "own.keys", "perhaps"),
    ("instruct", {"guidance_scale": linked(NAN)}, "guidance.scale", "nan"),
    ("instruct", {"guidance_scale": linked(-1)}, "guidance.scale", "-1"),
    ("instruct", {"guidance_scale": linked(1e38)}, "guidance.scale", "1e\\+38"),
    ("instruct", {"image_guidance_scale": linked(INF)}, "image.guidance.scale", "inf"),
    ("instruct", {"guidance_scale": 0.0}, "guidance.scale", "0", NOTE),
    ("instruct", {"steps": 0}, "steps", "0", REFUSED),
    ("instruct", {"steps": linked(5000)}, "steps", "5000"),
    ("instruct", {"seed": linked(-1)}, "seed", "-1"),
    ("instruct", {"window": linked(0)}, "window", "0"),
    ("instruct", {"window": linked(2.5)}, "window", "2.5"),
    ("instruct", {"images": EMPTY}, "images", "0"),
    ("instruct", {"images": tensor(4, 60, 64, 3)}, "images", "64x60"),
    ("instruct", {"images": tensor(4, 64, 64, 4)}, "images", "4"),
    ("instruct", {"images": tensor(4, 64, 64, 1)}, "images", "1"),
    ("instruct", {"images": one_bad(["clip", 0], "inf")}, "images", "finite"),
    ("instruct", {"images": linked([1])}, "images", "1"),
    ("instruct", {"local": local(tensor(1, 32, 64))}, "mask|local", "64x32"),
    ("instruct", {"local": local(tensor(3, 64, 64))}, "mask|local", "3"),
    ("instruct", {"local": local(tensor(1, 64, 64, value=0))}, "mask|local", "empty", NOTE),
    ("instruct", {"local": local(tensor(1, 64, 64, value=1))}, "mask|local", "whole", NOTE),
    ("instruct", {"local": linked("a mask")}, "local", "a mask"),
    ("instruct", {"local": ["change mask", 0]}, "local", "MASK", REFUSED),
    ("instruct", {"instruction": "", "conditioning": texts(3, 8, 128)}, "conditioning", "3"),
    ("instruct", {"instruction": "", "conditioning": texts(1, 8, 32)}, "conditioning", "32"),
    ("instruct", {"instruction": "", "conditioning": texts(1, 0, 128)}, "conditioning", "0"),
    ("instruct", {"instruction": "", "conditioning": texts(8, 128)}, "conditioning", "8, 128|shapes"),
    ("instruct", {"instruction": "", "conditioning": texts(1, 8, 128, value=NAN)}, "conditioning", "finite|nan"),
    ("instruct", {"instruction": "", "conditioning": linked([])}, "conditioning", "0 texts|\\[\\]"),
    ("instruct", {"instruction": "", "conditioning": linked("blue")}, "conditioning", "blue"),
    ("instruct", {"instruction": "", "conditioning": linked([[1, {}]])}, "conditioning", "1"),
    ("instruct", {"conditioning": texts(1, 8, 128)}, "instruction", "make the ball blue", NOTE),
]

OF_ANOTHER_BASE = [
    ("tune", {"model": ["instruct model", 0]}, "model", "InstructPix2Pix"),
    ("invert", {"model": ["instruct model", 0]}, "model", "InstructPix2Pix"),
    ("null", {"model": ["instruct model", 0]}, "model|inversion", "model_instruct"),
    ("edit", {"model": ["instruct model", 0]}, "model|inversion", "model_instruct"),
    ("load", {"model": ["instruct model", 0]}, "model|tuning", "model_instruct"),
]

ROWS = [*MASKS, *EDITS, *OF_ANOTHER_BASE]
