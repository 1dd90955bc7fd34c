"""
Many tasks as CSV or NDJSON, a piece at a time.

Generators make rows when somebody asks for them. 300,000 tasks in one string would be 60 MB before the first byte
leaves; as pieces they are 64 KiB at any moment, however many there are.
"""

import json
from collections.abc import Iterable, Iterator, Mapping

from taskflow_learn.errors import JSONValue
from taskflow_learn.tasks.model import Task

PIECE_BYTES = 65_536  # larger saves system calls, smaller lets other requests in between more often
CSV_HEADER = "id,title,description,status,priority,dependencies,createdAt,updatedAt\n"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def csv_rows(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield a header line, then a line per task, quoted as in RFC 4180."""
    yield CSV_HEADER
    for task in tasks:
        cells = (
            task.id,
            task.title,
            task.description,
            task.status,
            str(task.priority),
            _encode([*task.dependencies]),
            task.created_at,
            task.updated_at,
        )
        yield ",".join(['"' + cell.replace('"', '""') + '"' for cell in cells]) + "\n"


def ndjson_rows(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield a JSON object per line."""
    for task in tasks:
        yield _encode(task.to_json()) + "\n"


def json_array(tasks: Iterable[Task]) -> Iterator[str]:
    """Yield the pieces of one JSON array."""
    separator = "["
    for task in tasks:
        yield separator + _encode(task.to_json())
        separator = ","
    yield "[]" if separator == "[" else "]"


def json_object(fields: Mapping[str, JSONValue], name: str, tasks: Iterable[Task]) -> Iterator[str]:
    """Yield the pieces of one JSON object: *fields*, and last the array *tasks* under *name*."""
    yield f"{_encode(fields)[:-1]},{_encode(name)}:"
    yield from json_array(tasks)
    yield "}"


def in_pieces(rows: Iterable[str], size: int = PIECE_BYTES) -> Iterator[bytes]:
    """Join *rows* into pieces of about *size* characters, in UTF-8."""
    piece: list[str] = []
    length = 0
    for row in rows:
        piece.append(row)
        length += len(row)
        if length >= size:
            yield "".join(piece).encode()
            piece.clear()
            length = 0
    if piece:
        yield "".join(piece).encode()
