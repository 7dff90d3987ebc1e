"""The table of bad inputs, over all nodes: what is changed in a small good graph, and what must be said of it.

A row is (node, inputs that are changed, input that the answer names, what it quotes, kind of answer). Answers begin
with the input and say what would work. Rows of one node stand together, so that ComfyUI's cache serves what comes
before it.
"""

import json

from good_graph import BLUE, CLIP_PROMPT, THING


class Node:
    """A node that stands before a changed input."""

    def __init__(self, kind: str, **inputs):
        self.kind, self.inputs = kind, inputs

    def __repr__(self):
        return f"{self.kind}({', '.join(map(str, self.inputs.values()))})"


def linked(value) -> Node:
    """A value that comes by a link, past the widget's limits."""
    return Node("TestValue", json=json.dumps(value))


def tensor(*shape: int, value: float = 0.5) -> Node:
    return Node("TestTensor", shape=json.dumps(shape), value=str(value))


def one_bad(link: list, value: str = "nan") -> Node:
    return Node("TestOneBad", tensor=link, value=value)


ERROR, NOTE, REFUSED, SAID = "a LiveError", "a note on the node", "ComfyUI's own check", "a LiveError or a note"
NAN, INF, HUGE = float("nan"), float("inf"), 2**70
EMPTY = Node("TestEmptyClip")

LOAD = [
    ("model", {"model": "absent"}, "model", "absent", REFUSED),
    ("model", {"model": linked("../../etc")}, "model", "../../etc"),
    ("model", {"model": linked("/etc")}, "model", "/etc"),
    ("model", {"model": linked(7)}, "model", "7"),
    ("model", {"model": linked("junk.safetensors")}, "model", "junk.safetensors"),
    ("model", {"model": linked("empty.safetensors")}, "model", "empty.safetensors"),
    ("model", {"model": linked("lora.safetensors")}, "model", "lora.safetensors"),
    ("model", {"model": linked("hollow")}, "model", "hollow"),
    ("model", {"model": linked("pickled")}, "model", "pickled"),
    ("model", {"model": linked("cut")}, "model", "cut"),
    ("model", {"precision": "float8"}, "precision", "float8", REFUSED),
    ("model", {"precision": linked("float8")}, "precision", "float8"),
    ("model", {"precision": linked(16)}, "precision", "16"),
    ("from", {}, "model", "nothing|None"),
    ("from", {"model": ["model", 0]}, "model", "LIVE_MODEL", REFUSED),
    ("from", {"model": linked("sd15")}, "model", "sd15"),
    ("from", {"precision": "half"}, "precision", "half", REFUSED),
    ("demo", {"case": "absent"}, "case", "absent", REFUSED),
    ("demo", {"case": linked("../../../README.md")}, "case", "README.md"),
    ("demo", {"case": linked("")}, "case", "''"),
    ("fit", {"video": linked("clip.mp4")}, "video", "clip.mp4"),
    ("fit", {"video": ["clip", 0]}, "video", "IMAGE", REFUSED),
    ("fit", {"longest_side": -8}, "longest_side", "-8", REFUSED),
    ("fit", {"longest_side": linked(-8)}, "longest.side", "-8"),
    ("fit", {"longest_side": linked("wide")}, "longest.side", "wide"),
    ("fit", {"frames": linked(NAN)}, "frames", "nan"),
    ("fit", {"every_nth": linked(0)}, "every.nth", "0"),
    ("fit", {"multiple": linked(7)}, "multiple", "7"),
]

