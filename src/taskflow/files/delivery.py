"""
The headers of a file on its way out: which part of it is asked for (RFC 9110 §14), whether the client has it already
(§13), and what it may be called on the other side (RFC 6266).
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from taskflow.files.repository import File
from taskflow.kernel.errors import DomainError

_RANGE = re.compile(r"bytes=\s*([0-9]{0,20})-([0-9]{0,20})\s*")
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


class RangeNotSatisfiable(DomainError):
    """The range that was asked for is not in the file."""

    status = 416
    code = "range_not_satisfiable"


def etag(file: File) -> str:
    """Return the strong validator: files never change, so it is the content's hash."""
    return f'"{file.sha256.hex()}"'


def is_known(file: File, headers: Mapping[str, str]) -> bool:
    """Say whether the client holds the content already (If-None-Match)."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or file.sha256.hex() in _ETAG.findall(given)


def find_range(file: File, headers: Mapping[str, str]) -> tuple[int, int] | None:
    """
    Return the first and last byte asked for; None for the whole file.

    What is no single range of bytes is ignored, as the RFC allows, and so is one whose `If-Range` is of other content.

    Raises:
        RangeNotSatisfiable: the range lies behind the end.
    """
    given = headers.get("range")
    if given is None or headers.get("if-range", etag(file)).strip() != etag(file):
        return None
    match = _RANGE.fullmatch(given)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), file.size)
        start, end = file.size - length, file.size - 1
    else:
        start = int(first)
        end = min(int(last), file.size - 1) if last else file.size - 1
        if last and int(last) < start:
            return None
    if start > end:
        raise RangeNotSatisfiable(f"the file has {file.size} bytes", facts={"size": file.size})
    return start, end


def disposition(name: str) -> str:
    """Return the header that has browsers save the file under *name*, which is a safe one, and never show it."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%' else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
