"""Where the nodes of a workflow stand: a group for each stage, left to right, in columns that a screen is high enough
for, so that the whole of most workflows is seen at a size that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence

# The groups, left to right, and what stands in each from top to bottom; the first holds the rest.
STAGES = {
    "Model and clip": (
        "LIVE_LoadModel",
        "CheckpointLoaderSimple",
        "LoraLoader",
        "LIVE_FromComfy",
        "LIVE_DemoClip",
        "LoadVideo",
        "LIVE_FitClip",
        "LIVE_Ray",
    ),
    "Words and photo": (
        "PrimitiveString",
        "CLIPTextEncode",
        "LoadImage",
        "InvertMask",
        "LIVE_BindConcept",
        "ImageFromBatch",
        "SolidMask",
        "MaskComposite",
    ),
    "Method": ("LIVE_MethodFrames", "LIVE_MethodWords", "LIVE_MethodSelf", "LIVE_MethodBlend"),
    "Prepare": (
        "LIVE_Tune",
        "LIVE_SaveTuning",
        "LIVE_LoadTuning",
        "LIVE_AdaptToEdit",
        "LIVE_Invert",
        "LIVE_NullText",
        "LIVE_ChangeMask",
        "SAM3_VideoTrack",
        "SAM3_TrackToMask",
        "GrowMask",
        "LIVE_LocalLatents",
        "InstructPixToPixConditioning",
        "LatentBatchSeedBehavior",
        "RandomNoise",
        "KSamplerSelect",
        "BasicScheduler",
    ),
    "Edit": (
        "LIVE_Edit",
        "LIVE_EditLong",
        "LIVE_StreamEdit",
        "LIVE_Instruct",
        "LIVE_StreamInstruct",
        "LIVE_PaintByExample",
        "LIVE_Inpaint",
        "DualCFGGuider",
        "SamplerCustomAdvanced",
        "VAEDecode",
        "BatchLatentsNode",
        "LIVE_Decode",
    ),
    "Result": ("LIVE_Compare", "LIVE_Reconstruct", "LIVE_Composite", "CreateVideo", "SaveVideo", "SaveImage"),
    "Attention": ("LIVE_Inspect",),
    "Pictures": ("LIVE_Measure", "PreviewImage"),
}

# What a screen of 1600x1000 shows at the zoom at which a label is 10 pixels high (web/opening_view.js), in units of the
# canvas.
ACROSS, DOWN = 1810, 1060
TALLEST = 1600  # a stage that stands alone: what is at its end is looked at after a run
WIDE = 320  # a node
TITLE, GAP, PAD, HEAD = 30, 22, 14, 36  # above a node; between nodes; of a group, left and right; and its own title
NEXT = 12  # between groups
NOTE, NOTE_WIDE = "MarkdownNote", WIDE + 2 * PAD
MORE = 240  # by which the last column may be wider

# Below nodes that show something, room to grow by it: what the page adds for a preview, for a line of text, for many.
PREVIEW, TEXT, LINES = 264, 60, 320
SHOWS = {
    "LIVE_Tune": PREVIEW,
    "LIVE_Invert": PREVIEW,
    "LIVE_NullText": PREVIEW,
    "LIVE_AdaptToEdit": PREVIEW,
    "LIVE_Edit": PREVIEW + TEXT,
    "LIVE_EditLong": PREVIEW + TEXT,
    "LIVE_Instruct": PREVIEW,
    "LIVE_StreamEdit": PREVIEW + TEXT,
    "LIVE_StreamInstruct": PREVIEW,
    "LIVE_ChangeMask": PREVIEW,
    "LIVE_PaintByExample": PREVIEW,
    "LIVE_Inpaint": PREVIEW,
    "LIVE_Inspect": TEXT,
    "LIVE_Measure": LINES,
    "LIVE_SaveTuning": LINES,
    "SaveVideo": PREVIEW,
}
LEAST = {"PreviewImage": 420, "LoadVideo": 406, "LoadImage": 326, "SaveImage": 340, "LIVE_Compare": 440}

Box = tuple[float, float, float, float]  # x, y, width, height
Node = tuple[str, float, float]  # its number, its height, and what it needs beside


def arrange(nodes: dict[str, tuple[str, float]]) -> tuple[dict[str, Box], dict[str, Box]]:
    """Places of the nodes (number -> kind and height) and of the groups (title -> place).

    A stage stands under the one before it while the column is no higher than a screen; one that is much higher alone
    has several columns. What is left of the screen's width goes to the last column. The note stands under the shorter
    of the first two columns.
    """
    notes = [number for number, (kind, _) in nodes.items() if kind == NOTE]
    placed: dict[str, Box] = {}
    groups: dict[str, Box] = {}
    bottoms: dict[float, float] = {}  # of the columns, by their left
    x = y = 0.0
    for title, numbers in stages_of({number: kind for number, (kind, _) in nodes.items() if kind != NOTE}).items():
        columns = _columns([_needs(number, *nodes[number]) for number in numbers])
        tall = HEAD + max(sum(height + room for _, height, room in column) for column in columns)
        wide = len(columns) * (WIDE + PAD) + PAD
        if y and (y + tall > DOWN or len(columns) > 1):
            x, y = x + NOTE_WIDE + NEXT, 0.0
        groups[title] = (x, y, wide, tall)
        for i, column in enumerate(columns):
            top = y + HEAD + TITLE
            for number, height, room in column:
                placed[number] = (x + PAD + i * (WIDE + PAD), top, WIDE, height)
                top += height + room
        y += tall + NEXT
        bottoms[x] = y
        if len(columns) > 1:
            x, y = x + wide + NEXT, 0.0
    _widen(placed, groups)
    for number in notes:
        left, bottom = min(list(bottoms.items())[:2], key=lambda column: column[1])
        placed[number] = (left, bottom + TITLE, NOTE_WIDE, nodes[number][1])
    return placed, groups


def _needs(number: str, kind: str, height: float) -> Node:
    return number, max(height, LEAST.get(kind, 0)), TITLE + GAP + SHOWS.get(kind, 0)


def stages_of(kinds: dict[str, str]) -> dict[str, list[str]]:
    """The nodes of each stage that has any, from top to bottom."""
    places = {
        number: next(
            ((i, stage.index(kind)) for i, stage in enumerate(STAGES.values()) if kind in stage),
            (0, 0),
        )
        for number, kind in kinds.items()
    }
    found = {
        title: sorted((n for n in kinds if places[n][0] == i), key=lambda n: (places[n][1], int(n)))
        for i, title in enumerate(STAGES)
    }
    return {title: numbers for title, numbers in found.items() if numbers}


def _columns(stage: Sequence[Node]) -> list[list[Node]]:
    """A stage in as few columns as are not too high; a node that is higher stands alone."""
    columns: list[list[Node]] = []
    used = 0.0
    for node in stage:
        _, height, room = node
        if not columns or HEAD + used + height + room > TALLEST:
            columns.append([])
            used = 0.0
        columns[-1].append(node)
        used += height + room
    return columns


def _widen(placed: dict[str, Box], groups: dict[str, Box]) -> None:
    """The last column, by what is left of the screen's width: the result is there."""
    spare = min(ACROSS - max(x + wide for x, _, wide, _ in groups.values()), MORE)
    last = max(x for x, *_ in placed.values())
    if spare <= 0:
        return
    for number, (x, y, wide, tall) in placed.items():
        if x == last:
            placed[number] = (x, y, wide + spare, tall)
    for title, (x, y, wide, tall) in groups.items():
        if x < last < x + wide:
            groups[title] = (x, y, wide + spare, tall)
