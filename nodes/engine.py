from comfy_api.v0_0_2 import io

from .node import Node
from .sockets import Engine


class RunOnRay(Node):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LIVE_Ray",
            display_name="Run on Ray",
            category="LIVE",
            description=(
                "Edit the windows of a clip on several GPUs or machines at a time, by Ray. The frames are the same as"
                " without."
            ),
            search_aliases=["distributed", "multi gpu", "cluster", "parallel", "many machines"],
            inputs=[
                io.String.Input(
                    "address",
                    default="",
                    tooltip=(
                        "HOST:PORT of a Ray cluster that this machine is part of, or auto to find it. Empty: Ray runs"
                        " on this machine alone, for as long as the edit takes."
                    ),
                ),
                io.Int.Input(
                    "workers",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip=(
                        "How many windows are edited at a time, each by a worker of its own. 0: one for each GPU; where"
                        " there is none, as many as there are cores for."
                    ),
                ),
            ],
            outputs=[Engine.Output(display_name="engine")],
        )

    @classmethod
    def execute(cls, address, workers) -> io.NodeOutput:
        from ..live_core.on_ray import OnRay
        from ..live_core.ray_cluster import imported

        imported()  # LiveError here rather than after the clip is encoded
        return io.NodeOutput(OnRay(address.strip(), workers))
