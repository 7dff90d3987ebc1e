"""The Chinese of messages, as the page itself makes it: web/catalogue.js, run by the node that Playwright brings."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from conftest import ROOT, absent

SIGN = re.compile(r"[\u4e00-\u9fff]")
QUOTED = re.compile(r"(?<!\w)(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|`[^`]*`")
LISTED = re.compile(r"\([^()]*\)|[\w<>*./-]+(?:, [\w<>*./-]+)+|(?:/[\w.-]+)+", re.ASCII)  # values, or a path
FOREIGN = re.compile("\uff08[^\uff08\uff09\u4e00-\u9fff]*\uff09")  # what a library or the system says; ids of inputs
ENGLISH = re.compile(
    r"(?<![\w-])(and|are|be|by|choose|from|give|has|is|it|its|not|of|or|so|the|this|to|which|with)(?![\w-])"
)
RUN = """
import {readFileSync} from "fs";
import {namesOf, translator} from "./catalogue.mjs";
const {messages, defs, texts} = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map(translator(messages, namesOf(defs)))));
"""


def messages() -> dict[str, str]:
    return json.loads((ROOT / "web" / "zh" / "messages.json").read_text(encoding="utf-8"))


def node_names() -> dict[str, dict]:
    return json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))


def in_chinese(texts: list[str], folder: Path) -> list[str]:
    """What a page in Chinese shows for `texts`. `folder`: an empty one."""
    try:
        from playwright._impl._driver import compute_driver_executable
    except ImportError:
        absent("no playwright on this machine")
    shutil.copy(ROOT / "web" / "catalogue.js", folder / "catalogue.mjs")
    (folder / "run.mjs").write_text(RUN)
    given = json.dumps({"messages": messages(), "defs": node_names(), "texts": texts})
    node = compute_driver_executable()[0]
    done = subprocess.run([node, folder / "run.mjs"], input=given, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def not_said(texts: list[str], folder: Path) -> dict[str, str]:
    """Those of `texts` whose Chinese has English in it still, beside values and what others than LIVE say, or lacks a
    value that they quote; with it.
    """
    said = dict(zip(texts, in_chinese(texts, folder), strict=True))
    return {text: chinese for text, chinese in said.items() if not _is_whole(text, chinese)}


def _is_whole(text: str, chinese: str) -> bool:
    has_values = all(value in chinese for value in QUOTED.findall(text))
    return has_values and SIGN.search(chinese) is not None and not _has_english(chinese)


def _has_english(text: str) -> bool:
    for values in (QUOTED, FOREIGN, LISTED):
        text = values.sub("", text)
    return ENGLISH.search(text) is not None
