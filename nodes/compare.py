from comfy_api.v0_0_2 import io, ui

from .node import Node

LONGEST = 1024  # pixels of what plays on the node


class Compare(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Compare",
            display_name="Compare Clips",
            category="LIVE",
            description="Play the clip and the edit side by side on the canvas, and below them photo and mask.",
            search_aliases=["side by side", "before after", "preview video", "contact sheet"],
            is_output_node=True,
            inputs=[
                # The first picture is what a bypassed node hands on.
                io.Image.Input("edited", tooltip="The edited frames, beside them: as many."),
                io.Image.Input("images", tooltip="The clip's own frames, on the left."),
                io.Image.Input("photo", optional=True, tooltip="What the edit is of, below the clip."),
                io.Mask.Input("mask", optional=True, tooltip="Where the edit shows, below the edit."),
                io.Float.Input(
                    "fps", default=8.0, min=0.1, max=240.0, step=0.1, tooltip="Frames a second, as the clip has them."
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, images, edited, fps, photo=None, mask=None) -> io.NodeOutput:
        from ..live_core.comparing import side_by_side

        given = {"images": images, "edited": edited, "photo": photo, "mask": mask}
        panels = {name: panel for name, panel in given.items() if panel is not None}
        beside = side_by_side(panels, LONGEST)
        # For looking at alone, so without the workflow in it: a result dropped back on the page is the saved one.
        file = ui.ImageSaveHelper.save_animated_webp(
            beside, "live_compare", io.FolderType.temp, None, fps, lossless=False, quality=85, method=2
        )
        return io.NodeOutput(beside, ui=ui.SavedImages([file], is_animated=len(beside) > 1))
