import os

from comfy_api.v0_0_2 import io

from .node import Node
from .sockets import Engine

TRUSTED = "LIVE_RAY_CLUSTERS"  # in the environment: the clusters, HOST:PORT and commas, that a graph may name


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
                        "HOST:PORT of a Ray cluster that this machine is part of, or auto to find it; one of another"
                        f" machine must be in the environment variable {TRUSTED}. Empty: Ray runs on this machine"
                        " alone, for as long as the edit takes."
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

        engine = OnRay(address.strip(), workers)
        _check_trusted(engine.address)
        imported()  # LiveError here rather than after the clip is encoded
        return io.NodeOutput(engine)


def _check_trusted(address: str) -> None:
    """LiveError for a cluster on another machine that only the graph names: what a cluster answers can be code, and
    graphs are shared. What `auto` finds is set up by whoever runs this machine."""
    from ..live_core import LiveError

    trusted = [each.strip() for each in os.environ.get(TRUSTED, "").split(",")]
    if address in ("", "auto", *trusted) or address.rpartition(":")[0] in ("127.0.0.1", "localhost"):
        return
    raise LiveError(
        f"address: {address!r:.100} is on another machine, and a cluster can run code on this one, so a graph alone may"
        f" not choose it; if you trust it, start ComfyUI with {TRUSTED}={address:.100}"
    )
