"""Lay the API workflows out as UI workflows with the real ComfyUI page: workflows/api/*.json -> workflows/*.json.

    make workflows        # or, for some of them: $COMFYUI_PYTHON scripts/make_workflows.py NAME ...

A group for each stage, few enough that the page shows them all at a size that can be read; the note stands below the
shorter of the first two. Nodes stand far enough apart for ComfyUI's other renderer too, Nodes 2.0, which draws them
taller; below Invert Video is room for its preview, by which it grows while it runs. With LIVE_SCREENSHOTS set to a
folder, a picture of each goes there.
"""

import json
import os
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]
import page as browser  # noqa: E402
from headless import Server  # noqa: E402

# Inputs in italics, as nodes: the page draws code in blue on the note's brown.
NOTES = {
    "live_image_driven_edit": (
        """## LIVE: put the thing in a photo into a clip

Press **Run**: the small demo model, clip and photo that ship with this pack need no download and take about two minutes on a CPU.

"A red ball moving on the meadow" becomes "a `<thing*>` moving on the meadow". Each *case* of the demo node brings clip, photo and words.

**For your own clip and photo**
1. In *Load LIVE Model* choose your Stable Diffusion 1.x or 2.x model: a checkpoint or a diffusers folder. (With LoRAs: *Load Checkpoint* → *Load LoRA* → *LIVE Model from MODEL, CLIP, VAE*.)
2. Link *Load Video* to *Fit Clip* in the place of the demo's *video*, and *Load Image* to *Bind Photo* in the place of its *photo*. *Fit Clip* caps size and frames; the sound comes along.
3. Cut the demo's links to both prompts and to *initial_word*, and write your own. *Prompt* says what the clip shows. *Edit prompt* is the same with the placeholder `<thing*>` in the place of the thing to replace. *Initial word* (in *Bind Photo*) is one common word for what the photo shows.
4. The values here are the demo model's. *live_stable_diffusion* is this workflow with the papers' values for Stable Diffusion, and with *Load Video* and *Load Image* in place: begin there.

**When the result is off**: motion or background not kept → more *cross_ratio* and *self_ratio*; thing not like the photo → more *image_guidance_scale* (it costs background), more photo steps, less *self_ratio*; edit spills → higher *blend_threshold*; thing beside its place → more *cross_ratio*, *place_ratio* with it; the old thing goes and nothing comes → in *Tune Video* try another *seed*, with *photo_loss* log."""
    ),
    "live_stable_diffusion": (
        """## LIVE with the papers' values, for Stable Diffusion 1.x at 512x512

1. In *Load LIVE Model* choose your checkpoint.
2. Upload your clip in *Load Video* and your photo in *Load Image*. *Fit Clip* takes the first 24 frames, at most 512 pixels wide or high; the sound comes along. A photo cut out with transparency is learned where it is opaque.
3. Write both prompts, and as *initial word* one common word for what the photo shows: "cat" learns a cat sooner than "thing".

500 steps for the clip and 500 for the photo at the papers' rates, guidance 12.5, cross 0.6, self 0.3, threshold 0.3; the mask grows by 4 pixels and is blurred by 6. From our own bench, not the papers: *place_ratio*, *image_guidance_scale* and the two latent prompts of the edit, *photo_loss* log, *photo_latent_prompt* off. Nobody has run these on Stable Diffusion's own weights yet: when the result is off, see the note in *live_image_driven_edit*. As it opens, on the small demo model, it runs for some minutes and its colours burn: that model wants the other workflow's values."""
    ),
    "live_two_objects": (
        """## LIVE: put two things from two photos into one clip

Press **Run**: the ball becomes the star of one photo and the box the heart of another, in one edit. Each takes its own place; a faint rim of the old things stays.

Each photo is bound to a placeholder of its own, one *Bind Photo* after the other, and both placeholders stand in *Edit prompt*. The photos learn by turns, so *Tune Video* has twice the photo steps. *place_ratio* sends each placeholder to the place of the words that it replaces; *local blend* keeps what no changed word points at.

For your own: as in *live_image_driven_edit*, with a *Load Image* for each photo; cut the links to both prompts and write your own. More things: one more *Bind Photo* each."""
    ),
    "fatezero_style": (
        """## FateZero: another style, by words alone

Press **Run**: the meadow becomes snow. Nothing is trained; attention kept from the inversion holds motion and layout.

For your own: *Load LIVE Model*, *Load Video* linked to *Fit Clip*, a *Prompt* that says what the clip shows and an *Edit prompt* with the style in front ("watercolor painting of …", *word_edit* refine). *word_weights* such as *watercolor=10* makes a word stronger. The paper's guidance is 7.5. Adding words such as "high quality" is the paper's video enhancement."""
    ),
    "fatezero_attribute": (
        """## FateZero: another attribute, by words alone

Press **Run**: the red ball becomes a blue one. Self-attention comes from the inversion except where the changed words are (*self_blend_threshold*), so the rest stays.

Prompts of as many words: *word_edit* replace; otherwise refine. The paper's guidance is 7.5."""
    ),
    "fatezero_shape": (
        """## FateZero: another shape, on a tuned model

Press **Run**: the ball becomes a star. *Tune Video* first learns the clip (Tune-A-Video), since an untuned model cannot move a new shape steadily.

For Stable Diffusion: 500 clip steps at 3e-5, guidance 7.5, and lower *cross_ratio* and *self_ratio* when the shape does not change."""
    ),
    "fatezero_removal": (
        """## FateZero: take a thing out

Press **Run**: the ball goes. The *Edit prompt* does without the thing's word; where its word's attention was, the edit keeps its own self-attention, elsewhere the clip's.

For your own: leave the word out ("a red ball moving on the meadow" becomes "moving on the meadow"; the small demo model was taught "nothing on the meadow"), *word_edit* refine. The word that went is what *source_words* of *Edit Video* would name; name it there if more than it changed."""
    ),
    "blended_latent": (
        """## A local edit whose mask the model finds itself

Press **Run**: the ball turns blue, the rest is the clip's own inverted latents. The mask is the changed words' cross-attention above *blend_threshold*: lower it when the edit is cut off, raise it when it spills. The second output of *Edit Video* shows the mask. Nothing holds the thing to its size and place: in the second frame the ball is smaller, and in other clips the small model draws none in some frames. The published guidance is 7.5, under which it loses more."""
    ),
    "blended_latent_mask": (
        """## A local edit within a drawn mask

Press **Run**: only a band around the ball's path may change. Put your own mask (mask editor, SAM nodes, *Load Image (as Mask)*) in the place of *Where to edit*: one frame, or one for each of the clip's, white where the edit may act. *blend_threshold* 0 means that mask alone; above 0, what the words point at is added."""
    ),
    "video_p2p": (
        """## Video-P2P: tuned model, null text, decoupled guidance

Press **Run**: the ball turns blue. *Null-Text Inversion* finds the unconditional text that gives the clip back under guidance; the edit keeps the empty one. Leave it out for the paper's fast mode."""
    ),
    "show_attention": (
        """## See what the attention sees

Press **Run**: the red ball becomes a blue one, and four *Show Attention* nodes show each word's heat map, one word step by step, the masks, and self-attention's principal components. They read the records of the one run, so changing them costs seconds.

In your own workflow: connect `records` of *Edit Video*. Does the word you change light up where the thing is? If not, no mask will find it: choose another word in *source_words* and *edit_words*. Is the mask too small? Lower the threshold."""
    ),
    "prompt_to_prompt_image": (
        """## Prompt-to-prompt on one picture

Press **Run**: the first frame of the clip is edited by words. One picture is a clip of one frame; put *Load Image* in the place of *First frame*. *word_edit* refine adds or drops words, replace swaps them word by word, *word_weights* such as *blue=2* weighs them. All in one edit: refine with *place_ratio* as high as *cross_ratio*, which swaps the changed words alone."""
    ),
}


