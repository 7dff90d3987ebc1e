"""What is compared: LIVE as the shipped workflow runs it, its ablations, and the baselines; each a row of settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from live_core.methods import FATEZERO_SHAPE, LIVE, PROMPT_TO_PROMPT, TAV_DDIM, VID2VID_ZERO, VIDEO_P2P, Method
from live_core.tuning import TuneSettings

from .binding import BINDINGS, ONE_PHOTO, Binding
from .less_work import with_less_work
from .pasting import pasted_otherwise
from .rows import NULL_TEXT_STEPS, key_of

WORKFLOW = json.loads(
    (Path(__file__).resolve().parents[2] / "workflows" / "api" / "live_image_driven_edit.json").read_text()
)
NODES = {node["class_type"]: node["inputs"] for node in WORKFLOW.values()}


def _settings(node: str, *names: str, prefix: str = "") -> dict:
    return {name: NODES[node][prefix + name] for name in names}


@dataclass(frozen=True)
class Variant:
    """`null_text`: at most so many steps of null-text inversion for each DDIM step, 0 for none. `pasted`: over the
    clip's own pixels, once frames within `steady_reach` agree, or with `cut_out` once its things are cut out and made
    as wide as the old ones within `resize`, through the mask that the edit found, brought to the edges within
    `edge_radius`, with what hangs together with it within `cover_radius`, grown and blurred; with `gives_back`, only
    where the edit changed something (`live_core.refining`). `claim`: what the papers say of it, or what is asked.
    """

    name: str
    tuning: TuneSettings
    method: Method
    blur: float
    dilation: int
    null_text: int = 0
    pasted: bool = True
    edge_radius: int = 0
    cover_radius: int = 0
    steady_reach: float = 0.0
    cut_out: bool = False
    resize: float = 0.0
    gives_back: bool = False
    binding: Binding = ONE_PHOTO
    claim: str = ""

    def key(self, weights: str, steps: int) -> str:
        """Names a measurement by all that it depends on, and by nothing else."""
        return key_of(
            weights,
            steps,
            self.tuning,
            replace(self.method, name=""),
            self.blur,
            self.dilation,
            *(["null text", self.null_text] if self.null_text else []),
            *([] if self.pasted else ["not pasted"]),
            *(["edges", self.edge_radius] if self.edge_radius else []),
            *(["covers", self.cover_radius] if self.cover_radius else []),
            *(["steady", float(self.steady_reach)] if self.steady_reach else []),
            *(["cut out", float(self.resize)] if self.cut_out else []),
            *(["gives back"] if self.gives_back else []),
            *([self.binding] if self.binding != ONE_PHOTO else []),
        )


SHIPPED_TUNING = TuneSettings(
    **_settings(
        "LIVE_Tune",
        "clip_steps",
        "photo_steps",
        "clip_rate",
        "latent_prompt_rate",
        "photo_rate",
        "photo_latent_prompt",
        "photo_loss",
        "seed",
    )
)
# All other rows were measured with four times the steps on the clip, which change nothing (APPENDIX).
TUNING = replace(SHIPPED_TUNING, clip_steps=60)
SHIPPED_METHOD = replace(
    LIVE,
    **_settings(
        "LIVE_Edit",
        "guidance_scale",
        "image_guidance_scale",
        "cross_ratio",
        "place_ratio",
        "self_ratio",
        "self_target",
        "self_blend_threshold",
        "self_blend_start",
        "fresh_noise",
        "noise_seed",
        "agree_ratio",
        "blend_threshold",
        "blend_start",
        "edit_latent_prompt",
        "unconditional_latent_prompt",
        prefix="method.",
    ),
)
METHOD = replace(
    SHIPPED_METHOD,
    image_guidance_scale=2.0,
    self_blend_threshold=None,
    self_blend_start=0.0,
    fresh_noise=0.0,
    agree_ratio=0.0,
)
PASTED = _settings(
    "LIVE_Composite", "blur", "dilation", "edge_radius", "cover_radius", "steady_reach", "cut_out", "resize"
)
SHIPPED = Variant("shipped", SHIPPED_TUNING, SHIPPED_METHOD, **PASTED)
# LIVE without what the pack adds to hold the new thing: what ablations and baselines are compared with.
PLAIN_LIVE = replace(
    SHIPPED,
    name="live",
    tuning=TUNING,
    method=METHOD,
    cover_radius=0,
    steady_reach=0.0,
    cut_out=False,
    claim="LIVE by what the workflows had before fresh noise, frames that agree and self-attention of the thing's own",
)
SEAT_IN_NORM = replace(METHOD.frame_plan, norm="clip and latent prompt")
PLAIN = replace(TUNING, latent_prompt=False, frame_plan=TAV_DDIM.frame_plan)


def _live(name: str, claim: str, tuning: dict | None = None, **method) -> Variant:
    return replace(
        PLAIN_LIVE, name=name, claim=claim, tuning=replace(TUNING, **(tuning or {})), method=replace(METHOD, **method)
    )


def _baseline(name: str, method: Method, claim: str, tuned: bool = False, null_text: int = NULL_TEXT_STEPS) -> Variant:
    """A method of the literature with the photo learned by textual inversion as ours is, and nothing pasted. `tuned`:
    on a model tuned to the clip. The guidance is ours, since the published 7.5 burns the demo model's colours; a
    placeholder has no partner in the clip's prompt, so words are refined."""
    tuning = replace(PLAIN, frame_plan=method.frame_plan, clip_steps=TUNING.clip_steps if tuned else 0)
    return Variant(
        name,
        tuning,
        replace(method, guidance_scale=METHOD.guidance_scale, word_edit="refine"),
        0,
        0,
        null_text,
        pasted=False,
        claim=claim,
    )


