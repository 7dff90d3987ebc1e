"""No function of more than 40 statements, no file of more than 350 lines, no line of more than 120 characters.

python scripts/check_sizes.py        # what is larger, one a line; nothing, and 0, when all is well
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("live_core", "nodes", "demo", "bench", "scripts", "tests", "web")
MOST_STATEMENTS, MOST_LINES, MOST_CHARACTERS = 40, 350, 120


def too_large(path: Path) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    name = path.relative_to(ROOT)
    if len(lines) > MOST_LINES:
        yield f"{name}: {len(lines)} lines; split it along its ideas ({MOST_LINES} at most)"
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_CHARACTERS:
            yield f"{name}:{number}: {len(line)} characters ({MOST_CHARACTERS} at most)"
    functions = ast.walk(ast.parse("\n".join(lines))) if path.suffix == ".py" else ()
    for function in functions:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            count = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
            count -= ast.get_docstring(function) is not None
            if count > MOST_STATEMENTS:
                yield f"{name}:{function.lineno}: {function.name} has {count} statements ({MOST_STATEMENTS} at most)"


if __name__ == "__main__":
    paths = [ROOT / "__init__.py"]
    paths += sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".js"))
    found = [said for path in paths for said in too_large(path)]
    sys.exit("\n".join(found) if found else 0)
