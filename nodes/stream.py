from comfy_api.v0_0_2 import io

from ..live_core.clips import Fit
from ..live_core.instruct_settings import Instruction
from . import host, videos
from .edit import said_of
from .instruct import asked_inputs, row_of
from .long import long_edit, long_inputs
from .node import Node
from .sockets import Model


class StreamInstruct(Node):
    @classmethod
    def define_schema(cls):
        model, *asked = asked_inputs()
        return io.Schema(
            node_id="LIVE_StreamInstruct",
            display_name="Edit Long Video by Instruction",
            category="LIVE",
            description=(
                "Edit by Instruction for videos of any length: frames are read, edited and written window by window, in"
                " the memory of one window. Sound, rate and the moments of frames stay; a run that was stopped, or"
                " killed, goes on from the last finished window."
            ),
            search_aliases=["long video", "minutes", "stream", "instruct pix2pix", "resume", "variable frame rate"],
            inputs=[
                model,
                *videos.video_inputs(),
                *asked,
                *videos.file_inputs("local's mask"),
            ],
            outputs=[io.Video.Output(display_name="video")],
        )

    @classmethod
    def execute(
        cls,
        model,
        video,
        longest_side,
        instruction,
        method,
        steps,
        seed,
        window,
        local=None,
        conditioning=None,
        engine=None,
        mask_video=None,
        crf=18.0,
        **guidance,
    ) -> io.NodeOutput:
        from dataclasses import replace
        from functools import partial

        import torch

        from ..live_core.instruct import texts_of
        from ..live_core.instruct_stream import InstructedWindows, edit_task
        from ..live_core.local import Local
        from ..live_core.streaming import Job

        clip, sound = videos.footage(video, Fit(longest_side, multiple=model.pixels_per_latent))
        masks = videos.masks(clip, local and local.mask, mask_video)
        if masks is not None and local is None:
            local = Local(torch.empty(0))  # of which only the settings are read
        asked = InstructedWindows(
            Instruction(instruction, steps, seed),
            replace(row_of(method), **guidance),
            local,
            None if conditioning is None else texts_of(conditioning),
        )
        windows = asked.windows(model, len(clip), window)
        with host.on_device(model):
            job = Job(clip, windows, asked.key(model), masks)
            return io.NodeOutput(videos.edited(model, job, partial(edit_task, asked=asked), steps, sound, engine, crf))


class StreamEdit(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_StreamEdit",
            display_name="Edit Long Video",
            category="LIVE",
            description=(
                "Edit Long Clip from file to file: frames are read, inverted, edited by prompts, pasted and written"
                " window by window, in the memory of one window. Sound, rate and the moments of frames stay; a run that"
                " was stopped, or killed, goes on from the last finished window."
            ),
            search_aliases=["long video", "minutes", "stream", "FateZero", "prompt-to-prompt", "resume"],
            inputs=[
                Model.Input("model", tooltip="From Load LIVE Model, or tuned: in Tune Video give a window too."),
                *videos.video_inputs(),
                *long_inputs(),
                *videos.file_inputs("mask"),
            ],
            outputs=[io.Video.Output(display_name="video")],
        )

    @classmethod
    def execute(
        cls, model, video, longest_side, mask=None, engine=None, mask_video=None, crf=18.0, **asked
    ) -> io.NodeOutput:
        from functools import partial

        from ..live_core.long_clips import looked_for
        from ..live_core.long_stream import PromptedWindows, edit_task
        from ..live_core.streaming import Job

        clip, sound = videos.footage(video, Fit(longest_side, multiple=model.pixels_per_latent))
        masks = videos.masks(clip, mask, mask_video)
        prompted = PromptedWindows(long_edit(**asked), len(clip))
        windows = prompted.windows(model)
        sought = looked_for(model, prompted.asked, masks is not None)
        with host.on_device(model):
            job = Job(clip, windows, prompted.key(model), masks)
            work, steps = partial(edit_task, asked=prompted), prompted.asked.steps_of_a_window
            return io.NodeOutput(videos.edited(model, job, work, steps, sound, engine, crf), ui=said_of(sought))
