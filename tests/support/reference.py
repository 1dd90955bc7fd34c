"""
Reference pages that are made from the code: settings, command line, HTTP API, log events, metrics.

Prose stands in the pages; what the code knows stands there between `<!-- begin NAME … -->` and `<!-- end NAME -->`.
`python -m tests.contracts.refresh` writes those blocks anew, `tests/contracts/test_docs.py` holds the pages to them.
Codes of errors are given at many places and described by hand: `problem_codes` and `field_codes` only find them.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
from fastapi import FastAPI
from prometheus_client import Info
from prometheus_client.metrics import MetricWrapperBase

from taskflow.apps.cli import app as command_line
from taskflow.apps.http import create_app
from taskflow.apps.settings import SETTINGS
from taskflow.db.pool import Database
from taskflow.engine import job, policy
from taskflow.files.endpoints import MAX_UPLOADS
from taskflow.files.link import DEFAULT_LIFETIME_S, MAX_LIFETIME_S
from taskflow.files.service import MAX_NAME_LENGTH as MAX_FILE_NAME_LENGTH
from taskflow.files.service import MAX_RETENTION_DAYS
from taskflow.files.spool import MAX_FILE_BYTES
from taskflow.files.upload import IDLE_TIMEOUT_S, UPLOAD_TIMEOUT_S
from taskflow.http import idempotency, paging, problem
from taskflow.http.body import BODY_TIMEOUT_S, MAX_QUERY_FIELDS
from taskflow.http.call import MAX_BODY_BYTES
from taskflow.http.edge import MAX_REQUEST_ID_LENGTH, Edge
from taskflow.http.wire import HEAD_TIMEOUT_S, MAX_HEAD_BYTES
from taskflow.kernel import json
from taskflow.telemetry import metrics
from taskflow.telemetry.distribution import Distribution
from taskflow.telemetry.events import EVENTS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "taskflow"
REFERENCE = ROOT / "docs" / "reference"
WIDTH = 120


def pages() -> Mapping[Path, str]:
    """Return each page that has blocks, as it should be."""
    return {path: with_blocks(path.read_text()) for path in sorted(REFERENCE.glob("*.md"))}


def with_blocks(text: str) -> str:
    """Return a page with its blocks as the code has them now."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        first = f"<!-- begin {name}: made by `python -m tests.contracts.refresh` -->"
        return f"{first}\n\n{BLOCKS[name]()}\n\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (?P<name>\S+?):.*?-->.*?<!-- end (?P=name) -->", fill, text, flags=re.DOTALL)


# Settings --------------------------------------------------------------------------------------------------------


def _settings() -> str:
    return "\n\n".join(_lines_of_settings())


def _lines_of_settings() -> Iterator[str]:
    for setting in SETTINGS:
        yield "### " + ", ".join(f"`{name}`" for name in setting.names)
        words = [_sentence(setting.meaning)]
        if setting.default:
            words.append(f"Default: `{setting.default}`.")
        if setting.secret:
            words.append("Secret: its value is never shown in an error.")
        yield _wrapped(" ".join(words))


# Command line ----------------------------------------------------------------------------------------------------


def _commands() -> str:
    return "\n\n".join(_sections(typer.main.get_command(command_line), "taskflow", level=2))