# The groups, left to right, and what stands in each from top to bottom; the first holds the rest.
STAGES = {
    "Model and clip": ("LIVE_LoadModel", "LIVE_FromComfy", "LIVE_DemoClip", "LoadVideo", "LIVE_FitClip"),
    "Words and photo": (
        "PrimitiveString",
        "LoadImage",
        "InvertMask",
        "LIVE_BindConcept",
        "ImageFromBatch",
        "SolidMask",
        "MaskComposite",
    ),
    "Prepare": ("LIVE_Tune", "LIVE_Invert", "LIVE_NullText"),
    "Edit": ("LIVE_Edit",),
    "Result": ("LIVE_Composite", "CreateVideo", "SaveVideo", "SaveImage"),
    "Attention": ("LIVE_Inspect",),
    "Pictures": ("PreviewImage",),
}


def columns(api: dict) -> dict[str, list[str]]:
    """The nodes of each stage that has any, from top to bottom."""
    places = {
        node: next(
            (
                (stage, kinds.index(entry["class_type"]))
                for stage, kinds in enumerate(STAGES.values())
                if entry["class_type"] in kinds
            ),
            (0, 0),
        )
        for node, entry in api.items()
    }
    found = {
        title: sorted((node for node in api if places[node][0] == stage), key=lambda node: (places[node][1], int(node)))
        for stage, title in enumerate(STAGES)
    }
    return {title: nodes for title, nodes in found.items() if nodes}


