"""What holds for the source as a whole."""

import ast
import re
import sys
from pathlib import Path

import pytest

LEARN = Path(__file__).resolve().parents[1]
SOURCES = sorted((LEARN / "src").rglob("*.py")) + sorted((LEARN / "scripts").rglob("*.py"))
OWN = {"taskflow_learn", *(path.stem for path in (LEARN / "scripts").glob("*.py"))}


@pytest.mark.covers("S1-1")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(LEARN)))
def test_only_the_standard_library_is_imported(path: Path) -> None:
    """Nothing to install, and nothing of the product: a learner reads every line that runs."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            imported.add(str(node.module).partition(".")[0])
    assert imported <= sys.stdlib_module_names | OWN | {"_typeshed"}  # names that only type checkers know


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(LEARN)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_route_is_in_the_reference() -> None:
    reference = (LEARN / "docs" / "api-reference.md").read_text(encoding="utf-8")
    routes = set()
    for path in (LEARN / "src" / "taskflow_learn" / "routes").glob("*.py"):
        routes |= set(re.findall(r'add\("(\w+)", "(/[^"]+)"', path.read_text(encoding="utf-8")))
    assert len(routes) > 30
    missing = [f"{method} {path}" for method, path in sorted(routes) if f"`{method} {path}`" not in reference]
    assert not missing


def test_every_setting_is_in_the_reference() -> None:
    reference = (LEARN / "docs" / "api-reference.md").read_text(encoding="utf-8")
    config = (LEARN / "src" / "taskflow_learn" / "config.py").read_text(encoding="utf-8")
    names = re.findall(r'_number\("(\w+)"', config)
    assert len(names) > 20
    assert not [name for name in names if f"`{name}`" not in reference]