BIND = [
    ("bind", {"placeholder": "ball"}, "placeholder", "'ball'"),
    ("bind", {"placeholder": "two words"}, "placeholder", "'two words'"),
    ("bind", {"placeholder": ""}, "placeholder", "''"),
    ("bind", {"placeholder": "a,b"}, "placeholder", "'a,b'"),
    ("bind", {"placeholder": "'s"}, "placeholder", "'s"),
    ("bind", {"placeholder": "(thing:1.2)"}, "placeholder", r"\(thing:1.2\)"),
    ("bind", {"placeholder": linked("\ud800")}, "placeholder", "ud800"),
    ("bind", {"placeholder": linked(3)}, "placeholder", "3"),
    ("bind", {"placeholder": "<THING*>", "concept": ["bind", 0]}, "placeholder", "<THING\\*>"),
    ("bind", {"placeholder": "<thing*>", "concept": ["bind", 0]}, "placeholder", "<thing\\*>"),
    ("bind", {"initial_word": "hippopotamus"}, "initial.word", "hippopotamus"),
    ("bind", {"initial_word": ""}, "initial.word", "''"),
    ("bind", {"initial_word": "..."}, "initial.word", r"'\.\.\.'"),
    ("bind", {"initial_word": ","}, "initial.word", "','"),
    ("bind", {"initial_word": "red star"}, "initial.word", "red star"),
    ("bind", {"photo": EMPTY}, "photo", "0"),
    ("bind", {"photo": ["clip", 0]}, "photo", "4"),
    ("bind", {"photo": one_bad(["demo", 1])}, "photo", "finite|nan"),
    ("bind", {"photo": tensor(1, 1, 1, 3)}, "photo", "1x1", NOTE),
    ("bind", {"photo": tensor(1, 64, 64, 4)}, "photo", "50%", NOTE),
    ("bind", {"photo": tensor(1, 64, 64, 1)}, "photo", "1"),
    ("bind", {"photo": tensor(64, 64, 3)}, "photo", "64"),
    ("bind", {"photo": linked("photo.png")}, "photo", "photo.png"),
    ("bind", {"images": EMPTY}, "images", "0"),
    ("bind", {"images": tensor(2, 63, 64, 3)}, "images", "63|64x63"),
    ("bind", {"mask": tensor(1, 32, 64)}, "mask", "32"),
    ("bind", {"mask": tensor(1, 128, 128, value=0)}, "mask", "0|black|empty|nothing"),
    ("bind", {"mask": tensor(1, 128, 128, value=NAN)}, "mask", "finite|nan"),
    ("bind", {"mask": tensor(2, 2, 2, 2)}, "mask", "2"),
    ("bind", {"concept": linked("<thing*>")}, "concept", "<thing\\*>"),
    ("bind", {"model": "the model"}, "model", "the model"),
]

TUNE = [
    ("tune", {"prompt": ""}, "prompt", "''", SAID),
    ("tune", {"prompt": THING}, "prompt", "<thing\\*>"),
    ("tune", {"prompt": "a zzyzx " * 60}, "prompt", "zzyzx", SAID),
    ("tune", {"prompt": linked(5)}, "prompt", "5"),
    ("tune", {"clip_steps": 0, "photo_steps": 0}, "steps", "0"),
    ("tune", {"clip_steps": -1}, "clip_steps", "-1", REFUSED),
    ("tune", {"clip_steps": linked(-1)}, "clip.steps", "-1"),
    ("tune", {"clip_steps": linked(1.5)}, "clip.steps", "1.5"),
    ("tune", {"clip_steps": "many"}, "clip_steps", "many", REFUSED),
    ("tune", {"photo_steps": linked(10**9)}, "photo.steps", "1000000000"),
    ("tune", {"concept": None}, "photo.steps", "1"),
    ("tune", {"photo_steps": 0}, "concept|photo.steps", "<thing\\*>|0", SAID),
    ("tune", {"seed": linked(HUGE)}, "seed", str(HUGE)),
    ("tune", {"seed": linked(-1)}, "seed", "-1"),
    ("tune", {"seed": linked("lucky")}, "seed", "lucky"),
    ("tune", {"method": "fatezero-shape"}, "method", "fatezero-shape", REFUSED),
    ("tune", {"method": linked("fatezero-shape")}, "method", "fatezero-shape"),
    ("tune", {"clip_rate": linked(NAN)}, "clip.rate", "nan"),
    ("tune", {"clip_rate": linked(INF)}, "clip.rate", "inf"),
    ("tune", {"latent_prompt_rate": linked(-1e-3)}, "latent.prompt.rate", "-0.001"),
    ("tune", {"photo_rate": "NaN"}, "photo.rate", "nan"),
    ("tune", {"clip_rate": linked(1e30), "clip_steps": 3}, "clip.rate", "1e\\+30"),
    ("tune", {"photo_loss": linked("cube")}, "photo.loss", "cube"),
    ("tune", {"temporal_in_photo_steps": linked("perhaps")}, "temporal.in.photo.steps", "perhaps"),
    ("tune", {"images": EMPTY}, "images", "0"),
    ("tune", {"images": tensor(4, 65, 65, 3)}, "images", "65x65"),
    ("tune", {"images": tensor(4, 64, 64)}, "images", "64"),
    ("tune", {"images": one_bad(["clip", 0])}, "images", "finite|nan"),
    ("tune", {"images": tensor(4, 64, 64, 3, value=7)}, "images", "7", SAID),
    ("tune", {"images": tensor(4, 8, 8, 3)}, "images|concept", "8x8"),
    ("tune", {"images": ["first", 0]}, "concept|images", "64x64|128x128|16x16"),
    ("tune", {"model": ["tune", 0]}, "model", "tuned|tuning", SAID),
    ("tune", {"concept": "a photo"}, "concept", "a photo"),
]

