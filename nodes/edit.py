from comfy_api.v0_0_2 import io

from . import host
from .fields import memory_input
from .methods import method_input, method_of
from .node import LATER, Node
from .sockets import Inversion, Model, Records


class Edit(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Edit",
            display_name="Edit Video",
            category="LIVE",
            description=(
                "Make the clip again from its noise under another prompt, by the method you choose: what is kept of the"
                " clip's attention and background is the method's affair."
            ),
            search_aliases=[
                "prompt-to-prompt",
                "word swap",
                "local blend",
                "FateZero",
                "blended latent diffusion",
                "Video-P2P",
                "vid2vid-zero",
                "style transfer",
                "attention control",
                "replace object",
                "remove object",
            ],
            inputs=[
                Model.Input("model", tooltip="The model that the clip was inverted with."),
                Inversion.Input(
                    "inversion", tooltip="From Invert Video, for the same method, or from Null-Text Inversion."
                ),
                edit_prompt_input(),
                method_input(),
                *change_inputs(),
                memory_input("streams apart", "in parts"),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.Mask.Output(display_name="mask"),
                Records.Output(display_name="records"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        inversion,
        prompt,
        method,
        source_words,
        edit_words,
        subtract_words,
        keep_words,
        word_weights,
        word_windows="",
        mask=None,
        negative_prompt="",
        memory="auto",
    ) -> io.NodeOutput:
        from ..live_core.editing import edit

        row = method_of(method)
        change = change_of(
            prompt,
            keep_words,
            word_weights,
            word_windows,
            source_words=source_words,
            edit_words=edit_words,
            subtract_words=subtract_words,
            negative_prompt=negative_prompt,
        )
        with host.on_device(model, memory):
            edited = edit(model, inversion, change, row, host.Progress(model, inversion.steps), mask)
            images = host.to_images(model.decode_frames(edited.latents))
        return io.NodeOutput(images, host.to_images(edited.mask), edited.records, ui=said_of(edited.looked_for))


def edit_prompt_input() -> io.Input:
    return io.String.Input(
        "prompt",
        multiline=True,
        dynamic_prompts=True,
        tooltip=(
            "What the edited clip shall show: the clip's prompt with words replaced or added, or with a"
            " placeholder for the thing in a photo."
        ),
    )


def change_inputs() -> list[io.Input]:
    """What an edit is asked beside its prompt: words to look for, to keep and to weigh, where, and what not to show."""
    return [
        io.String.Input(
            "source_words",
            default="",
            advanced=True,
            tooltip=(
                "Where to look for what changes: words of the clip's prompt, separated by commas. Empty: the"
                " content words without a partner in the other prompt. The node shows which it looked for."
            ),
        ),
        io.String.Input("edit_words", default="", advanced=True, tooltip="The same for words of this prompt."),
        io.String.Input(
            "subtract_words",
            default="",
            advanced=True,
            tooltip="Words of either prompt whose places local blend leaves to the clip.",
        ),
        io.String.Input(
            "keep_words",
            default="",
            advanced=True,
            tooltip=(
                "Words whose attention comes from the clip, separated by commas; for live and where word_edit"
                " is swap. Empty: every word both prompts share."
            ),
        ),
        io.String.Input(
            "word_weights",
            default="",
            advanced=True,
            tooltip=(
                "More or less attention to words of this prompt while attention is injected, such as"
                ' "watercolor=10, road=0.5".'
            ),
        ),
        io.String.Input(
            "word_windows",
            default="",
            advanced=True,
            optional=True,
            tooltip=(
                "When attention to words of this prompt is injected, in place of cross_ratio: parts of the"
                ' steps, such as "car: 0-0.4, tree: 0.2-0.8".'
            ),
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip=(
                "Where the edit may change the clip, besides what local blend finds; one frame, or one for each"
                " of the clip's."
            ),
        ),
        io.String.Input(
            "negative_prompt",
            default="",
            multiline=True,
            dynamic_prompts=True,
            **LATER,
            tooltip=("What the edited clip shall not show. Null text takes its place, except with decoupled_guidance."),
        ),
    ]


def change_of(prompt: str, keep_words: str, word_weights: str, word_windows: str, **words: str):
    """The `live_core.change.Edit` that these inputs ask for."""
    from ..live_core.change import Edit as Change
    from ..live_core.phrases import read_weights, read_windows

    return Change(
        prompt,
        keep_words.strip() or None,
        weights=read_weights(word_weights),
        windows=read_windows(word_windows),
        **words,
    )


def said_of(looked_for: tuple[str, str]) -> dict[str, tuple[str, ...]] | None:
    """A line for the node: the words of either prompt whose places masks were read from; none where none were."""
    sought = " and ".join(
        f"{words!r} of {whose} prompt" for words, whose in zip(looked_for, ("the clip's", "this"), strict=True) if words
    )
    return {"text": (f"looked for {sought}",)} if sought else None
