"""What a run shows on the page while it works, and how it hears that it shall stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import comfy.model_management as management
import comfy.utils

_texts: set[tuple[str, str]] = set()  # clients, and their nodes that show text


def stop_if_asked() -> None:
    """Honour an interrupt."""
    management.throw_exception_if_processing_interrupted()


def show_text(lines: Sequence[str]) -> None:
    """Lines of text on the node that is running, as core's own nodes show theirs, to the client whose graph it is of;
    those of its last run go."""
    from comfy_execution.utils import get_executing_context
    from server import PromptServer

    context = get_executing_context()
    if context is None:  # called by another program than the queue, which may have no server
        return
    server = PromptServer.instance
    if server.client_id is None:
        return
    place = (server.client_id, context.node_id)
    if lines or place in _texts:
        (_texts.add if lines else _texts.discard)(place)
        # No page shows "", and the classic one takes "<thing*>" for HTML: "<" before a character without width is none.
        text = "\n".join(lines).replace("<", "<\u2060") or " "
        server.send_progress_text(text, context.node_id, server.client_id)


class Progress:
    """Callback of `live_core`'s loops: moves ComfyUI's bar, honours interrupts, shows a contact sheet every few steps:
    up to eight frames, coloured by a linear map that is fitted to one decoded frame of `like`, or of the first latents
    shown; below them `curves`, name -> losses so far, as lists that grow.
    """

    def __init__(self, model, total: int, like=None, every: int = 5, curves: dict[str, list[float]] | None = None):
        self.model, self.like, self.every, self.curves = model, like, every, curves
        self.bar = comfy.utils.ProgressBar(total)
        self.colours = None

    def __call__(self, step: int, total: int, latents) -> None:
        from ...live_core.memory import one_run
        from ...live_core.notes import gathered

        stop_if_asked()
        picture = None
        if step % self.every == 0 or step == total:
            try:
                with one_run(apart=True), gathered():  # what a preview lacks is of no concern to the work
                    picture = ("JPEG", self._sheet(latents, total), 512)
            except Exception as error:  # an interrupt is none; no picture is worth the work done so far
                logging.getLogger(__name__).info("no preview of step %d: %s", step, error)
        self.bar.update_absolute(step, total, picture)

    def _sheet(self, latents, total: int):
        from PIL import Image

        from ...live_core.bases import LATENT_CHANNELS
        from ...live_core.curves import plot_losses
        from ...live_core.preview import contact_sheet, fit_colours

        if latents.shape[1] != LATENT_CHANNELS:  # a worker's window, done: its frames (f, H, W, 3), maybe with a mask
            return Image.fromarray(contact_sheet(latents[..., :3], None))
        if self.colours is None:
            one = (latents if self.like is None else self.like)[:1]
            self.colours = fit_colours(one, self.model.decode_frames(one))
        sheet = Image.fromarray(contact_sheet(latents, self.colours))
        if self.curves is None:
            return sheet
        plot = plot_losses(self.curves, total, sheet.width, round(sheet.width / 4))
        both = Image.new("RGB", (sheet.width, sheet.height + plot.height))
        both.paste(sheet, (0, 0))
        both.paste(plot, (0, sheet.height))
        return both
