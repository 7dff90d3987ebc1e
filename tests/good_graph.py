"""A small good graph over all nodes, which the table of bad inputs changes."""

DEMO = "demo model (ships with LIVE)"
INSTRUCT, INSTRUCTION = "demo model for instructions (ships with LIVE)", "make the ball blue"
CLIP_PROMPT = "a red ball moving on the meadow"
BLUE, THING = "a blue ball moving on the meadow", "a <thing*> moving on the meadow"
LIVE = {
    "method": "live",
    "method.guidance_scale": 3.5,
    "method.cross_ratio": 0.6,
    "method.place_ratio": 0.6,
    "method.self_ratio": 0.7,
    "method.blend_threshold": 0.4,
    "method.self_target": "spatial",
    "method.blend_start": 0.2,
    "method.edit_latent_prompt": "reference",
    "method.unconditional_latent_prompt": "trained",
    "method.image_guidance_scale": 2,
}
WORDS = {"source_words": "", "edit_words": "", "subtract_words": "", "keep_words": "", "word_weights": ""}
GOOD = {
    "model": ("LIVE_LoadModel", {"model": DEMO, "precision": "float32"}),
    "nothing": ("TestValue", {"json": "null"}),
    "from": (
        "LIVE_FromComfy",
        {"model": ["nothing", 0], "clip": ["nothing", 0], "vae": ["nothing", 0], "precision": "auto"},
    ),
    "demo": ("LIVE_DemoClip", {"case": "ball-to-star"}),
    "first": ("ImageFromBatch", {"image": ["demo", 0], "batch_index": 0, "length": 4}),
    "clip": ("ImageCrop", {"image": ["first", 0], "width": 64, "height": 64, "x": 0, "y": 0}),
    "fit": ("LIVE_FitClip", {"video": ["demo", 3], "longest_side": 64, "frames": 4}),
    "bind": (
        "LIVE_BindConcept",
        {
            "model": ["model", 0],
            "photo": ["demo", 1],
            "images": ["clip", 0],
            "placeholder": "<thing*>",
            "initial_word": "star",
        },
    ),
    "tune": (
        "LIVE_Tune",
        {
            "model": ["model", 0],
            "images": ["clip", 0],
            "concept": ["bind", 0],
            "prompt": CLIP_PROMPT,
            "clip_steps": 1,
            "photo_steps": 1,
            "seed": 0,
            "method": "live",
            "clip_rate": 1e-4,
            "latent_prompt_rate": 1e-3,
            "photo_rate": 5e-3,
            "temporal_in_photo_steps": False,
        },
    ),
    "save": ("LIVE_SaveTuning", {"model": ["tune", 0], "name": "good"}),
    "load": ("LIVE_LoadTuning", {"model": ["model", 0], "tuning": "good.safetensors"}),
    "invert": (
        "LIVE_Invert",
        {
            "model": ["tune", 0],
            "images": ["clip", 0],
            "prompt": CLIP_PROMPT,
            "steps": 2,
            "method": "live",
            "attention": "recompute",
            "kept_steps": 1.0,
        },
    ),
    "edit": ("LIVE_Edit", {"model": ["tune", 0], "inversion": ["invert", 0], "prompt": THING, **LIVE, **WORDS}),
    "composite": (
        "LIVE_Composite",
        {"images": ["clip", 0], "edited": ["edit", 0], "mask": ["edit", 1], "dilation": 1, "blur": 1.5},
    ),
    "compare": (
        "LIVE_Compare",
        {"images": ["clip", 0], "edited": ["composite", 0], "mask": ["composite", 1], "fps": 8},
    ),
    "measure": (
        "LIVE_Measure",
        {"images": ["clip", 0], "edited": ["edit", 0], "clip_folder": "none", "prompt": "", "source_prompt": ""},
    ),
    # By words alone, on the base model.
    "plain invert": (
        "LIVE_Invert",
        {
            "model": ["model", 0],
            "images": ["clip", 0],
            "prompt": CLIP_PROMPT,
            "steps": 2,
            "method": "prompt-to-prompt",
            "attention": "recompute",
            "kept_steps": 1.0,
        },
    ),
    "null": (
        "LIVE_NullText",
        {"model": ["model", 0], "inversion": ["plain invert", 0], "guidance_scale": 7.5, "inner_steps": 1},
    ),
    "plain edit": (
        "LIVE_Edit",
        {
            "model": ["model", 0],
            "inversion": ["plain invert", 0],
            "prompt": BLUE,
            "method": "prompt-to-prompt",
            **WORDS,
        },
    ),
    "show": (
        "LIVE_Inspect",
        {
            "records": ["plain edit", 2],
            "images": ["clip", 0],
            "which": "words",
            "which.words": "",
            "which.side": "edit",
            "which.first": 0.0,
            "which.last": 1.0,
        },
    ),
    # By instruction.
    "instruct model": ("LIVE_LoadModel", {"model": INSTRUCT, "precision": "float32"}),
    "change mask": (
        "LIVE_ChangeMask",
        {
            "model": ["instruct model", 0],
            "images": ["clip", 0],
            "instruction": INSTRUCTION,
            "threshold": 0.3,
            "noise_level": 0.6,
            "draws": 1,
            "seed": 0,
        },
    ),
    "local": (
        "LIVE_LocalLatents",
        {"mask": ["change mask", 0], "boundary": "reversed", "origin": "noised", "grow": 1, "feather": 1.0},
    ),
    "instruct": (
        "LIVE_Instruct",
        {
            "model": ["instruct model", 0],
            "images": ["clip", 0],
            "instruction": INSTRUCTION,
            "method": "gather-and-swap",
            "method.key_frames": 2,
            "method.swap_until": 1.0,
            "method.own_keys": False,
            "guidance_scale": 4.0,
            "image_guidance_scale": 1.5,
            "steps": 2,
            "seed": 0,
            "window": 2,
        },
    ),
    # A method of one's own.
    "frames": (
        "LIVE_MethodFrames",
        {
            "frame_plan": "self",
            "source": "reconstruction",
            "guidance_scale": 7.5,
            "start": 0.0,
            "min_width": 0.0,
            "decoupled_guidance": False,
            "norm_latent_prompt": False,
            "edit_latent_prompt": "trained",
            "unconditional_latent_prompt": "trained",
            "image_guidance_scale": 0.0,
        },
    ),
    "words": (
        "LIVE_MethodWords",
        {"method": ["frames", 0], "word_edit": "refine", "cross_ratio": 0.8, "place_ratio": 0.0, "cross_max_tokens": 0},
    ),
    "self": (
        "LIVE_MethodSelf",
        {
            "method": ["words", 0],
            "self_target": "spatial",
            "self_start": 0.0,
            "self_ratio": 0.4,
            "self_max_tokens": 256,
            "self_blend_threshold": 0.0,
        },
    ),
    "blend": (
        "LIVE_MethodBlend",
        {
            "method": ["self", 0],
            "blend_threshold": 0.3,
            "subtract_threshold": 0.3,
            "blend_start": 0.2,
            "blend_end": 1.0,
            "mask_from": "both",
            "mask_grow": 1,
            "mask_neighbours": 0,
        },
    ),
}
