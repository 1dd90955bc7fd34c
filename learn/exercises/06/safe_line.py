r"""
Make a log line that cannot be forged, cannot fail, and tells no secrets.

`format_line("INFO", "Request received", {"method": "GET"})` returns

    [INFO] Request received {"method": "GET"}\n

- Every field goes through JSON, so that a line break in it cannot begin a second line. The same must hold for the
  message: what it has of line breaks becomes a space.
- A field whose name is a secret's is masked: its value becomes "***". Names are compared in lower case.
- In the field `url`, the value of a query parameter `token` is masked: /ws?token=abc&x=1 becomes /ws?token=***&x=1.
- A value that JSON does not know (a date, a set, an exception) is written as `str()` has it. A log line that raises
  would turn a request that worked into one that failed.
- A string value over 200 characters is cut, and ends in "...".
"""

import json

SECRET_NAMES = frozenset({"authorization", "password", "token", "cookie"})
VALUE_LIMIT = 200  # characters


def format_line(level: str, message: str, fields: dict[str, object]) -> str:
    return f"[{level}] {message} {json.dumps(fields)}\n"
