"""Video editing by attention control on Stable Diffusion 1.x and 2.x, in plain torch. Nothing here imports ComfyUI.

Shapes in docstrings: s streams, f frames, F frames as the U-Net sees them (f, or f + 1 with a latent prompt), h x w the
latent's height and width, n = tokens of one frame in a layer, L tokens of a prompt, d its width.

What words mean here, one thing each:

- *clip*: the video that is edited; its *frames*, in the order of time, are pictures (f, H, W, 3) or latents. A *frame
  plan* says what one frame sees of the others.
- *source*: the clip under its own prompt while the edit runs, where injected attention and the background come from.
- *edit*: the clip under the other prompt, from the noise on. `Edit` asks for it, `edit` makes it, `Edited` is it.
- *stream*: a whole clip under conditions of its own; its place in the U-Net's batch is its *row*. A *method row* is the
  settings of one method.
- *part*: one idea of a method, such as word injection; a *plan* is what the parts want of the attention at one step.
- *step*: of the sampler, 0 the noisiest. *Timestep*: of the schedule it was trained on. Ratios are parts of the steps.
- *tuning*: what was learned of one clip and its photos. It lies over the *base*, which nothing changes; a `Base` is its
  kind, by what its U-Net reads.
- *latent prompt*: a learned frame before the clip's. Its *seat* may show a photo's latents instead, the *reference*.
- *concept*: a *placeholder*, the word that stands for the thing in a photo, with that photo and the learned vector.
- *inversion*: the path from a clip to the noise it comes from. Its *store* holds the source's attention, if kept.
- *word*: what a person would list; it is one or more *tokens*. A *token edit* says whose attention each token takes.
- *map*: a word's attention over a frame. *Mask*: where the edit may show. *Records*: both, kept to be looked at.
- *window*: frames of a long clip that are edited at once; its *riders* are frames of elsewhere that they read.
- *level*: a resolution of the U-Net's layers, 0 the finest.
- *note*: what a user should know; the work goes on. `LiveError`: what cannot be done as asked.
"""


def printable(text: str) -> str:
    """`text` with halves of characters (lone surrogates), on which logs and messages choke, as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


class LiveError(ValueError):
    """A bad input. The message names the input, quotes the value and says what would work."""

    def __init__(self, message: str):
        super().__init__(printable(message))
