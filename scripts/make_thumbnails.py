"""Run each API workflow as it ships on a real ComfyUI server and make the picture that ComfyUI's Templates shows for
it: workflows/api/*.json -> workflows/*.jpg. Clip above edit: first, middle and last frame; photos in the clip's corner;
below, of a workflow that shows attention, where a word was looked for; last the title of its note.
A workflow for a model of one's own, which none ships, has its mask in the place of the edit, if that can be made.

    make thumbnails        # or, for some of them: $COMFYUI_PYTHON scripts/make_thumbnails.py NAME ...

One to five minutes a workflow on a CPU, with all its steps: the picture is what Run gives. To be run again when the
demo model changes.
"""

import asyncio
import io
import json
import pathlib
import sys
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from headless import Client, Server  # noqa: E402

PHOTO = 36  # side of a photo's inset, pixels
CHARACTER, LINE = 9, 18  # of a title, the widest and the height, pixels
# Workflows for models that do not ship.
OWN = ("paint_by_example", "inpaint_clip", "via_sam3", "instruct_core_nodes", "style_lora")
BEFORE = {"live_edit_again": "live_keep_and_measure"}  # what a workflow reads, another one has written
LEFT_OUT = ("SaveVideo", "SaveImage", "LIVE_Compare")  # of those: what asks for an edit
STREAMS = ("LIVE_StreamEdit", "LIVE_StreamInstruct")


def previews(graph: dict) -> dict:
    """A preview of the workflow's clip, of the edit and of each photo: nodes clip, edit, photo0, photo1, ..."""
    photos = [node["inputs"]["photo"] for node in graph.values() if node["class_type"] == "LIVE_BindConcept"]
    of_photos = {f"photo{i}": _preview(photo) for i, photo in enumerate(photos)}
    streamed = [(number, node) for number, node in graph.items() if node["class_type"] in STREAMS]
    if streamed:
        ((number, node),) = streamed
        return {
            **{name: _preview([f"{name} frames", 0]) for name in ("clip", "edit")},
            **of_photos,
            "clip frames": {"class_type": "GetVideoComponents", "inputs": {"video": node["inputs"]["video"]}},
            "edit frames": {"class_type": "GetVideoComponents", "inputs": {"video": [number, 0]}},
        }
    (clip,), (edit,) = (  # parts of an edit are of one clip
        {tuple(node["inputs"]["images"]) for node in graph.values() if node["class_type"] in kinds}
        for kinds in (["LIVE_Invert", "LIVE_EditLong", "LIVE_Instruct"], ["CreateVideo", "SaveImage"])
    )
    by_steps = [number for number, node in graph.items() if node["inputs"].get("which") == "steps"]
    heat = {"heat": _preview([by_steps[0], 1])} if by_steps else {}
    return {"clip": _preview(clip), "edit": _preview(edit), **heat, **of_photos}


def _preview(images: Sequence) -> dict:
    return {"class_type": "PreviewImage", "inputs": {"images": list(images)}}


def previews_of_own(graph: dict) -> dict:
    """Of a workflow that cannot be run without a model of one's own: the clip, and what is there of mask and photos."""
    (clip,) = [i for i, node in graph.items() if node["class_type"] == "LIVE_FitClip"]
    masks = [i for i, node in graph.items() if node["class_type"] == "GrowMask"]
    photos = [node["inputs"]["photo"] for node in graph.values() if "photo" in node["inputs"]]
    shown, made = {"clip": [clip, 0], **{f"photo{i}": photo for i, photo in enumerate(photos)}}, {}
    if masks:
        made["mask"] = {"class_type": "MaskToImage", "inputs": {"mask": [masks[0], 0]}}
        shown["edit"] = ["mask", 0]
    return made | {name: {"class_type": "PreviewImage", "inputs": {"images": images}} for name, images in shown.items()}


def lay_out(strips: list[list[Image.Image]], photos: list[Image.Image]) -> Image.Image:
    """At most three frames of each strip, one above the other: the clip's, the edit's, where a word was looked for; one
    picture stands beside its edit.
    """
    chosen = sorted({0, len(strips[0]) // 2, len(strips[0]) - 1})
    strips = [np.concatenate([np.asarray(frames[i]) for i in chosen], 1) for frames in strips if frames]
    sheet = Image.fromarray(np.concatenate(strips, axis=int(len(chosen) == 1)))
    for i, photo in enumerate(photos):
        sheet.paste(ImageOps.expand(photo.resize((PHOTO, PHOTO)), 2, "white"), (4 + i * (PHOTO + 8), 4))
    return sheet


def titled(sheet: Image.Image, name: str) -> Image.Image:
    """`sheet` above what its workflow is for, so that no two are alike."""
    title = (ROOT / "scripts" / "notes" / f"{name}.md").read_text().partition("\n")[0].removeprefix("## ")
    title = f"App: {title}" if name.startswith("app_") else title
    lines = textwrap.wrap(title, sheet.width // CHARACTER)
    made = ImageOps.expand(sheet, (0, 0, 0, LINE * len(lines) + 6), "#202020")
    place = (6, sheet.height + 1)
    ImageDraw.Draw(made).text(place, "\n".join(lines), "white", ImageFont.load_default(15), spacing=3)
    return made


async def make(client: Client, name: str) -> None:
    graph = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text())
    shown = previews_of_own(graph) if name in OWN else previews(graph)
    if name in OWN:
        graph = {i: node for i, node in graph.items() if node["class_type"] not in LEFT_OUT}
    outcome, events, history = await client.run(graph | shown)
    if outcome != "success":
        raise SystemExit(f"{name}: {outcome}: {events[-1][2].get('exception_message')}")
    pictures = {
        node: [
            Image.open(io.BytesIO(await client.fetch(file))).convert("RGB")
            for file in history["outputs"][node]["images"]
        ]
        for node, entry in shown.items()
        if entry["class_type"] == "PreviewImage"
    }
    path = ROOT / "workflows" / f"{name}.jpg"
    clip, edit, heat = (pictures.pop(strip, []) for strip in ("clip", "edit", "heat"))
    strips = [clip, edit, heat[-len(clip) :]]  # of the last step shown
    sheet = lay_out(strips, [photo for (photo,) in pictures.values()])
    titled(sheet, name).save(path, quality=88, optimize=True)
    print(f"{name}: {events[-1][0] - events[0][0]:.0f} s, {path.stat().st_size / 1000:.1f} kB", flush=True)


async def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
    with Server(ROOT) as server:
        async with Client(server.url) as client:
            for name in names:
                if name in BEFORE:
                    await client.run(json.loads((ROOT / "workflows" / "api" / f"{BEFORE[name]}.json").read_text()))
                await make(client, name)


if __name__ == "__main__":
    asyncio.run(main())
