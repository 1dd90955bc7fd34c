"""
Switches tracing on in a process of ours, as the settings say.

The `OTEL_` variables belong to every program of a machine, so they are checked here, by those who trace, and not where
settings are read: a program that only submits jobs need not care what they say.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from taskflow.apps.settings import SETTINGS, Settings
from taskflow.kernel.errors import SetupError
from taskflow.telemetry import tracing
from taskflow.telemetry.log import get_logger, redacted

if TYPE_CHECKING:
    from taskflow.telemetry.export import Sampler

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)

_log = get_logger(__name__)


def check_tracing(settings: Settings) -> None:
    """Raise SetupError, naming it, if a setting about traces is wrong; where there are none, nothing is looked at."""
    if not settings.traces:
        return
    parts = urlsplit(settings.otlp_endpoint or "")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _wrong("otlp_endpoint", "must start with http:// or https:// and name a host")
    if settings.traces_sampler not in SAMPLERS:
        raise _wrong("traces_sampler", f"must be {', '.join(SAMPLERS[:-1])} or {SAMPLERS[-1]}", settings.traces_sampler)
    _ratio(settings)
    _headers(settings)


@contextmanager
def traced(settings: Settings, *, by_app: bool = False) -> Iterator[None]:
    """
    Make traces meanwhile, if a collector is set; the last spans are sent at the end, within a bounded time.

    Args:
        by_app: code that is not ours has been loaded; if it has set a provider of its own, that one makes our spans.

    Raises:
        SetupError: a setting about traces is wrong.
    """
    check_tracing(settings)
    if by_app and not settings.tracing_disabled and _app_traces():
        _log.info("taskflow.trace.start", endpoint=None, sampler=None)
        tracing.switch_on()
        try:
            yield
        finally:
            tracing.switch_off()
        return
    if not settings.traces:
        yield
        return
    try:
        from opentelemetry import trace

        from taskflow.telemetry.export import make_provider
    except ImportError as error:
        _log.warning("taskflow.trace.unavailable", error=str(error))
        yield
        return
    provider = make_provider(
        settings.otlp_endpoint or "",
        _headers(settings),
        service=settings.service_name,
        sampler=cast("Sampler", settings.traces_sampler),
        ratio=_ratio(settings),
    )
    trace.set_tracer_provider(provider)  # what handlers do goes the same way
    tracing.switch_on(stop=provider.shutdown)
    _log.info("taskflow.trace.start", endpoint=redacted(settings.otlp_endpoint or ""), sampler=settings.traces_sampler)
    try:
        yield
    finally:
        tracing.switch_off()


def _app_traces() -> bool:
    if "opentelemetry.trace" not in sys.modules:  # nobody has set anything in it
        return False
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _ratio(settings: Settings) -> float:
    try:
        ratio = float(settings.traces_sampler_arg)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise _wrong("traces_sampler_arg", "must be a number from 0 to 1", settings.traces_sampler_arg)
    return ratio


def _headers(settings: Settings) -> dict[str, str]:
    headers = {}
    for pair in (settings.otlp_headers or "").split(","):
        if not pair.strip():
            continue
        name, separator, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not separator or not name or not (name + value).isascii() or not (name + value).isprintable():
            raise _wrong("otlp_headers", "must be name=value, separated by commas, in printable ASCII")
        headers[name] = value
    return headers


def _wrong(field: str, must: str, got: str | None = None) -> SetupError:
    [setting] = [setting for setting in SETTINGS if setting.field == field]
    return SetupError(f"{setting.names[-1]} {must}{'' if got is None else f', got {got!r}'}")
