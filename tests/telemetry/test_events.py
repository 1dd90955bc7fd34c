"""The table of events is what the source writes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import taskflow
from taskflow.telemetry.events import EVENTS

SOURCE = Path(taskflow.__file__).parent
METHODS = {"debug", "info", "warning", "error", "exception"}


def written() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the event and the fields of every log call in the source."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name, called = node.args[0], node.func
            if not isinstance(name, ast.Constant) or not str(name.value).startswith("taskflow."):
                continue
            if isinstance(called, ast.Attribute) and called.attr not in METHODS:
                continue
            if isinstance(called, ast.Name) and called.id == "_import_module":
                continue
            yield str(name.value), frozenset(word.arg for word in node.keywords if word.arg not in {None, "exc_info"})


def test_every_event_that_is_written_is_declared_with_its_fields() -> None:
    found: dict[str, set[str]] = {}
    for name, fields in written():
        found.setdefault(name, set()).update(fields)
    assert found == {name: set(event.fields) for name, event in EVENTS.items()}


def test_fields_are_flat_and_never_secret() -> None:
    for name, event in EVENTS.items():
        assert name.startswith("taskflow."), name
        assert event.when.endswith("."), name
        assert not {"payload", "token", "password", "address", "body"} & set(event.fields), name