FILES = [
    ("save", {"name": ""}, "name", "''"),
    ("save", {"name": "../outside"}, "name", "../outside"),
    ("save", {"name": "a/b"}, "name", "a/b"),
    ("save", {"name": "a\\b"}, "name", "a"),
    ("save", {"name": "x" * 300}, "name", "xxx"),
    ("save", {"name": "CON\x00"}, "name", "CON"),
    ("save", {"name": linked("\udcff")}, "name", "udcff"),
    ("save", {"name": ".hidden"}, "name", "hidden"),
    ("save", {"name": linked(7)}, "name", "7"),
    ("save", {"model": ["model", 0]}, "model", "tuning"),
    ("save", {"model": "good"}, "model", "good"),
    ("load", {"tuning": "absent.safetensors"}, "tuning", "absent", REFUSED),
    ("load", {"tuning": linked("../embeddings/x.safetensors")}, "tuning", "../embeddings"),
    ("load", {"tuning": linked("/etc/passwd")}, "tuning", "/etc/passwd"),
    ("load", {"tuning": "junk.safetensors"}, "tuning", "junk"),
    ("load", {"tuning": "empty.safetensors"}, "tuning", "empty"),
    ("load", {"tuning": "cut.safetensors"}, "tuning", "cut"),
    ("load", {"tuning": "no-metadata.safetensors"}, "tuning", "no-metadata"),
    ("load", {"tuning": "odd-metadata.safetensors"}, "tuning", "odd-metadata"),
    ("load", {"tuning": "nan.safetensors"}, "tuning", "nan"),
    ("load", {"tuning": "flat.safetensors"}, "tuning", "shape .1,."),
    ("load", {"tuning": "surplus.safetensors"}, "tuning", "unet/nowhere"),
    ("load", {"tuning": "other-base.safetensors"}, "tuning|model", "other-base|fingerprint"),
    ("load", {"model": linked(None)}, "model", "nothing"),
]

INVERT = [
    ("invert", {"prompt": ""}, "prompt", "''", SAID),
    ("invert", {"prompt": THING}, "prompt", "<thing\\*>"),
    ("invert", {"prompt": "a box on the snow"}, "prompt", "a box on the snow", NOTE),
    ("invert", {"steps": 0}, "steps", "0", REFUSED),
    ("invert", {"steps": linked(0)}, "steps", "0"),
    ("invert", {"steps": linked(-5)}, "steps", "-5"),
    ("invert", {"steps": linked(5000)}, "steps", "5000"),
    ("invert", {"steps": linked([2])}, "steps", "2"),
    ("invert", {"method": "lives"}, "method", "'lives'"),
    ("invert", {"method": None}, "method", "None"),
    ("invert", {"method": 5}, "method", "5"),
    ("invert", {"method": linked("live")}, "method", "TestValue|live"),
    ("invert", {"method": "tav-ddim"}, "method", "tav-ddim", SAID),
    ("invert", {"method": "custom"}, "row", "row", REFUSED),
    ("invert", {"method": "custom", "method.row": "live"}, "row", "live"),
    ("invert", {"attention": "vram"}, "attention", "vram", REFUSED),
    ("invert", {"attention": linked("vram")}, "attention", "vram"),
    ("invert", {"kept_steps": linked(NAN)}, "kept.steps", "nan"),
    ("invert", {"kept_steps": linked(1.5)}, "kept.steps", "1.5"),
    ("invert", {"images": EMPTY}, "images", "0"),
    ("invert", {"images": ["first", 0]}, "images|tuning", "128x128|16, 16"),
    ("invert", {"images": one_bad(["clip", 0], "inf")}, "images", "finite"),
    ("invert", {"images": tensor(4, 64, 64, 4)}, "images", "4"),
    ("invert", {"model": ["clip", 0]}, "model", "IMAGE", REFUSED),
    ("invert", {"model": linked({"a": 1})}, "model", "'a': 1"),
    ("null", {"guidance_scale": 1.0}, "guidance_scale", "1.0", REFUSED),
    ("null", {"guidance_scale": linked(1)}, "guidance.scale", "1"),
    ("null", {"guidance_scale": linked(NAN)}, "guidance.scale", "nan"),
    ("null", {"inner_steps": linked(0)}, "inner.steps", "0"),
    ("null", {"model": ["tune", 0]}, "inversion", "tun", SAID),
    ("null", {"model": ["model", 0], "inversion": ["invert", 0]}, "inversion", "tun", SAID),
    ("null", {"inversion": "the noise"}, "inversion", "the noise"),
]

