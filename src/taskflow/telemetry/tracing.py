"""
Whether this process traces, and what a trace's context looks like on the wire.

Off, which is the default, OpenTelemetry is not even imported: who could make a span asks `active()`, gets None, and has
paid for a look at a variable. `telemetry.spans` makes spans, `telemetry.export` takes them to a collector.

A context is W3C's: a `traceparent` (version, trace id, span id, flags) and perhaps a `tracestate`. It is passed on as
text, so that a process that does not trace passes it on as well.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from taskflow.telemetry.log import bind, unbind

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from taskflow.telemetry.spans import Spans

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"  # names of headers, as W3C has them

_PARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(?P<more>-.*)?"
)
_STATE = re.compile(r"[ -~]{1,512}")  # a longer tracestate may be dropped

wanted_trace_id: ContextVar[int | None] = ContextVar("taskflow_trace_id", default=None)  # of the next root span


class TraceContext(NamedTuple):
    """A place in a trace, as text: what is done because of it is below *traceparent*'s span."""

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return self.traceparent[3:35]


def read_context(parent: str | None, state: str | None = None) -> TraceContext | None:
    """Return the context that two headers give; None for none, and for what is no context."""
    if parent is None or (match := _PARENT.fullmatch(parent)) is None:
        return None
    if match["version"] == "00" and match["more"]:
        return None
    known = state if state is not None and _STATE.fullmatch(state) else ""
    return TraceContext(f"00-{match['ids']}", known)  # of a later version, what this one knows


class _Switch:
    """What the process has been told."""

    spans: "Spans | None" = None
    stop: Callable[[], None] | None = None
    guest: "Spans | None" = None


def active() -> "Spans | None":
    """Return what makes spans; None where tracing is off."""
    return _Switch.spans


def active_here() -> "Spans | None":
    """
    As `active`, in a program that is not ours: if it has loaded OpenTelemetry, its spans go where it says.

    Without a provider they would go nowhere; then only the context of a current span is passed on, if there is one.
    """
    if _Switch.spans is not None or "opentelemetry.trace" not in sys.modules:
        return _Switch.spans
    if _Switch.guest is None:
        from taskflow.telemetry.spans import Spans

        _Switch.guest = Spans()
    return _Switch.guest if _Switch.guest.is_of_use else None


def switch_on(provider: "TracerProvider | None" = None, *, stop: Callable[[], None] | None = None) -> None:
    """Make spans from now on, by *provider* or the one that is set in OpenTelemetry; *stop* belongs to `switch_off`."""
    from taskflow.telemetry.spans import Spans

    _Switch.spans, _Switch.stop = Spans(provider), stop


def switch_off() -> None:
    """Make no more. What is open may still end, unsaid. Switching off twice is fine."""
    stop, _Switch.spans, _Switch.stop = _Switch.stop, None, None
    if stop is not None:
        stop()


def current_context() -> TraceContext | None:
    """Return the context of the span that the present task is in, if this process traces."""
    return None if _Switch.spans is None else _Switch.spans.current()


@contextmanager
def inside(parent: tuple[str, str] | None) -> Iterator[None]:
    """Do something below a span of another process meanwhile; its trace's id is on the lines of log."""
    if parent is None:
        yield
        return
    context = TraceContext(*parent)
    tokens = bind(trace_id=context.trace_id)
    try:
        if _Switch.spans is None:
            yield
        else:
            with _Switch.spans.below(context):
                yield
    finally:
        unbind(tokens)


def context_in(headers: Mapping[str, str]) -> TraceContext | None:
    """Return the context in the headers of a request; their names are in lower case."""
    if TRACEPARENT not in headers:
        return None
    return read_context(headers[TRACEPARENT], headers.get(TRACESTATE))
