"""Which kinds there are, and what a handler is given."""

from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from tests.support.sink import Notes
from tests.support.workers import Nothing, Number

from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    DEFAULT_QUEUE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    MAX_LOG_CHARS,
    MAX_LOG_LINES,
    PRIORITY_NORMAL,
    Claim,
    JobId,
    LeaseId,
    NewLogLine,
)
from taskflow.engine.policy import default_backoff
from taskflow.engine.registry import JobContext, Registry


class Resize(msgspec.Struct, forbid_unknown_fields=True):
    width: int
    name: str = "picture"


class Resize2(msgspec.Struct, forbid_unknown_fields=True, rename={"width": "width"}):
    width: int
    name: str = "picture"
    height: int = 1


async def handler(ctx: JobContext, payload: Any) -> None: ...


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def lines(notes: Notes) -> list[NewLogLine]:
    return notes.lines


@pytest.fixture
def ctx(notes: Notes) -> JobContext:
    claim = Claim(
        lease_id=LeaseId(uuid4()),
        lease_size=1,
        position=0,
        job_id=JobId(uuid4()),
        attempt=1,
        failures=0,
        namespace=DEFAULT_NAMESPACE,
        kind="noop",
        queue=DEFAULT_QUEUE,
        priority=PRIORITY_NORMAL,
        payload="{}",
        retries=3,
        timeout_s=0.0,
        headers={},
        queue_wait_s=0.0,
    )
    return JobContext(claim, {}, notes)


@pytest.mark.covers("S2-16", "S2-32", "S2-33", "S2-34")
def test_a_kind_is_published_with_its_defaults_and_the_schema_of_its_payload() -> None:
    registry = Registry()
    assert registry.job("plain", payload=Nothing)(handler) is handler
    registry.job("resize", payload=Resize, queue="images", priority=8, retries=1, timeout_s=2.5)(handler)
    assert (registry.names, registry.queues, len(registry)) == (["plain", "resize"], [DEFAULT_QUEUE, "images"], 2)
    [(plain, _), (resize, _)] = registry.published
    assert (plain.queue, plain.priority, plain.retries, plain.timeout_s) == (
        DEFAULT_QUEUE, PRIORITY_NORMAL, DEFAULT_RETRIES, DEFAULT_TIMEOUT_S,
    )  # fmt: skip
    assert (resize.queue, resize.priority, resize.retries, resize.timeout_s) == ("images", 8, 1, 2.5)
    assert "width" in str(resize.schema)
    assert registry["plain"].backoff is default_backoff
    assert registry["resize"].decode('{"width": 3}') == Resize(3)


def test_a_kind_is_registered_once() -> None:
    registry = Registry()
    registry.job("resize", payload=Resize)(handler)
    with pytest.raises(ValueError, match="'resize' is registered twice"):
        registry.job("resize", payload=Nothing)(handler)


def test_the_hash_of_a_schema_changes_with_the_schema_alone() -> None:
    def hash_of(payload: type[Any], **options: Any) -> str:
        registry = Registry()
        registry.job("resize", payload=payload, **options)(handler)
        [(_, schema_hash)] = registry.published
        return schema_hash

    assert hash_of(Resize) == hash_of(Resize, queue="other", retries=9)
    assert len({hash_of(Resize), hash_of(Resize2), hash_of(Number)}) == 3


@pytest.mark.covers("S2-22")
def test_lines_are_cut_to_their_limit_and_made_fit_for_the_database(ctx: JobContext, lines: list[NewLogLine]) -> None:
    ctx.log("x" * (MAX_LOG_CHARS + 1))
    ctx.log("a NUL \x00 and half a pair \ud800", "error")
    ctx.log(7)  # type: ignore[arg-type]
    assert [line.message for line in lines] == ["x" * MAX_LOG_CHARS, "a NUL \\u0000 and half a pair \\ud800", "7"]
    assert [line.level for line in lines] == ["info", "error", "info"]


def test_a_level_that_there_is_not_is_refused_and_the_levels_named(ctx: JobContext, lines: list[NewLogLine]) -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        ctx.log("hello", "loud")
    assert lines == []


def test_lines_past_the_limit_of_an_attempt_are_dropped_and_the_last_one_says_so(
    ctx: JobContext, lines: list[NewLogLine]
) -> None:
    for number in range(MAX_LOG_LINES + 5):
        ctx.log(f"line {number}")
    assert len(lines) == MAX_LOG_LINES
    assert lines[-2].message == f"line {MAX_LOG_LINES - 2}"
    assert (lines[-1].level, str(MAX_LOG_LINES) in lines[-1].message) == ("warning", True)


def test_the_time_that_remains_is_never_negative(ctx: JobContext) -> None:
    assert ctx.remaining_s == 0.0


# Isolation -----------------------------------------------------------------------------------------------------------


def blocking(ctx: JobContext, payload: Any) -> None: ...


class Caller:
    async def __call__(self, ctx: JobContext, payload: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "asked", "isolation", "is_async"),
    [
        (handler, None, "asyncio", True),
        (handler, "process", "process", True),
        (blocking, None, "process", False),
        (blocking, "thread", "thread", False),
        (Caller(), None, "asyncio", True),
        (partial(handler), None, "asyncio", True),
        (partial(blocking), None, "process", False),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__) if callable(value) else str(value),
)
def test_an_async_handler_runs_on_the_loop_and_a_sync_one_in_a_process_unless_they_ask_otherwise(
    function: Any, asked: Any, isolation: Any, is_async: bool
) -> None:
    registry = Registry()
    registry.job("resize", payload=Resize, isolation=asked)(function)
    assert (registry["resize"].isolation, registry["resize"].is_async) == (isolation, is_async)
    assert registry.isolated_by(isolation) == ["resize"]


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (blocking, {"isolation": "asyncio"}, "would block the event loop"),
        (handler, {"isolation": "thread"}, "not in a thread"),
        (handler, {"isolation": "vm"}, "isolation must be one of asyncio, thread, process, got 'vm'"),
        (handler, {"memory_limit_mb": 64}, "memory_limit_mb needs isolation='process'"),
        (blocking, {"isolation": "thread", "cpu_limit_s": 1}, "cpu_limit_s needs isolation='process'"),
        (blocking, {"memory_limit_mb": 15}, "from 16 to 1048576, got 15"),
        (blocking, {"cpu_limit_s": 0.5}, "from 1 to 86400, got 0.5"),
        (blocking, {"cpu_limit_s": True}, "from 1 to 86400, got True"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_isolation_that_does_not_suit_is_refused_when_the_kind_is_registered(
    function: Any, options: dict[str, Any], says: str
) -> None:
    registry = Registry()
    with pytest.raises(ValueError, match=f"kind 'resize'.*{says}"):
        registry.job("resize", payload=Resize, **options)(function)
    assert len(registry) == 0
