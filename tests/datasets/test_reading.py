"""What a URL gives, as rows: each format, and a clear fault for each way of not being one."""

import json
from typing import Any

import pytest

from taskflow.datasets import reading
from taskflow.datasets.reading import Unreadable, format_of, read_rows
from taskflow.kinds.sync import Format

CALENDAR = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//shop//EN\r
BEGIN:VEVENT\r
UID:1@shop\r
SUMMARY:Stock\\, taking\r
DTSTART;VALUE=DATE:20261224\r
RRULE:FREQ=YEARLY\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:1@shop\r
RECURRENCE-ID;VALUE=DATE:20271224\r
SUMMARY:Stock taking\\, later\r
DTSTART:20271227T090000Z\r
DTEND:20271227T170000Z\r
SEQUENCE:2\r
END:VEVENT\r
END:VCALENDAR\r
"""

NO_UID = b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def event(lines: bytes) -> bytes:
    return b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n" + lines + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def rows(body: bytes, format_: Format = "json", **options: Any) -> dict[str, Any]:
    return {row.key: json.loads(row.text) for row in read_rows(body, format_, **{"key": "id", **options})}


def test_each_format_gives_the_same_rows() -> None:
    expected = {"1": {"id": "1", "name": "tea"}, "2": {"id": "2", "name": "Kaffee, süß"}}
    items = list(expected.values())
    assert rows(json.dumps(items).encode()) == expected
    assert rows(json.dumps({"data": {"a/b": items}}).encode(), path="/data/a~1b") == expected
    assert rows("\n\n".join(map(json.dumps, items)).encode() + b"\r\n", "ndjson") == expected
    assert rows('\ufeffid,name\r\n1,tea\r\n\r\n2,"Kaffee, süß"\r\n'.encode(), "csv") == expected
    assert rows("name\tid\ntea\t1\nKaffee, süß\t2".encode(), "csv", delimiter="\t") == expected


def test_a_calendar_gives_events_and_the_occurrences_that_were_moved() -> None:
    found = rows(CALENDAR.encode(), "ical")
    assert list(found) == ["1@shop", "1@shop/2027-12-24"]
    first, moved = found.values()
    assert (first["summary"], first["start"], first["allDay"], first["rule"]) == (
        "Stock, taking", "2026-12-24", True, "FREQ=YEARLY",
    )  # fmt: skip
    assert (moved["start"], moved["end"], moved["sequence"]) == (
        "2027-12-27T09:00:00+00:00", "2027-12-27T17:00:00+00:00", 2,
    )  # fmt: skip


def test_the_order_of_fields_is_no_change() -> None:
    [one] = read_rows(b'[{"id": 1, "a": 2}]', "json", key="id")
    [two] = read_rows(b'[{"a": 2, "id": 1}]', "json", key="id")
    [three] = read_rows(b'[{"a": 3, "id": 1}]', "json", key="id")
    assert one == two
    assert one.key == three.key
    assert one.hash != three.hash


@pytest.mark.parametrize(
    ("body", "format_", "words"),
    [
        (b"{", "json", "not JSON"),
        (b"\xff", "json", "not JSON"),
        (b"[" * 5000, "json", "not JSON"),
        (b'{"data": []}', "json", "no array at 'its top'"),
        (b"[1]", "json", "row 1 is not an object"),
        (b"[{}]", "json", "row 1 has no field 'id'"),
        (b'[{"id": null}]', "json", "row 1: the key 'id' must be a text or a whole number"),
        (b'[{"id": true}]', "json", "must be a text or a whole number"),
        (b'[{"id": 1.5}]', "json", "must be a text or a whole number"),
        (b'[{"id": ""}]', "json", "not empty"),
        (b'[{"id": "1"}, {"id": 1}]', "json", "row 2 has the same id as row 1: '1'"),
        (b'[{"id": 1, "x": "\\u0000"}]', "json", "row 1: /x holds the character U\\+0000"),
        (json.dumps([{"id": "k" * 501}]).encode(), "json", "over 500 bytes"),
        (json.dumps([{"id": 1, "x": "y" * 70_000}]).encode(), "json", "the limit is 65536"),
        (b'{"id": 1}\n{', "ndjson", "line 2 is not JSON"),
        (b"", "csv", "no header line"),
        (b"id,id\n1,2", "csv", "a name twice"),
        (b"id,\n1,2", "csv", "an empty one"),
        (b"id,a\n1,2\n3", "csv", "line 3 has 1 cells, the header has 2"),
        (b'id\n"1', "csv", "not CSV"),
        (b"id\n\xff", "csv", "not UTF-8: byte 3"),
        (b"hello", "ical", "not an iCalendar"),
        (NO_UID, "ical", "event 1 has no UID"),
        (event(b"RECURRENCE-ID:00000000"), "ical", "event 1 is broken: .*RECURRENCE-ID"),
        (event(b"SEQUENCE:many"), "ical", "event 1 is broken: .*many"),
        (event(b"SEQUENCE:1\r\nSEQUENCE:2"), "ical", "event 1 is broken"),
        (event(b"BEGIN:VTIMEZONE\r\nTZID:Nowhere/X\r\nEND:VTIMEZONE"), "ical", "event 1 is broken|not an iCalendar"),
        (b"x" * 3_000_000, "ical", "the limit is 2097152"),
    ],
)  # fmt: skip
def test_what_is_no_rows_says_where_and_why(body: bytes, format_: Format, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        rows(body, format_)


def test_a_path_that_leads_nowhere_is_named() -> None:
    for path in ("/x", "/data/7", "/data/x"):
        with pytest.raises(Unreadable, match=f"nothing at '{path}'"):
            rows(b'{"data": [[]]}', path=path)


def test_there_are_not_more_rows_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    with pytest.raises(Unreadable, match="more than 2 rows"):
        rows(b'[{"id": 1}, {"id": 2}, {"id": 3}]')


def test_the_format_is_what_the_answer_or_the_url_says() -> None:
    assert format_of("application/json; charset=utf-8", "/x") == "json"
    assert format_of("application/vnd.api+json", "/x") == "json"
    assert format_of("text/calendar", "/x.csv") == "ical"
    assert format_of("application/octet-stream", "https://shop.example/x.CSV?y=1.json") == "csv"
    with pytest.raises(Unreadable, match="say the format: the Content-Type 'text/html'"):
        format_of("text/html", "https://shop.example/x")
