"""How log lines are made and written: what `telemetry.log` loads with the first of them."""

import logging
import sys
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from taskflow.telemetry.log import LEVELS, MASK, MAX_ERROR_CHARS, SECRET_FIELDS, Format, get_logger, redacted


def configure(line_format: Format, *, level: str, stream: TextIO | None, colors: bool | None) -> None:
    """See `log.configure`."""
    _configure_lines(line_format, level=level, writer=_LineWriter(stream), colors=colors)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryHandler(level=logging.WARNING))
    logging.captureWarnings(capture=True)


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
