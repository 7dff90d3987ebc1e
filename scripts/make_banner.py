"""The pictures that the registry shows of the pack, of docs/demo.webp: docs/icon.png, the clip and its edit in one
frame, and docs/banner.png, clip, photo and edit, 21 wide to 9 high.

    $COMFYUI_PYTHON scripts/make_banner.py
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).resolve().parents[1] / "docs"
FRAME, SIDE, LEFTS, TOP = 2, 256, (24, 304, 584), 34  # of the moving picture: clip, photo and edit
THING = (92, 42, 228, 178)  # where it is in that frame
ICON, BANNER, PANEL = 384, (1260, 540), 360
INK, PAPER = (24, 32, 48), (244, 246, 250)


def panels() -> list[Image.Image]:
    moving = Image.open(DOCS / "demo.webp")
    moving.seek(FRAME)
    frame = moving.convert("RGB")
    return [frame.crop((left, TOP, left + SIDE, TOP + SIDE)) for left in LEFTS]


def icon(clip: Image.Image, edit: Image.Image) -> Image.Image:
    """Close to the thing: the clip above the diagonal, and the edit below."""
    corner = Image.new("L", (ICON, ICON), 0)
    ImageDraw.Draw(corner).polygon([(ICON, 0), (ICON, ICON), (0, ICON)], fill=255)
    before, after = (picture.resize((ICON, ICON), Image.LANCZOS, THING) for picture in (clip, edit))
    return Image.composite(after, before, corner)


def banner(pictures: list[Image.Image]) -> Image.Image:
    wide, high = BANNER
    sheet = Image.new("RGB", BANNER, PAPER)
    draw = ImageDraw.Draw(sheet)
    gap = (wide - 3 * PANEL) // 4
    top = high - PANEL - gap
    for i, picture in enumerate(pictures):
        sheet.paste(picture.resize((PANEL, PANEL), Image.LANCZOS), (gap + i * (PANEL + gap), top))
    for i, sign in enumerate("+="):
        place = (gap + (i + 1) * (PANEL + gap) - gap / 2, top + PANEL / 2)
        draw.text(place, sign, INK, ImageFont.load_default(44), anchor="mm")
    draw.text((gap, top / 2), "LIVE", INK, ImageFont.load_default(84), anchor="lm")
    says = "the thing in a photo, in your clip"
    draw.text((wide - gap, top / 2 + 8), says, INK, ImageFont.load_default(40), anchor="rm")
    return sheet


if __name__ == "__main__":
    shown = panels()
    icon(shown[0], shown[2]).quantize(128).save(DOCS / "icon.png", optimize=True)
    banner(shown).quantize(192).save(DOCS / "banner.png", optimize=True)
