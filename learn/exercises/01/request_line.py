"""
Read the first line of a request.

`GET /tasks?limit=5 HTTP/1.1` is a method, a target and a version, with exactly one space between them. The target is a
path and, after the first question mark, a query.

Anything that is not plain is refused with `ValueError`: a missing part, two spaces, a path that does not begin with
`/`, another version than HTTP/1.0 or HTTP/1.1. Do not repair what a client sent. Two programs that repair differently
are how a request hides inside another one.
"""


def parse_request_line(line: str) -> tuple[str, str, str]:
    """Return the method, the path and the query (without the question mark; empty if there is none)."""
    method, target, _version = line.split()
    return method, target, ""
