"""
Log lines: one JSON object each in production, aligned and coloured in a terminal.

`get_logger(__name__)` may be called at import; what it gives looks at the configuration at each line. A line has an
event name from `telemetry.events` and flat fields with units. What identifies the work at hand (`request_id`,
`job_id`) is bound once with `bind` and is on every line below it in the same task.

Secrets never get out, twice over: fields with a secret's name are masked, and API keys and passwords in URLs are cut
out of the finished line, wherever they hide (a traceback, a library's message).

What makes the lines, structlog, is loaded with the first of them: it brings Rich along, and a command that has nothing
to log would wait for both.
"""

import logging
import re
from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Format: TypeAlias = Literal["json", "text"]
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

SECRET_FIELDS = frozenset(
    ["api_key", "authorization", "cookie", "credentials", "dsn", "key", "password", "payload", "secret", "token"]
)
MASK = "[redacted]"
MAX_ERROR_CHARS = 300  # of the error that a library warned of
_SECRETS_IN_TEXT = re.compile(r"\btf_[0-9A-Za-z]{20,}|(?<=://)[^/@\s\"']*:[^@\s\"']*(?=@)")


def get_logger(name: str) -> "FilteringBoundLogger":
    """Return the logger of a module; *name* becomes the field `module`."""
    return cast("FilteringBoundLogger", _Logger(name))


def configure(
    line_format: Format, *, level: str = "info", stream: TextIO | None = None, colors: bool | None = None
) -> None:
    """
    Set how this process logs; call it once, at the start. Libraries' own loggers are brought along from WARNING up.

    Without a call, warnings and errors go to stderr as text.

    Args:
        level: the least level that is written: debug, info, warning or error.
        stream: where lines go; by default stderr, whatever it is at the time of the line.
        colors: of the text format; by default when the stream is a terminal.
    """
    from taskflow.telemetry import lines

    lines.configure(line_format, level=level, stream=stream, colors=colors)


def bind(**fields: Any) -> Mapping[str, Token[Any]]:
    """Put *fields* on every line of the present task until `unbind` gets what this returns."""
    from structlog.contextvars import bind_contextvars

    return bind_contextvars(**fields)


def unbind(tokens: Mapping[str, Token[Any]]) -> None:
    """Take back what `bind` put."""
    from structlog.contextvars import reset_contextvars

    reset_contextvars(**tokens)


def redacted(text: str) -> str:
    """Return *text* without API keys and without passwords in URLs."""
    if "tf_" in text or "://" in text:  # ten times cheaper than the pattern, and true of few lines
        return _SECRETS_IN_TEXT.sub(MASK, text)
    return text


class _Logger:
    """Stands for structlog's logger until there is a line to log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger: FilteringBoundLogger | None = None

    def __getattr__(self, name: str) -> Any:
        if self._logger is None:
            import structlog

            from taskflow.telemetry import lines  # noqa: F401 -- sets how lines look, unless that has been said

            self._logger = cast("FilteringBoundLogger", structlog.get_logger(module=self._name))
        return getattr(self._logger, name)