# A preview that comes later would cover the next node: the loaders have theirs before they are placed.
PREVIEWS = """() => app.graph.nodes.every(n => n.type === 'LoadImage' ? n.imgs?.length : n.type !== 'LoadVideo' || n.widgets.some(w => w.element?.querySelector?.('video') ?? w.element?.tagName === 'VIDEO'))"""
LAY_OUT = """([columns, text]) => {
    let x = 0;
    const bottoms = Object.entries(columns).map(([title, ids]) => {
        const nodes = ids.map(id => app.graph.getNodeById(id)), wide = Math.max(340, ...nodes.map(n => n.size[0])); let y = 0;
        for (const n of nodes) {
            const tall = { PreviewImage: 420, LoadVideo: 300, LoadImage: 240 }[n.type] ?? n.size[1];
            n.pos = [x, y]; n.setSize([wide, tall]); y += tall + (n.type === 'LIVE_Invert' && n !== nodes.at(-1) ? 320 : 100);
        }
        const group = new LiteGraph.LGraphGroup(title); group.pos = [x - 20, -80]; group.size = [wide + 40, y + 20]; app.graph.add(group);
        x += wide + 70; return [x - wide - 70, y];
    });
    const note = LiteGraph.createNode('MarkdownNote'); app.graph.add(note); note.widgets[0].value = text; note.title = 'Read me';
    const [x0, bottom] = bottoms.slice(0, 2).reduce((a, b) => b[1] < a[1] ? b : a);     // the nodes of the others grow while they run
    note.pos = [x0 - 20, bottom]; note.setSize([380, 95 + 0.185 * text.length]);
}"""


def lay_out(url: str, path: pathlib.Path) -> None:
    """One workflow, on a page of its own: what the page knows of a node it knows by its number, from one workflow to
    the next.
    """
    api = json.loads(path.read_text())
    with browser.open_page(url, shutil.which("chromium")) as page:
        page.evaluate("([api, name]) => app.loadApiJson(api, name)", [api, path.stem])
        page.wait_for_function("n => app.graph.nodes.length === n", arg=len(api))
        page.wait_for_function(PREVIEWS, timeout=60_000)
        page.wait_for_timeout(1000)
        page.evaluate(LAY_OUT, [columns(api), NOTES[path.stem]])
        exported, ui = browser.export(page)
        if "LIVE_SCREENSHOTS" in os.environ:
            browser.fit(page)
            page.screenshot(path=os.path.join(os.environ["LIVE_SCREENSHOTS"], f"{path.stem}.png"))
    ui["extra"].pop("ds", None)
    (ROOT / "workflows" / path.name).write_text(json.dumps(ui, indent=1) + "\n")
    path.write_text(json.dumps(exported, indent=1) + "\n")
    print(path.stem, len(exported), "nodes")


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
    with Server(ROOT) as server:
        for name in names:
            lay_out(server.url, ROOT / "workflows" / "api" / f"{name}.json")


if __name__ == "__main__":
    main()
