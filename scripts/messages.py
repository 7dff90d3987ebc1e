"""What the code says to users, out of its source: every sentence, or part of one, with a hole where a value goes.

`python scripts/messages.py` prints what of it, and of the words in shipped workflows, web/zh lacks in Chinese, and what
is stale there.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable
from itertools import count, product
from pathlib import Path

Parts = tuple[str | None, ...]
ROOT = Path(__file__).resolve().parents[1]
# Said elsewhere: to the log, or by schemas, which locales/zh/nodeDefs.json translates.
LOGS = {"debug", "info", "warning", "getLogger"}
SCHEMA = {"category", "description", "display_name", "help", "search_aliases", "tooltip", "unit"}
SAYING = {"LiveError", "note"}
SIDES = ("inputs", "outputs")
CODE = re.compile(r"->|\n|^\[|\(\?|\{\}|[a-z>)]\.$")  # einops, lists of words, patterns, sentences of schemas
NOT_SAID = {
    "LiveModel({0}, {1})",
    "at the model's native size (Stable Diffusion: 4096, 1024, 256 and 64 at 512x512; the same layers at every size)",
    "can't allocate memory",
    "clip and latent prompt",
    "demo model (ships with LIVE)",
    "demo model for instructions (ships with LIVE)",
    "not enough memory",
    "out of memory",
    "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder",
    "{0} steps, {1} frames; latents {2} MB, attention ({3}) {4} MB ({5} bytes)",
}


def sources() -> list[Path]:
    return sorted([*ROOT.glob("live_core/*.py"), *ROOT.glob("nodes/**/*.py")])


class Reader(ast.NodeVisitor):
    """Reads a file's texts: `needed` are those that a user may see, `others` every other string, such as a word that
    fills a hole.
    """

    def __init__(self) -> None:
        self.needed: set[str] = set()
        self.others: set[str] = set()

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in SCHEMA:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in LOGS:
            return
        if name in SAYING:
            self.needed.update(text for argument in node.args for text in self.texts(argument) if text != "{0}")
        if name == "join" and isinstance(node.func, ast.Attribute):
            for text in self.texts(node.func.value):
                (self.needed if re.search(" [a-z]", text) else self.others).add(f"{{0}}{text}{{1}}")
        self.generic_visit(node)

    def visit_text(self, node: ast.AST) -> None:
        for parts in self.ways(node):
            goes_on = (parts[0] or "").startswith((",", ";"))  # what stands after a list
            text = _numbered((None, *parts) if goes_on else parts)
            is_said = " " in text.strip() and re.search("[A-Za-z]{3}", text) and not CODE.search(text)
            (self.needed if is_said else self.others).add(text)

    visit_Constant = visit_JoinedStr = visit_BinOp = visit_IfExp = visit_text

    def texts(self, node: ast.AST) -> set[str]:
        """A string, however it is put together: one for each way that its choices can go."""
        return {_numbered(parts) for parts in self.ways(node)}

    def ways(self, node: ast.AST) -> list[Parts]:
        """What is put together: text, or None for what is known only when it is said, which is read by itself."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [(node.value,)]
        if isinstance(node, ast.IfExp):
            self.visit(node.test)
            return self.ways(node.body) + self.ways(node.orelse)
        if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.IfExp | ast.BinOp):
            return self.ways(node.value)
        if isinstance(node, ast.JoinedStr):
            return _together(self.ways(each) for each in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
            self.visit(node.right)  # "s" * (count > 1)
            return [("",), *self.ways(node.left)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _together(self.ways(each) for each in (node.left, node.right))
        if isinstance(node, ast.BinOp | ast.Constant):
            self.generic_visit(node)
        else:
            self.visit(node)
        return [(None,)]

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.visit(node.value)  # its format is no text


def _together(ways: Iterable[list[Parts]]) -> list[Parts]:
    return [sum(each, ()) for each in product(*ways)]


def _numbered(parts: Parts) -> str:
    """The template, in which holes without anything between them are one."""
    said = [part for part in parts if part != ""]
    holes = count()
    return "".join(
        f"{{{next(holes)}}}" if part is None else part
        for before, part in zip(["", *said], said, strict=False)
        if part is not None or before is not None
    )


def needed_and_others() -> tuple[set[str], set[str]]:
    reader = Reader()
    for path in sources():
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
    return reader.needed - NOT_SAID, reader.others


def graph_texts() -> set[str]:
    """What is in words in the shipped workflows and blueprints."""
    texts = set()
    for file in (*ROOT.glob("workflows/*.json"), *ROOT.glob("subgraphs/*.json")):
        saved = json.loads(file.read_text(encoding="utf-8"))
        for graph in (saved, *saved.get("definitions", {}).get("subgraphs", [])):
            texts |= {group["title"] for group in graph.get("groups", [])}
            texts |= {node["title"] for node in graph["nodes"] if node.get("title")}
            texts |= {node["widgets_values"][0] for node in graph["nodes"] if node["type"] in ("Note", "MarkdownNote")}
            slots = [slot for each in (graph, *graph["nodes"]) for side in SIDES for slot in each.get(side, [])]
            texts |= {slot["label"] for slot in slots if slot.get("label")}
            texts |= {slot["localized_name"] for slot in graph.get("outputs", [])}
    return texts


def chinese(file: str) -> dict[str, str]:
    return json.loads((ROOT / "web" / "zh" / file).read_text(encoding="utf-8"))


def faults() -> dict[str, list[str]]:
    """What is missing in the files of web/zh, and what is stale there."""
    needed, others = needed_and_others()
    said, drawn = set(chinese("messages.json")), set(chinese("graphs.json"))
    written = graph_texts()
    return {
        "missing in messages.json": sorted(needed - said),
        "stale in messages.json": sorted(said - needed - others),
        "missing in graphs.json": sorted(written - drawn),
        "stale in graphs.json": sorted(drawn - written),
    }


if __name__ == "__main__":
    found = faults()
    print(json.dumps(found, indent=1))
    sys.exit(any(found.values()))
