"""What the published report holds to the rows: claims, targets, settings, and which rows are old or empty. No code,
to be edited by hand.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Old:
    """Rows of a table that today's code would not give."""

    table: str
    rows: tuple[str, ...]
    why: str


RETRAINED = "fresh-retrained"  # the fresh seeds by today's model; every other table is of the model before
PASTED = (
    "live",
    "no-latent-prompt",
    "temporal-in-objective-2",
    "sequential",
    "asymmetric-guidance",
    "image-guidance-as-words",
    "photo-latent-prompt",
    "norm-latent-prompt",
    "self-temporal",
    "self-both",
    "no-placing",
    "no-placing-no-latent-prompt",
    "photo-square",
    "threshold-0.3",
    "dilation-0",
    "dilation-3",
    "blur-0",
    "blur-4",
)
# Once a row is measured anew, strike it here; `python -m bench.quality.published` then takes its mark away.
OLD = (
    Old(
        "photos",
        ("ceiling", *PASTED),
        "pasted by the first release's composite: its mask grew by 1 pixel, blurred by 1.5, and did not follow edges",
    ),
    Old(
        "photos",
        ("norm-latent-prompt",),
        "older arithmetic: the latent prompt was among the norms' frames in the edit alone, now in tuning too",
    ),
    Old(
        "words",
        ("prompt-to-prompt", "ddim"),
        "older arithmetic: group norm pooled over the clip's frames, now each frame is the picture model's alone",
    ),
    Old(
        "words",
        ("fatezero", "fatezero, guidance 7.5"),
        "older settings: changed words' places kept their own self-attention, now, as published, none does",
    ),
    Old(
        "words",
        ("fatezero-shape", "fatezero-shape+tuned"),
        "older settings: narrow layers saw their own frame alone, and latents were blended; now, as published, neither",
    ),
    Old(
        "words",
        ("prompt-to-prompt", "video-p2p+null", "vid2vid-zero+null", "video-p2p+tuned+null"),
        "older settings or null text: now those of one notebook each, and null text stops after a step, not before it",
    ),
    Old(
        "words",
        ("vid2vid-zero+null", "tav-ddim", "tav-ddim+tuned"),
        "older settings: inverted under the clip's prompt, now under the empty one; vid2vid-zero saw all frames in"
        " all layers",
    ),
    Old(
        "photos",
        ("tav-ddim-ti",),
        "older settings: inverted under the clip's prompt, now, as its authors do, under the empty one",
    ),
)


@dataclass(frozen=True)
class Empty:
    """A row of a table that cannot be measured here."""

    table: str
    row: str
    why: str


EMPTY = (
    Empty(
        "photos",
        "paint-by-example",
        "baseline: Paint by Example frame by frame, LIVE's fourth; not measured: its published weights know"
        " photographs, not the bench's drawn world, and none were trained on that",
    ),
)


@dataclass(frozen=True)
class Claim:
    """What a paper says of LIVE beside `rival`, in the differences of photos: LIVE has the better `measures`, or, where
    `of_rival`, the rival has."""

    says: str
    rival: str
    measures: tuple[str, ...]
    of_rival: bool = False


CLAIMS = (
    Claim(
        "LIVE is better than Tune-A-Video with DDIM and textual inversion",
        "tav-ddim-ti",
        ("object_accuracy", "object_error", "motion_error_px", "background_psnr_db"),
    ),
    Claim("worse without attention control (Fig. 8)", "no-attention-control", ("object_accuracy", "motion_error_px")),
    Claim(
        "worse without the latent prompt (Fig. 6)",
        "no-latent-prompt",
        ("object_accuracy", "object_error", "motion_error_px"),
    ),
    Claim(
        "worse if the photo trains temporal attention (Fig. 7)",
        "temporal-in-objective-2",
        ("object_accuracy", "motion_error_px"),
    ),
    Claim("objectives by turns are better than in sequence (3.3)", "sequential", ("object_accuracy",)),
    Claim(
        "guidance from the photo to the trained latent prompt beats the reverse (3.4)",
        "asymmetric-guidance",
        ("object_accuracy", "object_error"),
        of_rival=True,
    ),
)


@dataclass(frozen=True)
class Target:
    """What was asked of the pack: `measure` of `row` in `table`, or its multiple of that of the row `beside`, is at
    least or at most `bound`. `beside_in`: the table of that row, if another. `cases`: a pattern of their names; for
    words, their kind. `of`, `unit`: the measure as the report calls it."""

    says: str
    of: str
    table: str
    row: str
    measure: str
    bound: float
    unit: str = ""
    at_least: bool = True
    beside: str = ""
    beside_in: str = ""
    cases: str = ""


