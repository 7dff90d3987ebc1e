from comfy_api.v0_0_2 import io, ui

from . import host
from .node import Node
from .sockets import Model


class SaveTuning(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_SaveTuning",
            display_name="Save Tuning",
            category="LIVE",
            is_output_node=True,
            description="Save what Tune Video learned to models/live, as one safetensors file.",
            inputs=[
                Model.Input("model", tooltip="A tuned model."),
                io.String.Input(
                    "name", default="my-tuning", tooltip="File name without ending. A file of that name is replaced."
                ),
                io.Boolean.Input(
                    "save_embedding",
                    default=False,
                    advanced=True,
                    optional=True,
                    tooltip=(
                        'Also save what the placeholder learned to models/embeddings, for "embedding:<name>" in any'
                        " prompt."
                    ),
                ),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, model, name, save_embedding=False) -> io.NodeOutput:
        from ..live_core import LiveError
        from ..live_core.tunings import save_embedding, save_tuning

        if model.tuning is None:
            raise LiveError("model: it has no tuning to save; connect the output of Tune Video")
        saved = [host.new_path("live", name)]
        save_tuning(model.tuning, saved[0])
        if save_embedding:
            concepts = model.tuning.concepts
            for i, concept in enumerate(concepts, 1):
                saved.append(host.new_path("embeddings", name if len(concepts) == 1 else f"{name}-{i}"))
                save_embedding(concept, saved[-1])
        return io.NodeOutput(
            ui=ui.PreviewText("saved " + ", ".join(f"models/{path.parent.name}/{path.name}" for path in saved))
        )


class LoadTuning(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_LoadTuning",
            display_name="Load Tuning",
            category="LIVE",
            description="Put a saved tuning on the base model it was trained on.",
            inputs=[
                Model.Input("model", tooltip="The base model."),
                io.Combo.Input("tuning", options=host.tuning_names(), tooltip="A file of models/live."),
            ],
            outputs=[Model.Output(display_name="tuned model")],
        )

    @classmethod
    def fingerprint_inputs(cls, tuning, **_):
        """Save Tuning replaces files: one of the same name may be another. NaN: of a name that comes by a link nothing
        is known yet.
        """
        if tuning not in host.tuning_names():
            return float("nan")
        stat = host.tuning_path(tuning).stat()
        return f"{stat.st_mtime_ns} {stat.st_size}"

    @classmethod
    def execute(cls, model, tuning) -> io.NodeOutput:
        from ..live_core.tunings import load_tuning

        return io.NodeOutput(model.with_tuning(load_tuning(host.tuning_path(tuning))))
