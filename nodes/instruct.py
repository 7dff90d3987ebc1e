from comfy_api.v0_0_2 import io

from . import host
from .node import Node
from .sockets import LocalLatents, Model

INSTRUCTION = (
    "What to change, said as to a person: 'make the ball blue', 'turn the cat into a fox', 'make it night'. Not what"
    " the clip shows."
)


class Instruct(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Instruct",
            display_name="Edit by Instruction",
            category="LIVE",
            description=(
                "Change a clip by an instruction, with an InstructPix2Pix model: no inversion, no tuning. Key frames"
                " that every frame reads hold the clip together (VIA), and long clips are edited window by window."
            ),
            search_aliases=["instruct pix2pix", "ip2p", "VIA", "gather and swap", "edit by text", "long video"],
            inputs=[
                Model.Input(
                    "model", tooltip="An InstructPix2Pix model, such as instruct-pix2pix of Stable Diffusion 1.5."
                ),
                io.Image.Input("images", tooltip="The clip's frames."),
                io.String.Input("instruction", multiline=True, dynamic_prompts=True, tooltip=INSTRUCTION),
                _method_input(),
                io.Float.Input(
                    "guidance_scale",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="How strongly the edit follows the instruction.",
                ),
                io.Float.Input(
                    "image_guidance_scale",
                    default=1.5,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="How much the edit keeps of the clip; 1 to 2.5 are usual. More where too much changes.",
                ),
                io.Int.Input(
                    "steps",
                    default=10,
                    min=1,
                    max=1000,
                    tooltip="DDIM steps. VIA has 10 to 20: more give detail, and more that went wrong.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    tooltip="Draws the noise that every frame starts from. Another seed is another answer.",
                ),
                io.Int.Input(
                    "window",
                    default=16,
                    min=1,
                    max=4096,
                    advanced=True,
                    tooltip=(
                        "So many frames are edited at a time, besides the key frames. Memory is that of one window, and"
                        " the frames are the same for any."
                    ),
                ),
                LocalLatents.Input(
                    "local",
                    optional=True,
                    tooltip="From Local Latent Adaptation: a mask, outside which the clip stays as it is.",
                ),
                io.Conditioning.Input(
                    "conditioning",
                    optional=True,
                    tooltip=(
                        "What the model reads in the place of the instruction: one text for all frames, or one for"
                        " each, as MGIE's language model gives. Then frames read the key frames' texts too."
                    ),
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(
        cls,
        model,
        images,
        instruction,
        method,
        guidance_scale,
        image_guidance_scale,
        steps,
        seed,
        window,
        local=None,
        conditioning=None,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..live_core.bases import INSTRUCT
        from ..live_core.instruct import Instruction, instruct, texts_of

        model.check_base(INSTRUCT, "Edit by Instruction")
        row = replace(_row_of(method), guidance_scale=guidance_scale, image_guidance_scale=image_guidance_scale)
        windows = -(-len(images) // window)
        with host.on_device(model):
            latents = instruct(
                model,
                model.encode_frames(images),
                Instruction(instruction, steps, seed),
                row,
                local,
                None if conditioning is None else texts_of(conditioning),
                window,
                host.Progress(model, steps * windows),
            )
            return io.NodeOutput(host.to_images(model.decode_frames(latents)))


def _method_input() -> io.Input:
    group = [
        io.Int.Input(
            "key_frames",
            default=4,
            min=1,
            max=64,
            tooltip="How many frames, evenly over the clip, every frame reads. More for long and lively clips.",
        ),
        io.Float.Input(
            "swap_until",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Part of the steps in which frames read the key frames; VIA: 0.8 or more. Later each reads itself.",
        ),
        io.Boolean.Input(
            "own_keys",
            default=False,
            advanced=True,
            tooltip="Every frame reads itself besides the key frames; in the paper it does not.",
        ),
    ]
    return io.DynamicCombo.Input(
        "method",
        options=[io.DynamicCombo.Option("gather-and-swap", group), io.DynamicCombo.Option("instruct-pix2pix", [])],
        tooltip=(
            "gather-and-swap: key frames are edited one after the other, each from those before it, and all frames take"
            " their attention's keys and values (VIA). instruct-pix2pix: frame by frame, which flickers."
        ),
    )


def _row_of(chosen: dict):
    """The row that a `method` input stands for."""
    from dataclasses import replace

    from ..live_core.frames import GroupPlan
    from ..live_core.instruct import INSTRUCT_METHODS

    row = INSTRUCT_METHODS[chosen["method"]]
    if "key_frames" not in chosen:
        return row
    plan = GroupPlan(size=chosen["key_frames"], own=chosen["own_keys"])
    return replace(row, frame_plan=plan, swap_until=chosen["swap_until"])


class AdaptLatents(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_LocalLatents",
            display_name="Local Latent Adaptation",
            category="LIVE",
            description=(
                "Where an edit by instruction may act: outside the mask the clip's own latents stay, inside the edit"
                " comes in step by step (VIA)."
            ),
            search_aliases=["local edit", "progressive boundary integration", "masked edit", "VIA"],
            inputs=[
                io.Mask.Input(
                    "mask", tooltip="White where the edit may act: one frame, or one for each of the clip's."
                ),
                io.Combo.Input(
                    "boundary",
                    options=["reversed", "rising", "none"],
                    default="reversed",
                    tooltip=(
                        "reversed: inside the mask all is the edit's from the start, and outside the clip comes in over"
                        " the steps. rising: inside the edit's weight rises from 0 to 1, as the paper's text has it,"
                        " which holds to the clip. none: the mask at every step."
                    ),
                ),
                io.Combo.Input(
                    "origin",
                    options=["inverted", "noised"],
                    default="inverted",
                    tooltip=(
                        "The clip's latents at each step. inverted: by DDIM inversion, as in the paper, one more"
                        " forward a step. noised: the clip under the edit's own noise, at no cost."
                    ),
                ),
                io.Int.Input(
                    "grow", default=8, min=0, max=512, tooltip="Pixels by which the mask grows on every side."
                ),
                io.Float.Input(
                    "feather",
                    default=4.0,
                    min=0.0,
                    max=200.0,
                    step=0.5,
                    tooltip="Then it is blurred with a Gaussian of this sigma in pixels.",
                ),
            ],
            outputs=[LocalLatents.Output(display_name="local")],
        )

    @classmethod
    def execute(cls, mask, boundary, origin, grow, feather) -> io.NodeOutput:
        from ..live_core.local_latents import Local

        return io.NodeOutput(Local(mask, boundary, origin, grow, feather))


class ChangeMask(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_ChangeMask",
            display_name="Mask by Instruction",
            category="LIVE",
            description=(
                "Find where an instruction would change a clip: where an InstructPix2Pix model sees it differently with"
                " the instruction than without."
            ),
            search_aliases=["relevance map", "DiffEdit", "automatic mask", "change map"],
            inputs=[
                Model.Input("model", tooltip="An InstructPix2Pix model."),
                io.Image.Input("images", tooltip="The clip's frames."),
                io.String.Input("instruction", multiline=True, dynamic_prompts=True, tooltip=INSTRUCTION),
                io.Float.Input(
                    "threshold",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of the clip's greatest difference above which the mask is white. Lower is larger.",
                ),
                io.Float.Input(
                    "noise_level",
                    default=0.6,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="How far the clip is noised before the model looks at it.",
                ),
                io.Int.Input(
                    "draws",
                    default=8,
                    min=1,
                    max=64,
                    advanced=True,
                    tooltip="How many noises the difference is averaged over. More: smoother, and slower.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    advanced=True,
                    tooltip="Draws the noises.",
                ),
            ],
            outputs=[io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(cls, model, images, instruction, threshold, noise_level, draws, seed) -> io.NodeOutput:
        from ..live_core.bases import INSTRUCT
        from ..live_core.change_map import change_mask
        from ..live_core.instruct import Instruction

        model.check_base(INSTRUCT, "Mask by Instruction")
        with host.on_device(model):
            mask = change_mask(
                model,
                model.encode_frames(images),
                Instruction(instruction, seed=seed),
                threshold,
                noise_level,
                draws,
                host.Progress(model, len(images)),
            )
        return io.NodeOutput(host.to_images(mask))
