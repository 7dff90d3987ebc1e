from comfy_api.v0_0_2 import io, ui

from . import host

NONE = "none"


class Measure(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Measure", display_name="Measure Edit", category="LIVE", is_output_node=True,
            description="Numbers for an edited clip: how well it shows its prompt, how steady it is, and how much changed outside a mask.",
            search_aliases=["CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM", "metrics"],
            inputs=[io.Image.Input("images", tooltip="The clip's own frames."),
                    io.Image.Input("edited", tooltip="The edited frames, of the same size and number."),
                    io.Combo.Input("clip_folder", options=[NONE, *host.clip_folders()],
                                   tooltip="A CLIP model in transformers layout in models/clip_vision, such as openai/clip-vit-base-patch32. none: no CLIP measures."),
                    io.String.Input("prompt", multiline=True, default="", tooltip="What the edited clip should show."),
                    io.String.Input("source_prompt", multiline=True, default="", tooltip="What the clip shows."),
                    io.Mask.Input("mask", optional=True, tooltip="Where the edit may show; PSNR and SSIM count the rest. Without it they count whole frames.")],
            outputs=[io.Float.Output(display_name="CLIP score"), io.Float.Output(display_name="Tem-Con"), io.Float.Output(display_name="Frame-Acc"),
                     io.Float.Output(display_name="PSNR"), io.Float.Output(display_name="SSIM"), io.String.Output(display_name="table"),
                     io.Image.Output(display_name="plot")])

    @classmethod
    def execute(cls, images, edited, clip_folder, prompt, source_prompt, mask=None) -> io.NodeOutput:
        from ..live_core import metrics
        from ..live_core.compositing import check_pair
        from ..live_core.preview import plot_lines
        check_pair(edited, images)
        outside = None if mask is None else 1 - mask
        curves = {}
        if clip_folder != NONE:
            model = metrics.load_clip_model(host.clip_folder(clip_folder))
            features, target = model.images(edited), model.text(prompt)
            curves = {"CLIP score": metrics.clip_score(features, target), "Tem-Con": metrics.temporal_consistency(features),
                      "Frame-Acc": metrics.frame_accuracy(features, target, model.text(source_prompt)).float()}
        curves |= {"PSNR": metrics.psnr(edited, images, outside).clamp(max=100), "SSIM": metrics.ssim(edited, images, outside)}
        means = {name: float(curves[name].nanmean()) if name in curves else float("nan") for name in ("CLIP score", "Tem-Con", "Frame-Acc", "PSNR", "SSIM")}
        table = "\n".join(["| measure | mean over frames |", "|---|---|", *(f"| {name} | {value:.4g} |" for name, value in means.items())])
        return io.NodeOutput(*means.values(), table, plot_lines(curves), ui=ui.PreviewText(table))
