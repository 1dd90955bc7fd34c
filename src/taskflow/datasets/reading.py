"""
What a URL gives, as rows: JSON, NDJSON, CSV, iCalendar. Pure functions over bytes; each fault names its place.

Every row is an object with a key; its text is canonical, so that the same row has the same hash whatever order its
fields came in.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import icalendar
import msgspec

from taskflow.datasets.repository import NewRow
from taskflow.kernel.errors import Permanent
from taskflow.kernel.json import find_unstorable
from taskflow.kinds.sync import MAX_CALENDAR_BYTES, MAX_KEY_BYTES, MAX_ROW_BYTES, MAX_ROWS, Format

CALENDAR_KEY = "uid"
FORMATS: dict[str, Format] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "text/csv": "csv",
    "text/calendar": "ical",
}
ENDINGS: dict[str, Format] = {"json": "json", "ndjson": "ndjson", "jsonl": "ndjson", "csv": "csv", "ics": "ical"}

# What icalendar raises over a calendar that is none: when it parses, and of a property when it is read.
_BROKEN = (ValueError, LookupError, TypeError, AttributeError)


class Unreadable(Permanent):
    """What the URL gives cannot be read as rows; reading it again would not help."""


def format_of(content_type: str, path: str) -> Format:
    """Return the format that the answer's type, or else the URL's ending, tells. Raises Unreadable."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.endswith("+json"):
        media_type = "application/json"
    found = FORMATS.get(media_type) or ENDINGS.get(path.partition("?")[0].rpartition(".")[2].lower())
    if found is None:
        raise Unreadable(f"say the format: the Content-Type {media_type[:100]!r} is none of json, ndjson, csv, ical")
    return found


def read_rows(body: bytes, format_: Format, *, key: str, path: str = "", delimiter: str = ",") -> list[NewRow]:
    """
    Return the rows of *body*, in its order.

    Args:
        key: the field by which a row is known again.
        path: a JSON Pointer to the array inside a JSON document.

    Raises:
        Unreadable: naming the row, and the limit if it is one.
    """
    match format_:
        case "json":
            objects = _json(body, path)
        case "ndjson":
            objects = _ndjson(body)
        case "csv":
            objects = _csv(body, delimiter)
        case "ical":
            objects, key = _calendar(body), CALENDAR_KEY
    rows: list[NewRow] = []
    seen: dict[str, str] = {}
    for place, found in objects:
        if len(rows) >= MAX_ROWS:
            raise Unreadable(f"there are more than {MAX_ROWS} rows, which is the limit")
        row = _row(place, found, key)
        if (before := seen.setdefault(row.key, place)) != place:
            raise Unreadable(f"{place} has the same {key} as {before}: {row.key[:100]!r}")
        rows.append(row)
    return rows


def _row(place: str, found: Any, key: str) -> NewRow:
    if not isinstance(found, dict):
        raise Unreadable(f"{place} is not an object")
    if key not in found:
        raise Unreadable(f"{place} has no field {key!r}, which is to be its key")
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Unreadable(f"{place}: the key {key!r} must be a text or a whole number, and not empty")
    name = str(value)
    if len(name.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        raise Unreadable(f"{place}: the key {key!r} is over {MAX_KEY_BYTES} bytes, which is the limit")
    if fault := find_unstorable(found):
        raise Unreadable(f"{place}: {fault[0]} {fault[1]}")
    text = msgspec.json.encode(found, order="deterministic")
    if len(text) > MAX_ROW_BYTES:
        raise Unreadable(f"{place} is {len(text)} bytes of JSON, the limit is {MAX_ROW_BYTES}")
    return NewRow(name, text.decode(), hashlib.blake2b(text, digest_size=16).digest())


def _json(body: bytes, path: str) -> Iterator[tuple[str, Any]]:
    try:
        document = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"it is not JSON: {error}") from None
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(name)] if isinstance(document, list) else document[name]
        except (LookupError, TypeError, ValueError):
            raise Unreadable(f"there is nothing at {path!r} in the document") from None
    if not isinstance(document, list):
        raise Unreadable(f"there is no array at {path or 'its top'!r}; `path` says where one is")
    return ((f"row {number}", row) for number, row in enumerate(document, 1))


def _ndjson(body: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(f"line {number} is not JSON: {error}") from None


def _csv(body: bytes, delimiter: str) -> Iterator[tuple[str, Any]]:
    reader = csv.reader(io.StringIO(_text(body), newline=""), delimiter=delimiter, strict=True)
    try:
        names = next(reader, None)
        if names is None:
            raise Unreadable("there is no header line")
        if len(set(names)) < len(names) or "" in names:
            raise Unreadable("the header line has a name twice or an empty one")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise Unreadable(f"line {reader.line_num} has {len(cells)} cells, the header has {len(names)}")
            yield f"line {reader.line_num}", dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num} is not CSV: {error}") from None


def _calendar(body: bytes) -> Iterator[tuple[str, Any]]:
    """Events; one changed occurrence of a series has a key of its own."""
    if len(body) > MAX_CALENDAR_BYTES:
        raise Unreadable(f"the calendar is {len(body)} bytes, the limit is {MAX_CALENDAR_BYTES}")
    try:
        calendar = icalendar.Calendar.from_ical(_text(body))
        events: Sequence[Any] = calendar.walk("VEVENT")
    except _BROKEN as error:
        raise Unreadable(f"it is not an iCalendar: {error}") from None
    for number, event in enumerate(events, 1):
        try:
            yield f"event {number}", _event(number, event)
        except _BROKEN as error:
            raise Unreadable(f"event {number} is broken: {error}") from None


def _event(number: int, event: Any) -> dict[str, Any]:
    uid = str(event.get("UID", ""))
    if not uid:
        raise Unreadable(f"event {number} has no UID")
    occurrence = _when(event, "RECURRENCE-ID")
    start, end = _when(event, "DTSTART"), _when(event, "DTEND")
    return {
        CALENDAR_KEY: uid if occurrence is None else f"{uid}/{occurrence}",
        "summary": _said(event, "SUMMARY"),
        "description": _said(event, "DESCRIPTION"),
        "location": _said(event, "LOCATION"),
        "status": _said(event, "STATUS"),
        "url": _said(event, "URL"),
        "start": start,
        "end": end,
        "allDay": start is not None and "T" not in start,
        "rule": event["RRULE"].to_ical().decode() if hasattr(event.get("RRULE"), "to_ical") else None,
        "sequence": int(event.get("SEQUENCE", 0)),
    }


def _said(event: Any, name: str) -> str | None:
    value = event.get(name)
    return None if value is None else str(value)


def _when(event: Any, name: str) -> str | None:
    value = getattr(event.get(name), "dt", None)
    return value.isoformat() if isinstance(value, date | datetime) else None


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8: byte {error.start} is wrong") from None
