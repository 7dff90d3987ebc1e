from comfy_api.v0_0_2 import io, ui

from ..live_core.notes import note
from . import host
from .node import Node

NONE = "none"
MEASURES = ("CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM")


class Measure(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Measure",
            display_name="Measure Edit",
            category="LIVE",
            is_output_node=True,
            description=(
                "Numbers for an edited clip: how well it shows its prompt, how steady it is, and how much changed"
                " outside a mask."
            ),
            search_aliases=["CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM", "metrics"],
            inputs=[
                io.Image.Input("images", tooltip="The clip's own frames."),
                io.Image.Input("edited", tooltip="The edited frames, of the same size and number."),
                io.Combo.Input(
                    "clip_folder",
                    options=[NONE, *host.clip_folders()],
                    tooltip=(
                        "A CLIP model in transformers layout in models/clip_vision, such as"
                        " openai/clip-vit-base-patch32. none: the CLIP of the sockets, or no CLIP measures."
                    ),
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What the edited clip should show. Empty: no CLIP score and no Frame-Acc.",
                ),
                io.String.Input(
                    "source_prompt", multiline=True, default="", tooltip="What the clip shows. Empty: no Frame-Acc."
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Instead of a folder: CLIP's image encoder, from Load CLIP Vision. Alone it gives Tem-Con.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip=(
                        "The text encoder of the same CLIP model, with its projection, from Load CLIP. One from a"
                        " Stable Diffusion 1.x checkpoint has none."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Where the edit may show; PSNR and SSIM count the rest. Without it they count whole frames."
                    ),
                ),
            ],
            outputs=[
                *(io.Float.Output(display_name=name) for name in MEASURES),
                io.String.Output(display_name="table"),
                io.Image.Output(display_name="plot"),
            ],
        )

    @classmethod
    def execute(
        cls, images, edited, clip_folder, prompt, source_prompt, clip_vision=None, clip=None, mask=None
    ) -> io.NodeOutput:
        from ..live_core import metrics
        from ..live_core.compositing import check_mask, check_pair
        from ..live_core.preview import plot_lines

        check_pair(edited, images)
        if mask is not None:
            check_mask(mask, images)
        # With --gpu-only some nodes give what is on the device, and others what is not.
        images = images.cpu()
        edited = edited.cpu()
        outside = None if mask is None else 1 - mask.cpu()
        if outside is not None and not outside.any():
            note(
                "mask: it covers the whole picture, so PSNR and SSIM have nothing to compare; connect a smaller mask,"
                " or none"
            )
        curves = {}
        if (judge := _judge(clip_folder, clip_vision, clip)) is not None:
            features, reads = judge.images(edited), clip is not None or clip_folder != NONE
            target, source = (
                judge.text(metrics.words_to_judge(text, name)) if reads and text.strip() else None
                for text, name in ((prompt, "prompt"), (source_prompt, "source prompt"))
            )
            if target is not None:
                curves["CLIP score"] = metrics.clip_score(features, target)
            curves["Tem-Con"] = metrics.temporal_consistency(features)
            if target is not None and source is not None:
                curves["Frame-Acc"] = metrics.frame_accuracy(features, target, source).float()
        curves |= {
            "PSNR": metrics.psnr(edited, images, outside).clamp(max=100),
            "SSIM": metrics.ssim(edited, images, outside),
        }
        means = {name: float(curves[name].nanmean()) if name in curves else float("nan") for name in MEASURES}
        rows = [f"| {name} | {f'{means[name]:.4g}' if name in curves else 'not measured'} |" for name in MEASURES]
        table = "\n".join(["| measure | mean over frames |", "|---|---|", *rows])
        return io.NodeOutput(*means.values(), table, plot_lines(curves), ui=ui.PreviewText(table))


def _judge(folder: str, vision, text):
    """The CLIP that was chosen or connected, None without one."""
    from ..live_core import LiveError, metrics

    if vision is None and text is not None:
        raise LiveError(
            "clip: connected without clip_vision; connect Load CLIP Vision with the same CLIP model's image encoder"
        )
    if vision is not None and folder != NONE:
        raise LiveError(
            f"clip_folder: {folder!r}, and clip_vision is connected too; set clip_folder to {NONE!r} or disconnect"
            " clip_vision"
        )
    if vision is not None:
        return host.ComfyClip(vision, text)
    return None if folder == NONE else metrics.load_clip_model(host.clip_folder(folder))
