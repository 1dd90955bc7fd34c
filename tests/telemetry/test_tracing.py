"""Contexts on the wire, and a collector that is there, that is slow, that is away."""

import socket
import time
from contextlib import closing

import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests.support.otlp import collecting
from tests.support.tracing import TRACEPARENT
from tests.support.up import wait_until

from taskflow.apps.settings import Settings
from taskflow.apps.tracing import check_tracing
from taskflow.kernel.errors import SetupError
from taskflow.telemetry import export
from taskflow.telemetry.export import make_provider
from taskflow.telemetry.metrics import REGISTRY
from taskflow.telemetry.tracing import TraceContext, read_context

HOME = {"HOME": "/ada", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("taskflow_trace_spans_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def unanswered() -> str:
    """The URL of a port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def provider_for(url: str) -> TracerProvider:
    return make_provider(url, {}, service=None, sampler="parentbased_always_on", ratio=1.0)


def end_spans(provider: TracerProvider, count: int) -> float:
    """Return how long the slowest took, in seconds."""
    tracer = provider.get_tracer("test")
    slowest_s = 0.0
    for _ in range(count):
        began_s = time.perf_counter()
        tracer.start_span("work").end()
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
    return slowest_s


@pytest.mark.parametrize(
    ("parent", "state", "context"),
    [
        (TRACEPARENT, None, TraceContext(TRACEPARENT)),
        (TRACEPARENT, "a=1,b=2", TraceContext(TRACEPARENT, "a=1,b=2")),
        (TRACEPARENT, "x" * 513, TraceContext(TRACEPARENT)),
        (f"01{TRACEPARENT[2:]}-what.else", None, TraceContext(TRACEPARENT)),
    ],
)
def test_a_context_is_read_as_w3c_writes_it(parent: str, state: str | None, context: TraceContext) -> None:
    assert read_context(parent, state) == context


@pytest.mark.parametrize(
    "parent",
    [
        "",
        TRACEPARENT.upper(),
        f"{TRACEPARENT}-more",
        f"ff{TRACEPARENT[2:]}",
        f"{TRACEPARENT}\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_what_is_no_context_is_none(parent: str) -> None:
    assert read_context(parent) is None


def test_spans_arrive_with_service_and_version() -> None:
    before = counted("exported")
    with collecting() as collector:
        provider = provider_for(collector.url)
        end_spans(provider, 3)
        provider.shutdown()
    assert [span.name for span in collector.spans] == ["work"] * 3
    assert collector.spans[0].resource["service.name"] == "taskflow"
    assert counted("exported") - before == 3


@pytest.mark.parametrize("outage", ["hanging", "503", "refused"])
def test_a_collector_that_is_away_keeps_nobody_waiting(
    outage: str, unanswered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those whose spans end, nor, for long, the end of the process; and what got lost is counted."""
    if outage != "hanging":
        monkeypatch.setattr(export, "STOP_S", 0.2)
    before = counted("lost")
    with collecting(hanging=outage == "hanging", refusing_with=503 if outage == "503" else None) as collector:
        provider = provider_for(unanswered if outage == "refused" else collector.url)
        slowest_s = end_spans(provider, 2 * export.MAX_BATCH)
        began_s = time.monotonic()
        provider.shutdown()
        took_s = time.monotonic() - began_s
    assert slowest_s < 2.0  # one that waited for a batch would take 5 s
    assert took_s < 2.0
    wait_until(lambda: counted("lost") - before == 2 * export.MAX_BATCH)


def test_spans_that_do_not_fit_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_WAITING", 20)
    monkeypatch.setattr(export, "STOP_S", 0.2)
    dropped, lost = counted("dropped"), counted("lost")
    with collecting(hanging=True) as collector:
        provider = provider_for(collector.url)
        end_spans(provider, 30)
        provider.shutdown()
    assert counted("dropped") - dropped == 10
    wait_until(lambda: counted("lost") - lost == 20)


def test_the_settings_of_traces_are_checked_where_traces_are_made() -> None:
    check_tracing(Settings.from_env(HOME))
    check_tracing(Settings.from_env({**HOME, "OTEL_TRACES_SAMPLER": "xray", "OTEL_SDK_DISABLED": "True"}))
    for name, text, words in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "must start with http:// or https://"),
        ("OTEL_TRACES_SAMPLER", "xray", "must be always_on, .* got 'xray'"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "must be a number from 0 to 1, got '1.5'"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no-value", "must be name=value"),
    ):
        with pytest.raises(SetupError, match=f"{name} {words}"):
            check_tracing(Settings.from_env({**HOME, name: text}))


def test_the_headers_for_the_collector_are_never_shown() -> None:
    settings = Settings.from_env({**HOME, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc\x7f"})
    with pytest.raises(SetupError) as caught:
        check_tracing(settings)
    assert "abc" not in f"{caught.value}{settings!r}"