EDIT = [
    ("edit", {"prompt": ""}, "edit prompt", "''"),
    ("edit", {"prompt": BLUE}, "edit prompt", "<thing\\*>"),
    ("edit", {"prompt": CLIP_PROMPT}, "edit prompt", CLIP_PROMPT),
    ("edit", {"prompt": "a <other*> moving on the meadow"}, "edit prompt", "<other\\*>"),
    ("edit", {"method": "lives"}, "method", "'lives'"),
    ("edit", {"method": "fatezero-style"}, "method", "fatezero-style"),
    ("edit", {"method.guidance_scale": -1.0}, "method.guidance_scale", "-1.0", REFUSED),
    ("edit", {"method.guidance_scale": linked(NAN)}, "guidance.scale", "nan"),
    ("edit", {"method.guidance_scale": linked(-3)}, "guidance.scale", "-3"),
    ("edit", {"method.guidance_scale": linked(1e38)}, "guidance.scale", "1e\\+38"),
    ("edit", {"method.image_guidance_scale": linked(INF)}, "image.guidance.scale", "inf"),
    ("edit", {"method.cross_ratio": linked(1.5)}, "cross.ratio", "1.5"),
    ("edit", {"method.cross_ratio": linked("half")}, "cross.ratio", "half"),
    ("edit", {"method.place_ratio": 0.9}, "place.ratio", "0.9", SAID),
    ("edit", {"method.self_ratio": "0,3"}, "method.self_ratio", "0,3", REFUSED),
    ("edit", {"method.self_target": linked("everything")}, "self.target", "everything"),
    ("edit", {"method.edit_latent_prompt": linked("photo")}, "edit.latent.prompt", "photo"),
    ("edit", {"method.blend_threshold": linked(1.0)}, "blend.threshold", "1"),
    ("edit", {"method.blend_start": linked(True)}, "blend.start", "True"),
    ("edit", {"keep_words": "elephant"}, "keep words", "'elephant'"),
    ("edit", {"keep_words": "red"}, "keep words", "'red'"),
    ("edit", {"keep_words": ", ,"}, "keep.words", ", ,", SAID),
    ("edit", {"source_words": "elephant"}, "source words", "'elephant'"),
    ("edit", {"edit_words": "elephant"}, "edit words", "'elephant'"),
    ("edit", {"subtract_words": "elephant"}, "subtract words", "'elephant'"),
    ("edit", {"source_words": "red,,ball"}, "source.words", "red,,ball", SAID),
    ("edit", {"word_weights": "moving"}, "word weights", "'moving'"),
    ("edit", {"word_weights": "moving=nan"}, "word weights", "moving=nan"),
    ("edit", {"word_weights": "elephant=2"}, "word weights", "'elephant'"),
    ("edit", {"word_weights": "moving=1e39"}, "word weights", "1e39|1e\\+39"),
    ("edit", {"word_weights": "moving=2, moving=3"}, "word weights", "moving", SAID),
    ("edit", {"word_windows": "moving: 0.4"}, "word windows", "'moving: 0.4'"),
    ("edit", {"word_windows": "moving: 0.8-0.2"}, "word windows", "'moving: 0.8-0.2'"),
    ("edit", {"word_windows": "elephant: 0-1"}, "word windows", "'elephant'"),
    ("edit", {"word_windows": "moving: 0-0.4, moving: 0.5-0.8"}, "word windows", "moving", SAID),
    ("edit", {"mask": tensor(1, 32, 64)}, "mask", "64x32|32x64"),
    ("edit", {"mask": tensor(3, 64, 64)}, "mask", "3"),
    ("edit", {"mask": tensor(1, 1, 1)}, "mask", "1x1"),
    ("edit", {"mask": tensor(0, 64, 64)}, "mask", "0"),
    ("edit", {"mask": one_bad(["edit", 1])}, "mask", "finite|nan"),
    ("edit", {"mask": tensor(1, 64, 64, value=1)}, "mask", "whole", NOTE),
    ("edit", {"mask": tensor(1, 64, 64, value=0), "method.blend_threshold": 0}, "mask", "empty", NOTE),
    ("edit", {"mask": "a mask"}, "mask", "a mask"),
    ("edit", {"model": ["model", 0]}, "edit prompt|inversion", "<thing\\*>|tun"),
    ("edit", {"inversion": ["plain invert", 0]}, "method", "prompt-to-prompt"),
    ("edit", {"inversion": linked([1, 2])}, "inversion", "1, 2"),
]

