"""
What `docs/acceptance.md` promises and which tests prove it, read from the markers in the tests' source.

The page is ours to write but for its last column, which is filled in from `@pytest.mark.covers("S2-19")` markers:
a reference cannot be wrong without a test failing. Markers are read from the syntax tree, so nothing is imported.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "acceptance.md"
SUITES = ("tests", "learn/tests")
MAX_NAMED = 3  # test files that a row names; the rest are counted
UNPROVEN = "not yet"

_ROW = re.compile(r"^\| (?P<id>(?:S[1-4]|X)-\d+) \| (?P<behaviour>.*?) \| (?P<proof>.*?) \|$")


@dataclass(frozen=True, slots=True)
class Mark:
    """One test (or a whole file) that claims to prove *id*; *place* is `path:line`."""

    id: str
    path: str
    place: str


def rows(page: str) -> dict[str, str]:
    """Return the page's behaviours by id, in their order. Raises ValueError for an id that stands there twice."""
    found: dict[str, str] = {}
    for line in page.splitlines():
        if match := _ROW.match(line):
            if match["id"] in found:
                raise ValueError(f"{match['id']} stands in {PAGE.name} twice")
            found[match["id"]] = match["behaviour"]
    return found


def marks(root: Path = ROOT) -> list[Mark]:
    """Return every `covers` marker of the test suites, by place."""
    return [
        mark
        for suite in SUITES
        for path in sorted((root / suite).rglob("test_*.py"))
        for mark in marks_of(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    ]


def marks_of(source: str, path: str) -> Iterator[Mark]:
    """Yield the markers of one file: decorators, `pytestmark`, and marks of single parameters alike."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "covers":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Mark(argument.value, path, f"{path}:{argument.lineno}")


def filled(page: str, found: Sequence[Mark]) -> str:
    """Return *page* with its last column as the markers have it."""
    proofs = proof_by_id(found)

    def fill(line: str) -> str:
        match = _ROW.match(line)
        return f"| {match['id']} | {match['behaviour']} | {_cell(proofs.get(match['id'], {}))} |" if match else line

    return "\n".join(map(fill, page.splitlines())) + "\n"


def proof_by_id(found: Sequence[Mark]) -> dict[str, dict[str, int]]:
    """Return, per id, how many markers each test file has for it."""
    proofs: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for mark in found:
        proofs[mark.id][mark.path] += 1
    return proofs


def faults(page: str, found: Sequence[Mark]) -> list[str]:
    """Say what is wrong: markers of ids that the page does not have, and a column that is out of date."""
    known = rows(page)
    wrong = [f"{mark.place}: no behaviour {mark.id!r} in docs/{PAGE.name}" for mark in found if mark.id not in known]
    if not wrong and filled(page, found) != page:
        wrong.append(f"docs/{PAGE.name} is out of date: run `make acceptance ARGS=--write`")
    return wrong


def _cell(files: Mapping[str, int]) -> str:
    if not files:
        return UNPROVEN
    by_weight = sorted(files, key=lambda path: (-files[path], path))
    named = ", ".join(f"`{path}`" for path in sorted(by_weight[:MAX_NAMED]))
    more = len(files) - MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named
