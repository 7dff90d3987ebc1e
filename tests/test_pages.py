"""What people read: links lead somewhere, the drawing names what is there, and no page is longer than is read."""

import re

import pytest
from conftest import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "bench").glob("*.md"),
    *(ROOT / "demo").glob("*/README.md"),
    *(ROOT / "web" / "docs").rglob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link.split("#")[0]).exists()]
    assert missing == []


def modules_by_row() -> list[list[str]]:
    """The rows of the architecture's table of modules, from the bottom up."""
    table = (ROOT / "ARCHITECTURE.md").read_text().split("| module | one idea |")[1].split("\n\n")[0]
    return [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]


def test_the_architecture_s_table_names_every_module_once():
    named = [name for row in modules_by_row() for name in row]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "live_core").glob("*.py") if path.stem != "__init__")


def test_imports_point_up_the_architecture_s_table():
    above: set[str] = set()
    for row in modules_by_row():
        above |= set(row)
        for name in row:
            code = (ROOT / "live_core" / f"{name}.py").read_text()
            read = set(re.findall(r"^ *from \.(\w+) import", code, flags=re.MULTILINE))
            assert read <= above, f"{name} imports {read - above}"


def test_the_architecture_s_walks_name_what_is_there():
    """Every function and class in the middle columns is in live_core."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    walks = page.split("## The walk of a clip")[1].split("## To add")[0]
    code = "\n".join(path.read_text() for path in (ROOT / "live_core").glob("*.py"))
    named = {name.split(".")[-1] for name in re.findall(r"`([a-z_.]+|[A-Z]\w+)`", walks)}
    assert len(named) > 15
    assert {name for name in named if not re.search(rf"(def|class) {name}\b", code)} == set()


def test_contributing_stays_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60


def test_sources_are_cited_by_title():
    """No number or file that only whoever wrote it can resolve, such as "paper 003" or "DESIGN 4"."""
    texts = [path for path in ROOT.rglob("*") if path.suffix in (".py", ".md", ".js") and path.name != "test_pages.py"]
    assert len(texts) > 100
    unresolved = re.compile(r"\b([Pp]apers?|[Ss]eeds?|[Rr]eference) 0\d\d\b|\bDESIGN\b")
    assert {
        str(path.relative_to(ROOT)): found[0] for path in texts if (found := unresolved.search(path.read_text()))
    } == {}
