from comfy_api.v0_0_2 import io

from . import host
from .node import Node
from .sockets import Records

MOST_PIXELS = 2**25  # of images and mask together with all rows; half a gigabyte
WORDS, STEPS, MASKS, SELF = "words", "steps", "masks", "self-attention"


def _inputs(which: str) -> list[io.Input]:
    """What one choice of `which` asks for."""
    words = io.String.Input(
        "words", default="", tooltip="Words or phrases of the chosen prompt, separated by commas. Empty: every word."
    )
    side = io.Combo.Input(
        "side",
        options=["edit", "source"],
        tooltip="Whose attention: the edit's under its own prompt, or the clip's under the clip's prompt.",
    )
    part = [
        io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tip)
        for name, default, tip in (
            ("first", 0.0, "From this part of the steps, of which the noisiest come first."),
            ("last", 1.0, "To this part of the steps. The same as first: one step."),
        )
    ]
    rows = io.Int.Input(
        "rows", default=5, min=1, max=64, tooltip="How many steps to show, evenly chosen from that part."
    )
    return {WORDS: [words, side, *part], STEPS: [words, side, *part, rows], MASKS: [*part, rows], SELF: [side]}[which]


class Inspect(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Inspect",
            display_name="Show Attention",
            category="LIVE",
            description=(
                "See what the attention saw while the edit ran: where each word looked, which masks were used, how"
                " self-attention groups the picture. Nothing is run again."
            ),
            search_aliases=["heat map", "cross-attention", "attention maps", "DAAM", "PCA", "inspect"],
            inputs=[
                Records.Input("records", tooltip="From Edit Video."),
                io.Image.Input("images", tooltip="What to lay it over: the clip's own frames or the edited ones."),
                io.DynamicCombo.Input(
                    "which",
                    options=[io.DynamicCombo.Option(name, _inputs(name)) for name in (WORDS, STEPS, MASKS, SELF)],
                    tooltip=(
                        "words: a row a word, mean of the steps. steps: a row a step for each word. masks: where the"
                        " edit might change the clip, step by step. self-attention: places that attend alike in one"
                        " colour."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output(display_name="sheet"),
                io.Image.Output(display_name="images"),
                io.Mask.Output(display_name="mask"),
            ],
        )

    @classmethod
    def execute(cls, records, images, which) -> io.NodeOutput:
        from ..live_core.inspect import scaled, show_masks, show_self_attention, show_steps, show_words
        from ..live_core.notes import note
        from ..live_core.preview import plot_rows

        kind, part = which["which"], (which.get("first"), which.get("last"))
        view = {
            WORDS: lambda: show_words(records, images, which["words"], which["side"], part),
            STEPS: lambda: show_steps(records, images, which["words"], which["side"], part, which["rows"]),
            MASKS: lambda: show_masks(records, images, part, which["rows"]),
            SELF: lambda: show_self_attention(records, images, which["side"]),
        }[kind]()
        rows, (frames, height, width) = len(view.labels), images.shape[:3]
        sheet = plot_rows(
            lambda row, i, size: view.cell(row - 1, i, size) if row else scaled(images[i].cpu(), size),
            (1 + rows, frames, height, width),
            ("images", *view.labels),
        )
        size = view.size_within(max(MOST_PIXELS, frames * height * width))
        if size != (height, width):
            note(
                f"which: {rows} rows of {frames} frames of {width}x{height} are too much for one batch, so images and"
                f" mask are {size[1]}x{size[0]}; choose fewer words or rows for the clip's own size. The sheet is as it"
                " would be"
            )
        pictures, maps = view.drawn(size)
        return io.NodeOutput(*(host.to_images(x) for x in (sheet, pictures.flatten(0, 1), maps.flatten(0, 1))))
