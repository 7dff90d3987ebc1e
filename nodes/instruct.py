from comfy_api.v0_0_2 import io

from ..live_core.frames import GroupPlan
from ..live_core.instruct_settings import GATHER_AND_SWAP, INSTRUCT_METHODS, INSTRUCT_PIX2PIX, Instruction
from . import host
from .fields import input_of
from .node import Node
from .sockets import Engine, LocalLatents, Model


class Instruct(Node):
    @classmethod
    def define_schema(cls):
        model, *asked = asked_inputs()
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
                model,
                io.Image.Input("images", tooltip="The clip's frames."),
                *asked,
                io.String.Input(
                    "part",
                    default="",
                    tooltip=(
                        "i/n, such as 2/3: only the second of three parts of the clip, in whole windows, and its frames"
                        " alone. For several ComfyUI servers, which the headless client shares a clip out to."
                    ),
                    optional=True,
                    force_input=True,  # no widget for what scripts alone give
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Latent.Output(
                    display_name="latents", tooltip="The same frames before they are decoded, for Decode Latents."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        images,
        instruction,
        method,
        steps,
        seed,
        window,
        local=None,
        conditioning=None,
        engine=None,
        part="",
        **guidance,
    ) -> io.NodeOutput:
        from dataclasses import replace

        from ..live_core.bases import INSTRUCT
        from ..live_core.instruct import instruct, texts_of

        model.check_base(INSTRUCT, "Edit by Instruction")
        windows = -(-len(images) // window)
        with host.on_device(model):
            latents = instruct(
                model,
                model.encode_frames(images),
                Instruction(instruction, steps, seed),
                replace(row_of(method), **guidance),
                local,
                None if conditioning is None else texts_of(conditioning),
                window,
                host.Progress(model, steps * windows),
                engine,
                part.strip(),
            )
            return io.NodeOutput(
                host.to_images(model.decode_frames(latents)), {"samples": host.to_images(model.plain(latents))}
            )


def asked_inputs() -> list[io.Input]:
    """The model, and what it is asked: how the instruction is written and followed, by which frames, where, by whom."""
    return [
        Model.Input("model", tooltip="An InstructPix2Pix model, such as instruct-pix2pix of Stable Diffusion 1.5."),
        input_of(Instruction, "text", "instruction", default=None),
        _method_input(),
        input_of(INSTRUCT_PIX2PIX, "guidance_scale"),
        input_of(INSTRUCT_PIX2PIX, "image_guidance_scale"),
        input_of(Instruction, "steps"),
        input_of(Instruction, "seed", control_after_generate=io.ControlAfterGenerate.fixed),
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
        Engine.Input("engine", optional=True, tooltip="From Run on Ray: several windows at a time."),
    ]


def _method_input() -> io.Input:
    group = [
        input_of(GroupPlan, "size", "key_frames"),
        input_of(GATHER_AND_SWAP, "swap_until"),
        input_of(GroupPlan, "own", "own_keys"),
    ]
    return io.DynamicCombo.Input(
        "method",
        options=[
            io.DynamicCombo.Option(name, group if row is GATHER_AND_SWAP else [])
            for name, row in INSTRUCT_METHODS.items()
        ],
        tooltip=(
            "gather-and-swap: key frames are edited one after the other, each from those before it, and all frames take"
            " their attention's keys and values (VIA). instruct-pix2pix: frame by frame, which flickers."
        ),
    )


def row_of(chosen: dict):
    """The row that a `method` input stands for."""
    from dataclasses import replace

    row = INSTRUCT_METHODS[chosen["method"]]
    if "key_frames" not in chosen:
        return row
    plan = GroupPlan(size=chosen["key_frames"], own=chosen["own_keys"])
    return replace(row, frame_plan=plan, swap_until=chosen["swap_until"])
