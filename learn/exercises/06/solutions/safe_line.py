r"""Make a log line that cannot be forged, cannot fail, and tells no secrets."""

import json
import re

SECRET_NAMES = frozenset({"authorization", "password", "token", "cookie"})
VALUE_LIMIT = 200  # characters
_TOKEN = re.compile(r"(?<=[?&]token=)[^&]*")


def format_line(level: str, message: str, fields: dict[str, object]) -> str:
    data = json.dumps({name: _safe(name, value) for name, value in fields.items()}, default=str)
    return f"[{level}] {' '.join(message.splitlines())} {data}\n"


def _safe(name: str, value: object) -> object:
    if name.lower() in SECRET_NAMES:
        return "***"
    if not isinstance(value, str):
        return value
    if name == "url":
        value = _TOKEN.sub("***", value)
    return value if len(value) <= VALUE_LIMIT else value[:VALUE_LIMIT] + "..."
