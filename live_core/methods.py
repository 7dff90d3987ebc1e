"""Methods are data: each a row of settings for the one edit loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .frames import ALONE, FramePlan
from .method import Method

# LIVE (Electronics 2024, sections 3.3, 3.4 and 4). Where it contradicts itself or its preprint ("Image-driven video
# editing with latent diffusion models"), or says nothing: eq. 6 has the learned word's attention M* in the early steps
# and the source's M later, while the text and prompt-to-prompt, which it follows, inject the source's early, as here;
# "latent prompts are given noise" (3.2) is read with the preprint as the video's latents, the latent prompt itself
# stays clean; the clip is inverted under its own prompt with the trained latent prompt; the threshold of local blend is
# prompt-to-prompt's; group norm is Tune-A-Video's, over the clip's frames without the latent prompt.
LIVE = Method(
    "live",
    FramePlan(("latent_prompt", "first", "previous")),
    latent_prompt=True,
    unconditional_latent_prompt="reference",
    guidance_scale=12.5,
    cross_ratio=0.6,
    self_ratio=0.3,
    blend_threshold=0.3,
)
# LIVE as we recommend it, on Stable Diffusion too: what the bench found better than the paper's (bench/APPENDIX.md).
LIVE_RECOMMENDED = replace(
    LIVE,
    place_ratio=0.6,
    edit_latent_prompt="reference",
    unconditional_latent_prompt="trained",
    image_guidance_scale=2.0,
)
# Tune-A-Video (Wu et al. 2023) from noise inverted under the empty prompt, as its training script does, nothing
# injected: the baseline that LIVE compares with.
TAV_DDIM = Method("tav-ddim", FramePlan(("first", "previous")), inversion_prompt="empty", guidance_scale=12.5)
# FateZero (Qi et al. 2023). Its nine published configurations for attributes and, but for one, seven for styles read
# the middle frame, in layers of 640 (some 1280) of 1280 channels and more; self-attention comes from the inversion
# everywhere (blend_th 2), cross- and self-attention mostly for 0.5 to 0.9 of the steps, attributes by "replace" or
# "refine". A row has one of these settings; words are made stronger there (10 for a style's).
_FATEZERO: dict[str, Any] = {"guidance_scale": 7.5, "source": "inversion", "cross_max_tokens": 1024}
FATEZERO_STYLE = Method(
    "fatezero-style",
    FramePlan(("middle",), min_width=0.5),
    **_FATEZERO,
    word_edit="refine",
    cross_ratio=0.8,
    self_ratio=0.8,
)
FATEZERO_ATTRIBUTE = Method(
    "fatezero-attribute",
    FramePlan(("middle",), min_width=0.5),
    **_FATEZERO,
    word_edit="replace",
    cross_ratio=0.7,
    self_ratio=0.7,
)
# Shapes, on a model tuned to the clip: the published "jeep to Porsche". Every layer reads the previous and the first
# frame, and latents are not blended; where a graph blends them (blend_threshold), it is from step 10 to 40 of 50, as
# FateZero's one configuration that does.
FATEZERO_SHAPE = Method(
    "fatezero-shape",
    FramePlan(("previous", "first")),
    **_FATEZERO,
    word_edit="replace",
    cross_ratio=0.5,
    self_ratio=0.5,
    self_blend_threshold=0.3,
    blend_start=0.2,
    blend_end=0.8,
)
# "Blended Latent Diffusion under Attention Control for Real-World Video Editing" (Liu, Wu and Xie): inverted background
# latents outside a mask that the words' own attention gives. Only its abstract is known here. With nothing injected the
# edit's own maps wander over the picture, so the mask is the source words'. A quarter of the steps is skipped, as in
# blended latent diffusion's script (Avrahami et al. 2023).
BLENDED_LATENT = Method(
    "blended-latent",
    FramePlan(("first", "previous")),
    guidance_scale=7.5,
    start=0.25,
    source="inversion",
    blend_threshold=0.3,
    mask_from="source",
)
# Prompt-to-prompt frame by frame (Hertz et al. 2022); one picture is a clip of one frame. All values are those of its
# Stable Diffusion notebook; that of null-text inversion injects self-attention up to 32x32 tokens and blends from 0.2
# of the steps on.
PROMPT_TO_PROMPT = Method(
    "prompt-to-prompt",
    ALONE,
    guidance_scale=7.5,
    word_edit="refine",
    cross_ratio=0.8,
    self_ratio=0.4,
    self_max_tokens=256,
    blend_threshold=0.3,
)
# Video-P2P (Liu et al. 2023), on a tuned model: full with null text, fast without. Its self-attention injection acts on
# temporal attention: its code meets attention layers by their class, and spatial ones are of another.
VIDEO_P2P = Method(
    "video-p2p",
    FramePlan(("first",)),
    guidance_scale=7.5,
    decoupled_guidance=True,
    word_edit="refine",
    cross_ratio=0.2,
    self_ratio=0.5,
    self_target="temporal",
    blend_threshold=0.3,
    blend_start=0.2,
)
# vid2vid-zero (Wang et al. 2023): every frame reads every frame in three layers, the first and the previous one
# elsewhere. The clip is inverted under the empty prompt, and its null text found in one inner step, by attention frame
# by frame. Ratios of its script for "refine"; for "replace" it has 0.8 of cross-attention. Differs here: null text acts
# in all steps, as in prompt-to-prompt, while its configurations leave it out of the first half; and self-attention is
# injected, as its script asks, while its code, which looks for another class of layer, never does.
VID2VID_ZERO = Method(
    "vid2vid-zero",
    FramePlan(
        ("first", "previous"), dense_blocks=("down_blocks.0.attentions.0", "mid_block", "up_blocks.1.attentions.0")
    ),
    inversion_frame_plan=FramePlan(("self",)),
    inversion_prompt="empty",
    guidance_scale=7.5,
    word_edit="refine",
    cross_ratio=0.4,
    self_ratio=0.4,
)
# TokenFlow (Geyer et al. 2024), by Plug-and-Play: values of its configuration; the clip is inverted under its prompt,
# which it leaves to the user. Differs here: frames after the last whole segment, which its code leaves out, make a
# shorter one; the clip is inverted by DDIM in as many steps as the edit has, where its code also has other ways.
TOKENFLOW = Method(
    "tokenflow",
    ALONE,
    guidance_scale=7.5,
    source="path",
    self_ratio=0.5,
    self_max_tokens=None,
    segment_length=8,
    feature_ratio=0.8,
)
# Stable Diffusion frame by frame from inverted noise, nothing injected: no published method, what all others add to.
DDIM = Method("ddim", ALONE, guidance_scale=7.5)

METHODS = {
    method.name: method
    for method in (
        LIVE,
        TAV_DDIM,
        FATEZERO_STYLE,
        FATEZERO_ATTRIBUTE,
        FATEZERO_SHAPE,
        BLENDED_LATENT,
        PROMPT_TO_PROMPT,
        VIDEO_P2P,
        VID2VID_ZERO,
        TOKENFLOW,
        DDIM,
    )
}
