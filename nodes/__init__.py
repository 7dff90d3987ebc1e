"""What ComfyUI sees: one file a stage, each a schema and a short execute over `live_core`."""

from comfy_api.v0_0_2 import ComfyExtension

from .adapt import AdaptToEdit
from .artifacts import LoadTuning, SaveTuning
from .bind import BindConcept
from .change_mask import ChangeMask
from .clips import FitClip
from .compare import Compare
from .composite import Composite, Reconstruct
from .decode import DecodeLatents
from .edit import Edit
from .engine import RunOnRay
from .evaluate import Measure
from .host import offer_demo_files, register_folders
from .inspect import Inspect
from .instruct import Instruct
from .invert import Invert, NullText
from .load import DemoClip, FromComfy, LoadModel
from .local import AdaptLatents
from .long import EditLong
from .methods import MethodBlend, MethodFrames, MethodSelf, MethodWords
from .paint import Inpaint, PaintByExample
from .renames import RENAMES, register_renames
from .stream import StreamEdit, StreamInstruct
from .tune import Tune


class LiveExtension(ComfyExtension):
    async def on_load(self):
        register_folders()
        await register_renames(RENAMES)
        offer_demo_files()

    async def get_node_list(self):
        return [
            LoadModel,
            FromComfy,
            DemoClip,
            FitClip,
            BindConcept,
            Tune,
            Invert,
            NullText,
            Edit,
            AdaptToEdit,
            EditLong,
            Instruct,
            StreamEdit,
            StreamInstruct,
            RunOnRay,
            DecodeLatents,
            AdaptLatents,
            ChangeMask,
            PaintByExample,
            Inpaint,
            Composite,
            Reconstruct,
            Inspect,
            Compare,
            Measure,
            SaveTuning,
            LoadTuning,
            MethodFrames,
            MethodWords,
            MethodSelf,
            MethodBlend,
        ]