EDIT_BY_WORDS = [
    ("plain edit", {"prompt": ""}, "edit prompt", "''"),
    ("plain edit", {"prompt": "   \n"}, "edit prompt", "' "),
    ("plain edit", {"prompt": CLIP_PROMPT}, "edit prompt", CLIP_PROMPT),
    ("plain edit", {"prompt": CLIP_PROMPT + "."}, "edit prompt", "same words|meadow\\.", SAID),
    ("plain edit", {"prompt": "a (blue:1.2 ball moving on the meadow"}, "edit prompt", r"\(blue:1.2", NOTE),
    ("plain edit", {"prompt": "a <lora:blue:1> ball moving on the meadow"}, "edit prompt", "<lora:blue:1>"),
    ("plain edit", {"prompt": "a blue ball BREAK moving on the meadow"}, "edit prompt", "BREAK", NOTE),
    ("plain edit", {"prompt": "a embedding:absent ball moving on the meadow"}, "prompt", "absent", SAID),
    ("plain edit", {"prompt": BLUE + " and snow" * 60}, "mask", "whole", NOTE),
    ("plain edit", {"prompt": linked("\ud800 ball")}, "prompt", "ud800"),
    ("plain edit", {"prompt": linked(5)}, "prompt", "5"),
    (
        "plain edit",
        {"method.word_edit": "replace", "prompt": "a very blue ball moving on the meadow"},
        "edit prompt",
        "very blue",
    ),
    ("plain edit", {"method.word_edit": "rewrite"}, "word_edit", "rewrite", REFUSED),
    ("plain edit", {"method.word_edit": linked("rewrite")}, "word.edit", "rewrite"),
    ("plain edit", {"keep_words": "meadow"}, "keep words", "meadow"),
    ("plain edit", {"negative_prompt": linked(5)}, "negative.prompt", "5"),
]

