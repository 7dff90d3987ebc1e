"""The examples in docstrings: what they say is what comes."""

import doctest
import importlib
import inspect
from collections.abc import Mapping

import pytest
from conftest import ROOT

from live_core import frames, prompts
from live_core.vocabulary import load_tokenizer

WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("live_core", "demo")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
FINDER = doctest.DocTestFinder(exclude_empty=True)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_are_what_comes(name):
    tokenizer = load_tokenizer(ROOT / "demo" / "model" / "tokenizer", 77)

    def read(text: str, placeholders: Mapping[str, int] = prompts.NO_PLACEHOLDERS) -> prompts.Prompt:
        return prompts.read_prompt(text, tokenizer, placeholders)

    given = {"read": read, "tokenizer": tokenizer}
    told = doctest.testmod(importlib.import_module(name), extraglobs=given)
    assert told.attempted > 0 and told.failed == 0


@pytest.mark.parametrize("module", [prompts, frames])
def test_what_is_public_has_an_example(module):
    """Functions and methods; what is inherited has its own where it was first."""
    lacking = [
        test.name
        for test in FINDER.find(module, module.__name__)
        if not test.examples and is_public_function(module, test.name)
    ]
    assert lacking == []


def is_public_function(module, name: str) -> bool:
    *_, owner, last = [module.__name__, *name.removeprefix(module.__name__).strip(".").split(".")]
    found = getattr(getattr(module, owner, module), last, None)
    return not last.startswith("_") and (inspect.isfunction(found) or isinstance(found, property))