TARGETS = (
    Target(
        says="what ships comes closer to the true answer than the first release",
        of="edit error",
        table=RETRAINED,
        row="shipped",
        measure="edit_error",
        bound=0.6,
        unit=" of it",
        at_least=False,
        beside="plain-composite",
        beside_in="fresh",
    ),
    Target(
        says="less of the old thing stays than in the first release",
        of="ghost",
        table=RETRAINED,
        row="shipped",
        measure="ghost",
        bound=0.3,
        unit=" of it",
        at_least=False,
        beside="plain-composite",
        beside_in="fresh",
    ),
    Target(
        says="the new thing is as steady as a perfect edit",
        of="steadiness",
        table=RETRAINED,
        row="shipped",
        measure="steadiness",
        bound=1.5,
        unit=" of its",
        at_least=False,
        beside="ceiling",
    ),
    Target(
        says="the background stays, as seen",
        of="far pixels off",
        table=RETRAINED,
        row="shipped",
        measure="far_pixels_off",
        bound=0.01,
        at_least=False,
    ),
    *(
        Target(
            says=f"the photo's thing comes, if the model has {words}",
            of=of,
            table=RETRAINED,
            row="shipped",
            measure=measure,
            bound=bound,
            cases=cases,
        )
        for words, bound, cases in (("words for it", 0.8, "^fresh-(?!outside)"), ("none", 0.5, "^fresh-outside"))
        for of, measure in (("accuracy", "object_accuracy"), ("recognised", "recognised"))
    ),
    *(
        Target(
            says=says,
            of=of,
            table=RETRAINED,
            row="shipped",
            measure=measure,
            bound=1,
            unit=" of its",
            at_least=at_least,
            beside="tav-ddim-ti",
        )
        for says, of, measure, at_least in (
            ("what ships is nearer to the true answer than Tune-A-Video", "edit error", "edit_error", False),
            ("and keeps more of the background where the thing is right", "gated total", "gated_total", True),
        )
    ),
    Target(
        says="FateZero changes a colour",
        of="accuracy",
        table="words",
        row="fatezero",
        measure="accuracy",
        bound=0.8,
        cases="colour",
    ),
    Target(
        says="and keeps the shape",
        of="shape IoU",
        table="words",
        row="fatezero",
        measure="shape_iou",
        bound=0.8,
        cases="colour",
    ),
    Target(
        says="blended latent keeps the background without a given mask",
        of="background",
        table="words",
        row="blended-latent",
        measure="background_psnr_before_db",
        bound=30,
        unit=" dB",
        cases="colour",
    ),
    Target(
        says="FateZero removes a thing",
        of="accuracy",
        table="words",
        row="fatezero",
        measure="accuracy",
        bound=0.7,
        cases="removal",
    ),
)


@dataclass(frozen=True)
class Finding:
    """Rows that show it: (as a person would call it, the row), of the variants of photos or of LIVE by kind of case."""

    name: str
    table: str
    rows: tuple[tuple[str, str], ...]


FINDINGS = (
    Finding(
        "attention",
        "variant",
        (
            ("LIVE", "live"),
            ("LIVE without attention control", "no-attention-control"),
            ("Tune-A-Video with DDIM and textual inversion", "tav-ddim-ti"),
            ("a perfect edit by the model before", "ceiling"),
        ),
    ),
    Finding(
        "guidance",
        "variant",
        (
            ("the photo in the edit: ours", "image-guidance-as-words"),
            ("the trained latent prompt in the edit: the paper's", "asymmetric-guidance"),
        ),
    ),
    Finding(
        "words",
        "kind",
        (
            ("things it has words for", "inside"),
            ("patterned things, things without a word", "outside"),
        ),
    ),
)

# What ships, and what it is held against: (setting, shipped, alternative, the alternative's row of photos).
SETTINGS = (
    ("what group norm pools", "the clip's frames", "with the latent prompt's", "norm-latent-prompt"),
    ("what the photo's vector descends (`photo_loss`)", "log", "square (the papers)", "photo-square"),
    ("guidance of the latent prompt (`image_guidance_scale`)", "2", "as the words (LIVE)", "image-guidance-as-words"),
    ("", "", "1: the photo's latent in every stream", "photo-latent-prompt"),
    ("placing (`place_ratio`, ours)", "0.6", "none (LIVE)", "no-placing"),
    ("self-attention injected (`self_target`)", "spatial", "temporal", "self-temporal"),
    ("", "", "both", "self-both"),
    ("threshold of local blend (`blend_threshold`)", "0.4", "0.3 (prompt-to-prompt)", "threshold-0.3"),
    ("mask grown by the first release's composite, px", "1", "0", "dilation-0"),
    ("", "", "3", "dilation-3"),
    ("its blur, px", "1.5", "0", "blur-0"),
    ("", "", "4", "blur-4"),
)
