"""Odd values for the table of bad inputs, and the kinds of answer."""

import json


class Node:
    """A node that stands before a changed input."""

    def __init__(self, kind: str, **inputs):
        self.kind, self.inputs = kind, inputs

    def __repr__(self):
        return f"{self.kind}({', '.join(map(str, self.inputs.values()))})"


def linked(value) -> Node:
    """A value that comes by a link, past the widget's limits."""
    return Node("TestValue", json=json.dumps(value))


def tensor(*shape: int, value: float = 0.5) -> Node:
    return Node("TestTensor", shape=json.dumps(shape), value=str(value))


def one_bad(link: list, value: str = "nan") -> Node:
    return Node("TestOneBad", tensor=link, value=value)


ERROR, NOTE, REFUSED, SAID = "a LiveError", "a note on the node", "ComfyUI's own check", "a LiveError or a note"
NAN, INF, HUGE = float("nan"), float("inf"), 2**70
EMPTY = Node("TestEmptyClip")
