"""The page of guarantees names tests that exist, and under each promise at least one."""

import ast
import re
from functools import cache

from tests.support.reference import ROOT

PAGE = ROOT / "docs/concepts/guarantees.md"
NAMED = re.compile(r"^- `(tests/\S+\.py)::(test_\w+)`$", re.MULTILINE)


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name.startswith("test_")}


def test_every_test_that_a_guarantee_names_exists() -> None:
    named = NAMED.findall(PAGE.read_text())
    assert [name for path, name in named if name not in names_in(path)] == []


def test_every_promise_names_its_tests() -> None:
    promised, _, _ = PAGE.read_text().partition("\n## Not promised\n")
    promises = promised.split("\n### ")[1:]
    assert len(promises) >= 5
    assert [promise.splitlines()[0] for promise in promises if not NAMED.search(promise)] == []