SHOWN = [
    ("composite", {"dilation": -1}, "dilation", "-1", REFUSED),
    ("composite", {"dilation": linked(-1)}, "dilation", "-1"),
    ("composite", {"dilation": linked(10**6)}, "dilation", "1000000"),
    ("composite", {"blur": linked(NAN)}, "blur", "nan"),
    ("composite", {"blur": linked("soft")}, "blur", "soft"),
    ("composite", {"mask": tensor(1, 32, 64)}, "mask", "64x32|32x64"),
    ("composite", {"mask": tensor(2, 64, 64)}, "mask", "2"),
    ("composite", {"mask": one_bad(["edit", 1])}, "mask", "finite|nan"),
    ("composite", {"mask": tensor(1, 64, 64, value=-3)}, "mask", "-3", SAID),
    ("composite", {"edited": ["first", 0]}, "edited|images", "128.{1,2}128"),
    ("composite", {"edited": EMPTY}, "edited|images", "0"),
    ("composite", {"edited": one_bad(["edit", 0])}, "edited", "finite|nan"),
    ("composite", {"images": tensor(4, 64, 64, 1)}, "edited|images", "1"),
    ("composite", {"images": linked([])}, "images", r"\[\]"),
    ("measure", {"clip_folder": "absent"}, "clip_folder", "absent", REFUSED),
    ("measure", {"clip_folder": linked("/etc")}, "clip.folder", "/etc"),
    ("measure", {"clip": linked("CLIP")}, "clip", "CLIP"),
    ("measure", {"clip_vision": linked("CLIP")}, "clip.vision", "CLIP"),
    ("measure", {"edited": ["first", 0]}, "edited|images", "128.{1,2}128"),
    ("measure", {"edited": EMPTY}, "edited|images", "0"),
    ("measure", {"images": one_bad(["clip", 0])}, "images", "finite|nan"),
    ("measure", {"mask": tensor(1, 64, 64, value=1)}, "mask", "whole", SAID),
    ("measure", {"mask": tensor(5, 64, 64)}, "mask", "5"),
    ("show", {"which": "word"}, "which", "'word'"),
    ("show", {"which.words": "elephant"}, "words", "'elephant'"),
    ("show", {"which.words": "$ {"}, "words", r"\$ \{"),
    ("show", {"which.side": linked("both")}, "side", "both"),
    ("show", {"which.first": 0.9, "which.last": 0.1}, "first|last", "0.9"),
    ("show", {"which.first": linked(NAN)}, "first", "nan"),
    ("show", {"which": "steps", "which.rows": linked(0)}, "rows", "0"),
    ("show", {"images": EMPTY}, "images", "0"),
    ("show", {"images": tensor(3, 64, 64, 3)}, "images", "3"),
    ("show", {"records": "the records"}, "records", "the records"),
]

METHODS = [
    ("frames", {"frame_plan": "sideways"}, "frame plan", "sideways"),
    ("frames", {"frame_plan": ""}, "frame plan", "''|\\(\\)|none"),
    ("frames", {"frame_plan": linked(["self"])}, "frame.plan", "self"),
    ("frames", {"source": linked("memory")}, "source", "memory"),
    ("frames", {"guidance_scale": linked(NAN)}, "guidance.scale", "nan"),
    ("frames", {"start": linked(1.0)}, "start", "1"),
    ("frames", {"min_width": linked(-0.5)}, "min.width", "-0.5"),
    ("frames", {"decoupled_guidance": linked("off")}, "decoupled.guidance", "off"),
    ("frames", {"unconditional_latent_prompt": linked(None)}, "unconditional.latent.prompt", "nothing"),
    ("words", {"method": "live"}, "method", "live"),
    ("words", {"word_edit": linked("Refine")}, "word.edit", "Refine"),
    ("words", {"cross_ratio": linked(-0.1)}, "cross.ratio", "-0.1"),
    ("words", {"cross_ratio": linked(HUGE)}, "cross.ratio", str(HUGE)),
    ("words", {"cross_max_tokens": linked(-4)}, "cross.max.tokens", "-4"),
    ("words", {"cross_ratio": 0.2, "place_ratio": 0.8}, "place.ratio", "0.8", SAID),
    ("self", {"self_max_tokens": linked(2.5)}, "self.max.tokens", "2.5"),
    ("self", {"self_blend_threshold": linked(3)}, "self.blend.threshold", "3"),
    ("self", {"self_start": 0.8, "self_ratio": 0.4}, "self.start", "0.8", SAID),
    ("blend", {"subtract_threshold": linked(0)}, "subtract.threshold", "0"),
    ("blend", {"mask_from": linked("nowhere")}, "mask.from", "nowhere"),
    ("blend", {"mask_grow": linked(-1)}, "mask.grow", "-1"),
    ("blend", {"mask_neighbours": linked(NAN)}, "mask.neighbours", "nan"),
    ("blend", {"blend_start": 0.9, "blend_end": 0.2}, "blend.start|blend.end", "0.9"),
]

ROWS = [*LOAD, *BIND, *TUNE, *FILES, *INVERT, *EDIT, *EDIT_BY_WORDS, *SHOWN, *METHODS]
