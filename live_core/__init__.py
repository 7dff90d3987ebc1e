"""Video editing by attention control on Stable Diffusion 1.x, in plain torch. Nothing here imports ComfyUI.

Shapes in docstrings: s streams, f frames, F frames as the U-Net sees them (f, or f + 1 with a latent prompt), h x w the
latent's height and width, n = tokens of one frame in a layer, L tokens of a prompt, d its width.
"""


def printable(text: str) -> str:
    """`text` with halves of characters (lone surrogates), on which a host's log and messages choke, as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


class LiveError(ValueError):
    """A bad input. The message names the input, quotes the value and says what would work."""

    def __init__(self, message: str):
        super().__init__(printable(message))