VARIANTS = {
    variant.name: variant
    for variant in (
        PLAIN_LIVE,
        SHIPPED,
        _live("agree", "frames agree on the new thing", agree_ratio=0.9),
        _live(
            "own-place",
            "and keep their own self-attention in its place, after 0.3 of the steps",
            agree_ratio=0.9,
            self_blend_threshold=0.3,
            self_blend_start=0.3,
        ),
        replace(
            PLAIN_LIVE,
            name="new-noise",
            method=replace(SHIPPED.method, image_guidance_scale=2.0),
            claim="and noise is fresh there",
        ),
        replace(
            SHIPPED,
            name="no-cover",
            tuning=TUNING,
            cover_radius=0,
            claim="what ships, with tips outside the mask left as they are",
        ),
        Variant(
            "tav-ddim-ti",
            PLAIN,
            replace(TAV_DDIM, guidance_scale=METHOD.guidance_scale),
            0,
            0,
            claim="baseline: Tune-A-Video, DDIM inversion, textual inversion (by the logarithm too); no composite",
        ),
        _baseline(
            "video-p2p-ti", VIDEO_P2P, "baseline: Video-P2P on a tuned model, null text, textual inversion", tuned=True
        ),
        _baseline(
            "fatezero-shape-ti",
            FATEZERO_SHAPE,
            "baseline: FateZero for shapes on a tuned model, textual inversion",
            tuned=True,
            null_text=0,
        ),
        _baseline("vid2vid-zero-ti", VID2VID_ZERO, "baseline: vid2vid-zero, null text, textual inversion", null_text=1),
        _baseline(
            "prompt-to-prompt-ti",
            PROMPT_TO_PROMPT,
            "baseline: prompt-to-prompt frame by frame, null text, textual inversion",
        ),
        replace(
            PLAIN_LIVE,
            name="no-latent-prompt",
            tuning=PLAIN,
            method=replace(METHOD, latent_prompt=False, frame_plan=TAV_DDIM.frame_plan),
            claim="Fig. 6: without the latent prompt worse",
        ),
        _live(
            "seat-held",
            "Fig. 6: the latent prompt's seat alone: the first frame, never trained",
            {"latent_prompt_rate": 0.0},
        ),
        _live("seat-rate-3e-5", "the latent prompt at the papers' rate for the clip", {"latent_prompt_rate": 3e-5}),
        _live("seat-rate-0.03", "the latent prompt at ten times the shipped rate", {"latent_prompt_rate": 0.03}),
        _live(
            "temporal-in-objective-2",
            "Fig. 7: temporal attention trained by the photo too: worse",
            {"temporal_in_photo_steps": True},
        ),
        _live(
            "no-attention-control",
            "Fig. 8: without injected attention and local blend worse",
            cross_ratio=0.0,
            self_ratio=0.0,
            blend_threshold=None,
        ),
        _live("no-injection", "local blend alone", cross_ratio=0.0, self_ratio=0.0),
        _live("sequential", "section 3.3: objectives by turns better than one after the other", {"alternate": False}),
        _live(
            "asymmetric-guidance",
            "section 3.4: the trained latent prompt against the photo's, guided as far as the words; to be compared"
            " with image-guidance-as-words",
            edit_latent_prompt="trained",
            unconditional_latent_prompt="reference",
            image_guidance_scale=None,
        ),
        _live(
            "image-guidance-as-words",
            "the seats guided as far as the words, one stream less, as the paper does it",
            image_guidance_scale=None,
        ),
        _live("image-guidance-2.5", "the photo's latent guided a little further", image_guidance_scale=2.5),
        _live(
            "trained-latent-prompt",
            "the trained latent prompt in every stream of the edit",
            edit_latent_prompt="trained",
        ),
        _live(
            "photo-latent-prompt",
            "the photo's latent in every stream of the edit",
            unconditional_latent_prompt="reference",
        ),
        _live(
            "photo-in-seat",
            "section 3.3: the photo's latent as its latent prompt in objective 2",
            {"photo_latent_prompt": True},
        ),
        _live(
            "norm-latent-prompt",
            "the latent prompt's frame in the joint statistics of group norm, as one more frame of the clip, in"
            " tuning too",
            {"frame_plan": SEAT_IN_NORM},
            frame_plan=SEAT_IN_NORM,
        ),
        _live("self-temporal", "which self-attention to inject", self_target="temporal"),
        _live("self-both", "which self-attention to inject", self_target="both"),
        _live(
            "no-placing",
            "the paper's word swap: a placeholder looks where it likes from the first step on",
            place_ratio=0.0,
        ),
        replace(
            PLAIN_LIVE,
            name="no-placing-no-latent-prompt",
            tuning=PLAIN,
            method=replace(METHOD, latent_prompt=False, frame_plan=TAV_DDIM.frame_plan, place_ratio=0.0),
            claim="Fig. 6 where nothing else holds the placeholder to its place; to be compared with no-placing",
        ),
        _live("place-0.4", "placing for 0.4 of the steps, not for all in which words are injected", place_ratio=0.4),
        _live("self-0.3", "self-attention injected for the papers' part of the steps, 0.3", self_ratio=0.3),
        _live("self-0.6", "self-attention injected for 0.6 of the steps", self_ratio=0.6),
        _live("self-0.8", "self-attention injected for 0.8 of the steps", self_ratio=0.8),
        _live(
            "photo-square",
            "textual inversion by mean squared error, as the papers have it, not by its logarithm",
            {"photo_loss": "square"},
        ),
        _live("threshold-0.3", "prompt-to-prompt's threshold of local blend, 0.3", blend_threshold=0.3),
        replace(
            PLAIN_LIVE,
            name="null-text",
            null_text=NULL_TEXT_STEPS,
            claim="null-text inversion under LIVE, which no paper tried",
        ),
        *pasted_otherwise(PLAIN_LIVE, SHIPPED),
        *with_less_work(SHIPPED),
        *(
            replace(SHIPPED, name=name, tuning=TUNING, binding=binding, claim=claim)
            for name, (binding, claim) in BINDINGS.items()
        ),
    )
}