def _sections(command: Any, path: str, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{path}`"
    yield from _help(command.help or "")
    context = typer.Context(command)
    options = [
        _option(item, context) for item in command.params if item.param_type_name == "option" and not item.hidden
    ]
    arguments = [_argument(item) for item in command.params if item.param_type_name == "argument"]
    if arguments:
        yield "Arguments:"
        yield "\n".join(arguments)
    if options:
        yield "Options:"
        yield "\n".join(options)
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _sections(inner, f"{path} {name}", level=level + (0 if level == 2 and path == "taskflow" else 1))


def _help(text: str) -> Iterator[str]:
    """Paragraphs as they are; what follows "Examples:" as a shell sample."""
    prose, _, examples = re.split(
        r"^(Examples?:)$", f"{inspect.cleandoc(text)}\nExamples:", maxsplit=1, flags=re.MULTILINE
    )
    for paragraph in re.split(r"\n\s*\n", prose.strip()):
        yield _wrapped(" ".join(paragraph.split()))
    lines = textwrap.dedent(examples.removesuffix("Examples:")).splitlines()
    if sample := "\n".join(_broken(line) for line in lines if line.strip()):
        yield f"Examples:\n\n```sh\n{sample}\n```"


def _broken(line: str) -> str:
    """Return a command in lines of at most `WIDTH`."""
    if len(line) <= WIDTH:
        return line
    wrapped = textwrap.wrap(line, WIDTH - 2, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
    return " \\\n".join(wrapped)


def _option(item: Any, context: typer.Context) -> str:
    names = ", ".join(f"`{name}`" for name in [*item.opts, *item.secondary_opts])
    return _wrapped(f"- {names}{_value(item, context)}: {item.help or ''}", indent="  ")


def _value(item: Any, context: typer.Context) -> str:
    """What follows an option: nothing after a flag, else its type, as `--help` shows it."""
    return "" if item.is_flag else f" `{item.metavar or item.display_type(context)}`"


def _argument(item: Any) -> str:
    need = "" if item.required else " (optional)"
    return _wrapped(f"- `{item.metavar or item.name.upper()}`{need}: {item.help or ''}", indent="  ")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the options that its help shows."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, list[str]]]:
        shown = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
        yield path, [name for item in shown for name in item.opts]
        for name, inner in getattr(command, "commands", {}).items():
            if not inner.hidden:
                yield from walk(inner, f"{path} {name}")

    yield from walk(typer.main.get_command(command_line), "taskflow")


# HTTP API --------------------------------------------------------------------------------------------------------


@cache
def openapi() -> dict[str, Any]:
    """Return the API's own document; nothing is connected to for it."""

    edge = create_app(Database("postgresql://nowhere"), secret=b"x" * 32)
    assert isinstance(edge, Edge)
    assert isinstance(edge.app, FastAPI)
    return edge.app.openapi()


def _routes() -> str:
    return "\n\n".join(_lines_of_routes(openapi()))


def _lines_of_routes(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"### `{method.upper()} {path}`"
            yield _wrapped(f"{operation['summary'].rstrip('.?')}. {operation.get('description', '')}".strip())
            yield from _parameters(operation)
            if taken := operation.get("requestBody"):
                media_type, content = next(iter(taken["content"].items()))
                what = _type(content["schema"]) if media_type == "application/json" else f"`{media_type}`"
                yield f"Takes {what}."
            answers = []
            for status, answer in operation["responses"].items():
                media_type, content = next(iter(answer.get("content", {}).items()), ("", None))
                given = "" if content is None else f" {_type(content['schema'])}"
                given = "" if media_type == "application/problem+json" else given
                answers.append(_wrapped(f"- `{status}`{given}: {answer['description']}", indent="  "))
            yield "Answers:"
            yield "\n".join(answers)


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    found = [
        _wrapped(
            f"- `{item['name']}` in the {item['in']}, {_type(item['schema'])}{_limits(item['schema'])}: "
            f"{item.get('description') or 'see above'}".removesuffix(": see above"),
            indent="  ",
        )
        for item in operation.get("parameters", ())
    ]
    if found:
        yield "Parameters:"
        yield "\n".join(found)


def _types() -> str:
    parts = []
    for name, schema in openapi()["components"]["schemas"].items():
        parts.append(f"### {name}")
        if text := schema.get("description"):
            parts.append(_wrapped(" ".join(text.split())))
        required = set(schema.get("required", ()))
        fields = []
        for field, of in schema.get("properties", {}).items():
            optional = "" if field in required else ", optional"
            text = of.get("description", "")
            line = f"- `{field}`: {_type(of)}{_limits(of)}{optional}" + (f". {text}" if text else "")
            fields.append(_wrapped(line.removesuffix(".") + ".", indent="  "))
        if fields:
            parts.append("\n".join(fields))
        if values := schema.get("enum"):
            parts.append(_wrapped("One of " + ", ".join(f"`{value}`" for value in values) + "."))
    return "\n\n".join(parts)


def _type(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema takes."""
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices)
    if "const" in schema:
        return f"`{schema['const']}`"
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(branch) for branch in branches)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_type({**schema, "type": one}) for one in kind)
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if kind == "string" and (form := schema.get("format")):
        return {"date-time": "instant", "uuid": "UUID"}.get(form, str(form))
    return "any JSON" if kind is None else str(kind)


def _limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    words = [f"{low} to {high}"] if low is not None and high is not None else []
    if "default" in schema and schema["default"] is not None and schema["default"] not in ({}, []):
        words.append(f"default `{schema['default']}`")
    return f" ({', '.join(words)})" if words else ""


def _limits_of_all() -> str:
    day_s = 24 * 3600
    low, normal, high = job.PRIORITY_LOW, job.PRIORITY_NORMAL, job.PRIORITY_HIGH
    page = f"{paging.MIN_LIMIT} to {paging.MAX_LIMIT} items, by default {paging.DEFAULT_LIMIT}"
    kept_h = idempotency.KEPT.total_seconds() / 3600
    rows = [
        ("request line and headers", f"{MAX_HEAD_BYTES // 1024} KiB"),
        ("time for a request's line and headers to arrive", f"{HEAD_TIMEOUT_S:g} s"),
        ("request body", f"{MAX_BODY_BYTES // 1024} KiB"),
        ("payload of a job, as JSON", f"{job.MAX_PAYLOAD_BYTES // 1024} KiB"),
        ("result of a job, as JSON", f"{job.MAX_RESULT_BYTES // 1024} KiB"),
        ("nesting of a payload", f"{json.MAX_DEPTH} levels"),
        ("name of a kind, a queue or a tag", f"{job.MAX_NAME_LENGTH} characters"),
        ("tags of a job", f"{job.MAX_TAGS}"),
        ("priority", f"0 to {job.MAX_PRIORITY}; low {low}, normal {normal}, high {high}"),
        ("retries", f"{job.MAX_RETRIES}"),
        ("timeout of an attempt", f"1 ms to {job.MAX_TIMEOUT_S / 3600:g} h"),
        ("delay", f"{job.MAX_DELAY_S / day_s:g} days"),
        ("page of a list", f"{page}; ends early at {paging.MAX_PAGE_BYTES // 1024 // 1024} MiB"),
        ("query parameters of a request", f"{MAX_QUERY_FIELDS}"),
        ("errors named in one answer", f"{problem.MAX_FIELD_ERRORS}"),
        ("`Idempotency-Key`", f"{idempotency.MAX_KEY_LENGTH} visible ASCII characters, kept {kept_h:g} h"),
        ("`X-Request-Id`", f"{MAX_REQUEST_ID_LENGTH} visible ASCII characters"),
        ("log of an attempt", f"{job.MAX_LOG_LINES} lines of {job.MAX_LOG_CHARS} characters"),
        ("error of an attempt", f"{policy.MAX_ERROR_CHARS} characters"),
        ("traceback of an attempt", f"its last {policy.MAX_TRACEBACK_CHARS} characters"),
        ("time for a request's body to arrive", f"{BODY_TIMEOUT_S:g} s"),
        ("file", f"{MAX_FILE_BYTES // 1024 // 1024} MiB, a name of {MAX_FILE_NAME_LENGTH} characters"),
        ("time for an upload to arrive", f"{UPLOAD_TIMEOUT_S / 60:g} min, {IDLE_TIMEOUT_S:g} s between two pieces"),
        ("uploads at the same time", f"{MAX_UPLOADS} in each API process, {MAX_UPLOADS // 2} of one namespace"),
        ("time until a file is deleted", f"{MAX_RETENTION_DAYS} days, or none"),
        ("life of a signed link", f"{MAX_LIFETIME_S / 3600:g} h, by default {DEFAULT_LIFETIME_S / 60:g} min"),
    ]
    return "\n".join(["| what | limit |", "| --- | --- |", *(f"| {what} | {limit} |" for what, limit in rows)])


# Metrics ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as a scrape names it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def families() -> list[Family]:
    """Return every metric of ours: those that processes count, and those that the API asks the database for."""
    found = []
    for collector in vars(metrics).values():
        if isinstance(collector, (MetricWrapperBase, Distribution)):
            [family] = collector.describe()
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            given = collector.labelnames if isinstance(collector, Distribution) else collector._labelnames
            labels = ("version",) if isinstance(collector, Info) else given
            found.append(Family(f"{family.name}{suffix}", family.type, tuple(labels), family.documentation))
    tree = ast.parse((SOURCE / "http" / "health.py").read_text())
    tuples = {
        target.id: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id == "labels"
    }
    for call in _calls(tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "gauge":
            name, meaning, labels = call.args[:3]
            given = tuples[labels.id] if isinstance(labels, ast.Name) else ast.literal_eval(labels)
            asked = Family(ast.literal_eval(name), "gauge", tuple(given), ast.literal_eval(meaning))
            if asked not in found:
                found.append(asked)
    return found


def _metrics() -> str:
    lines = []
    for family in families():
        labels = f"{{{','.join(family.labels)}}}" if family.labels else ""
        lines.append(_wrapped(f"- `{family.name}{labels}`, {family.kind}: {family.meaning}", indent="  "))
    return "\n".join(lines)


# Events ----------------------------------------------------------------------------------------------------------


def _events() -> str:
    levels = _levels()
    lines = []
    for name, event in sorted(EVENTS.items()):
        level = f" ({', '.join(levels[name])})" if name in levels else ""
        fields = f" Fields: {', '.join(f'`{field}`' for field in event.fields)}." if event.fields else ""
        lines.append(_wrapped(f"- `{name}`{level}: {_sentence(event.when)}{fields}", indent="  "))
    return "\n".join(lines)


def _levels() -> dict[str, list[str]]:
    """Return at which levels the source writes each event; some choose it at the time of the line."""
    found: dict[str, set[str]] = {}
    for tree in _trees():
        for call in _calls(tree):
            if call.args and (name := _text(call.args[0])) in EVENTS:
                branches = [call.func.body, call.func.orelse] if isinstance(call.func, ast.IfExp) else [call.func]
                said = {branch.attr for branch in branches if isinstance(branch, ast.Attribute)}
                found[str(name)] = found.get(str(name), set()) | {
                    "error" if one == "exception" else one for one in said
                }
    order = ["debug", "info", "warning", "error"]
    return {name: [one for one in order if one in said] for name, said in found.items() if said}


# Codes of errors, found in the source ----------------------------------------------------------------------------


def problem_codes() -> set[str]:
    """Return the codes of problems: of error classes, and those given at a place."""
    found = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found |= {
                    text
                    for item in node.body
                    if isinstance(item, ast.Assign) and [_name(target) for target in item.targets] == ["code"]
                    if (text := _text(item.value))
                }
        for call in _calls(tree):
            found |= {text for word in call.keywords if word.arg == "code" and (text := _text(word.value))}
            if _is_name(call.func, "_Plain") and len(call.args) > 1 and (text := _text(call.args[1])):
                found.add(text)
    return found


def field_codes() -> set[str]:
    """Return the codes of single fields."""
    found = set()
    for tree in _trees():
        for call in _calls(tree):
            if _is_name(call.func, "FieldError") and len(call.args) > 1 and (text := _text(call.args[1])):
                found.add(text)
            if _is_name(call.func, "PydanticCustomError") and (text := _text(call.args[0])):
                found.add(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and [_name(target) for target in node.targets] == ["_CODES"]:
                found |= set(ast.literal_eval(node.value).values())
    return found


@cache
def _trees() -> Sequence[ast.Module]:
    return [ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))]


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _is_name(node: ast.AST, name: str) -> bool:
    return _name(node) == name or (isinstance(node, ast.Attribute) and node.attr == name)


# Words -----------------------------------------------------------------------------------------------------------


def _sentence(text: str) -> str:
    text = text if text.startswith("`") else text[:1].upper() + text[1:]
    return f"{text.rstrip('.')}."


def _wrapped(text: str, *, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": _settings,
    "commands": _commands,
    "limits": _limits_of_all,
    "routes": _routes,
    "types": _types,
    "events": _events,
    "metrics": _metrics,
}
