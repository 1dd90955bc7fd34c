"""Read the first line of a request: one pattern says all that is allowed."""

import re

_LINE = re.compile(r"([A-Z]+) (/[^\s?]*)(?:\?(\S*))? HTTP/1\.[01]")


def parse_request_line(line: str) -> tuple[str, str, str]:
    """Return the method, the path and the query (without the question mark; empty if there is none)."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a request line: {line!r}")
    return match[1], match[2], match[3] or ""
