"""
Structured logs: one line is one event, with a message for people and fields for programs.

    [2026-01-31T09:30:00.125Z] [INFO] Response sent {"requestId": "...", "statusCode": 200, "responseTimeMs": 0.21}

`logging` of the standard library does more (handlers, filters, levels per module) and costs about ten times as much per
line; production systems buy that. Here the whole of it is one function, and the request id is passed, not hidden.
"""

import json
import sys
from collections.abc import Callable
from typing import TextIO

from taskflow_learn.clock import timestamp

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
_COLOURS = {"DEBUG": "\x1b[90m", "INFO": "\x1b[36m", "WARN": "\x1b[33m", "ERROR": "\x1b[31m"}
_RESET = "\x1b[0m"
_encode = json.JSONEncoder(
    ensure_ascii=False, default=str
).encode  # built once: `json.dumps` would look it up each time

# JSON escapes the controls up to U+001F. A terminal also obeys some of these: U+009B begins a command, as ESC [ does.
_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class Logger:
    """Writes events at or above *level* to *stream*, in colour where someone is looking."""

    def __init__(self, stream: TextIO | None = None, *, level: str = "INFO", colour: bool = False) -> None:
        self._write: Callable[[str], object] = (stream or sys.stdout).write
        self._threshold = LEVELS.index(level)
        self._tags = {name: f"{_COLOURS[name]}[{name}]{_RESET}" if colour else f"[{name}]" for name in LEVELS}

    def debug(self, message: str, **fields: object) -> None:
        self._emit(0, "DEBUG", message, fields)

    def info(self, message: str, **fields: object) -> None:
        self._emit(1, "INFO", message, fields)

    def warn(self, message: str, **fields: object) -> None:
        self._emit(2, "WARN", message, fields)

    def error(self, message: str, **fields: object) -> None:
        self._emit(3, "ERROR", message, fields)

    def _emit(self, rank: int, level: str, message: str, fields: dict[str, object]) -> None:
        if rank < self._threshold:
            return
        # One write per line, so that lines of two processes never mix in the middle. JSON escapes line breaks: a
        # client cannot forge a second line by putting one into its user agent.
        data = f" {_encode(fields).translate(_ESCAPES)}" if fields else ""
        line = f"[{timestamp()}] {self._tags[level]} {message}{data}\n"
        try:
            self._write(line)
        except UnicodeEncodeError:  # half a character, or one that the terminal does not know
            self._write(line.encode("ascii", "backslashreplace").decode())
        except (BrokenPipeError, ValueError):  # the reader of our output went away; serving is more important
            self._threshold = len(LEVELS)
