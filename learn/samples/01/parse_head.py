"""From the bytes of a head to a method, a target and headers. What is not plain is refused."""

import re

REQUEST_LINE = re.compile(r"([A-Z]+) (/\S*) HTTP/1\.1")
HEADER = re.compile(r"([A-Za-z0-9-]+):[ \t]*(.*?)[ \t]*")  # no space is allowed before the colon


def parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    request_line, *lines = head.decode("latin-1").split("\r\n")  # latin-1: every byte is a character
    if (start := REQUEST_LINE.fullmatch(request_line)) is None:
        raise ValueError(f"400 Bad Request: {request_line!r}")
    fields = [HEADER.fullmatch(line) for line in lines]
    if None in fields:
        raise ValueError(f"400 Bad Request: {lines[fields.index(None)]!r}")
    return start[1], start[2], {field[1].lower(): field[2] for field in fields if field}  # names ignore case


print(parse(b"GET /tasks HTTP/1.1\r\nHOST: localhost\r\nX-Empty:"))
for bad in (b"GET /tasks", b"GET /a b HTTP/1.1", b"GET / HTTP/1.1\r\nHost : x", b"GET / HTTP/1.1\r\n folded"):
    try:
        parse(bad)
    except ValueError as error:
        print(error)
