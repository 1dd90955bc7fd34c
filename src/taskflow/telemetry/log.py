"""
Log lines: one JSON object each in production, aligned and coloured in a terminal.

`get_logger(__name__)` may be called at import; what it gives looks at the configuration at each line. A line has an
event name from `telemetry.events` and flat fields with units. What identifies the work at hand (`request_id`,
`job_id`) is bound once with `bind` and is on every line below it in the same task.

Secrets never get out, twice over: fields with a secret's name are masked, and API keys and passwords in URLs are cut
out of the finished line, wherever they hide (a traceback, a library's message).
"""

import logging
import re
import sys
from collections.abc import Mapping
from contextvars import Token
from typing import Any, Literal, TextIO, TypeAlias, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Format: TypeAlias = Literal["json", "text"]
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

SECRET_FIELDS = frozenset(
    ["api_key", "authorization", "cookie", "credentials", "dsn", "key", "password", "payload", "secret", "token"]
)
MASK = "[redacted]"
MAX_ERROR_CHARS = 300  # of the error that a library warned of
_SECRETS_IN_TEXT = re.compile(r"\btf_[0-9A-Za-z]{20,}|(?<=://)[^/@\s\"']*:[^@\s\"']*(?=@)")


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; *name* becomes the field `module`."""
    return cast("FilteringBoundLogger", structlog.get_logger(module=name))


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
    _configure_lines(line_format, level=level, writer=_LineWriter(stream), colors=colors)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler(level=logging.WARNING))
    logging.captureWarnings(capture=True)


def bind(**fields: Any) -> Mapping[str, Token[Any]]:
    """Put *fields* on every line of the present task until `unbind` gets what this returns."""
    return structlog.contextvars.bind_contextvars(**fields)


def unbind(tokens: Mapping[str, Token[Any]]) -> None:
    """Take back what `bind` put."""
    structlog.contextvars.reset_contextvars(**tokens)


def redacted(text: str) -> str:
    """Return *text* without API keys and without passwords in URLs."""
    if "tf_" in text or "://" in text:  # ten times cheaper than the pattern, and true of few lines
        return _SECRETS_IN_TEXT.sub(MASK, text)
    return text


def _configure_lines(line_format: Format, *, level: str, writer: "_LineWriter", colors: bool | None = None) -> None:
    if colors is None:
        colors = writer.stream.isatty()
    structlog.configure(
        processors=_processors(line_format, colors=colors),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
        logger_factory=lambda *_names: writer,
        cache_logger_on_first_use=False,  # a configuration may follow the first line, in tests and at start
    )


def _processors(line_format: Format, *, colors: bool) -> list[Processor]:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _mask_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    if line_format == "json":
        return [*shared, structlog.processors.format_exc_info, _render_json]
    return [
        *shared,
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, timestamp_key="timestamp"
        ),
        _redact_line,
    ]


def _mask_fields(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    for name in event_dict.keys() & SECRET_FIELDS:
        event_dict[name] = MASK
    return event_dict


_encoder = msgspec.json.Encoder(enc_hook=str)


def _render_json(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> str:
    try:
        line = _encoder.encode(event_dict).decode()
    except (TypeError, ValueError, UnicodeEncodeError):  # a log line never breaks the work that it is about
        line = _encoder.encode({name: ascii(value) for name, value in event_dict.items()}).decode()
    return redacted(line)


def _redact_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return redacted(line)


class _LineWriter:
    """Writes whole lines; a reader that has gone away (a closed pipe) costs the line, not the work."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stderr

    def msg(self, line: str) -> None:
        stream = self.stream
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = log = msg


class _LibraryHandler(logging.Handler):
    """Brings lines of libraries that use `logging` into ours, under one event name."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get_logger(record.name)
        if record.levelno >= logging.ERROR:
            logger.error("taskflow.library.log", message=record.getMessage(), exc_info=record.exc_info or None)
        else:  # what a library expects and copes with (a server that is away) is a line, not a page
            reason = record.exc_info[1] if record.exc_info else None
            fields = {} if reason is None else {"error": f"{type(reason).__name__}: {reason}"[:MAX_ERROR_CHARS]}
            logger.warning("taskflow.library.log", message=record.getMessage(), **fields)


if not structlog.is_configured():  # as a library: quiet, on stderr, unless the program has said otherwise
    _configure_lines("text", level="warning", writer=_LineWriter(None))
