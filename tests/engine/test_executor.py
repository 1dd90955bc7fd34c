"""What an attempt comes to, decided in one process: no database, the real event loop."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.support.sink import Notes
from tests.support.waiting import eventually
from tests.support.workers import Nothing, Number

from taskflow.engine.executor import Executor
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    MAX_DELAY_S,
    MAX_RESULT_BYTES,
    Claim,
    FailureReason,
    JobId,
    LeaseId,
    Outcome,
    OutcomeKind,
    State,
)
from taskflow.engine.registry import Cancel, JobContext, Registry, Retry, Snooze
from taskflow.kernel.errors import ExternalError, Permanent

GRACE_S = 0.05


def make_claim(kind: str, payload: str = "{}", **changes: Any) -> Claim:
    """A claim as the store gives it; *changes* are its fields."""
    fields: dict[str, Any] = {
        "lease_id": LeaseId(uuid4()),
        "lease_size": 1,
        "position": 0,
        "job_id": JobId(uuid4()),
        "attempt": 1,
        "failures": 0,
        "namespace": DEFAULT_NAMESPACE,
        "kind": kind,
        "queue": "default",
        "priority": 5,
        "payload": payload,
        "retries": 3,
        "timeout_s": 30.0,
        "headers": {},
        "queue_wait_s": 0.0,
    }
    return Claim(**{**fields, **changes})


@dataclass
class Bench:
    """An executor, and all that it said."""

    registry: Registry = field(default_factory=Registry)
    outcomes: "asyncio.Queue[Outcome]" = field(default_factory=asyncio.Queue)
    stuck: list[Claim] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    ends: int = 0

    def __post_init__(self) -> None:
        self.executor = Executor(
            self.registry,
            on_outcome=self.outcomes.put_nowait,
            on_end=self._on_end,
            on_stuck=self.stuck.append,
            sink=self.notes,
            state={"shared": 7},
            cancel_grace_s=GRACE_S,
        )
        self.let_go = asyncio.Event()  # for handlers that would not end
        self.began = asyncio.Event()

    def _on_end(self) -> None:
        self.ends += 1

    async def outcome(self) -> Outcome:
        return await asyncio.wait_for(self.outcomes.get(), 8)

    async def run(self, handler: Any, *, payload: type[Any] = Nothing, text: str = "{}", **changes: Any) -> Outcome:
        """Run one attempt of *handler*, registered under a name of its own, to its end."""
        kind = f"kind-{len(self.registry)}"
        self.registry.job(kind, payload=payload)(handler)
        self.executor.start(make_claim(kind, text, **changes))
        return await self.outcome()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.let_go.set()
    bench.executor.kill_all()
    async with asyncio.timeout(8):
        await bench.executor.wait_idle()
    assert len(bench.executor) == 0


def raising(error: BaseException) -> Any:
    async def handler(ctx: JobContext, payload: Nothing) -> None:
        raise error

    return handler


def returning(result: Any) -> Any:
    async def handler(ctx: JobContext, payload: Nothing) -> Any:
        return result

    return handler


# What handlers return ------------------------------------------------------------------------------------------------


class Resized(msgspec.Struct):
    width: int


@pytest.mark.covers("S2-16", "S2-17")
async def test_what_a_handler_returns_is_the_result(bench: Bench) -> None:
    for result, text in ((None, "null"), ({"a": [1, "ä"]}, '{"a":[1,"ä"]}'), (Resized(3), '{"width":3}')):
        outcome = await bench.run(returning(result))
        assert (outcome.kind, outcome.state, outcome.result) == (OutcomeKind.COMPLETED, State.COMPLETED, text)
        assert outcome.failures == 0
        assert outcome.duration_s is not None
    assert bench.ends == 3


class _Opaque:
    pass


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (_Opaque(), "is not JSON"),
        ("x" * MAX_RESULT_BYTES, f"the limit is {MAX_RESULT_BYTES}"),
        ({"note": "a\x00b"}, "note"),
        ("\ud800", "is not JSON"),
    ],
    ids=["an object", "too large", "with NUL", "half a pair"],
)
async def test_a_result_that_cannot_be_stored_fails_the_job_for_good(bench: Bench, result: Any, says: str) -> None:
    """Running the handler again would only repeat its work."""
    outcome = await bench.run(returning(result))
    assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.PERMANENT)
    assert outcome.error is not None
    assert outcome.error.type == "InvalidResult"
    assert says in outcome.error.message


async def test_a_payload_that_does_not_fit_its_type_fails_the_job_for_good(bench: Bench) -> None:
    called = False

    async def handler(ctx: JobContext, payload: Number) -> None:
        nonlocal called
        called = True

    for text, says in (('{"number":"one"}', "number"), ('{"surprise":1}', "surprise")):
        outcome = await bench.run(handler, payload=Number, text=text)
        assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.PERMANENT)
        assert outcome.error is not None
        assert outcome.error.type == "InvalidPayload"
        assert says in outcome.error.message
    assert not called


async def test_a_handler_knows_its_job(bench: Bench) -> None:
    seen: list[JobContext] = []

    async def handler(ctx: JobContext, payload: Number) -> int:
        seen.append(ctx)
        assert 29 < ctx.remaining_s <= 30
        return payload.number

    claim = make_claim("known", '{"number":5}', attempt=4, failures=2, headers={"request_id": "r"}, queue="q")
    bench.registry.job("known", payload=Number)(handler)
    bench.executor.start(claim)
    assert (await bench.outcome()).result == "5"
    [ctx] = seen
    assert (ctx.job_id, ctx.attempt, ctx.failures, ctx.kind, ctx.queue) == (claim.job_id, 4, 2, "known", "q")
    assert (ctx.headers, ctx.state, ctx.cancelled) == ({"request_id": "r"}, {"shared": 7}, False)


# What handlers raise -------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-19", "S2-20")
async def test_an_error_is_charged_and_retried_on_schedule_until_retries_are_used_up(bench: Bench) -> None:
    for failures, low in ((0, 2.0), (1, 4.0), (2, 8.0)):
        outcome = await bench.run(raising(KeyError("missing")), failures=failures)
        assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.ERROR, State.RETRYING, failures + 1)
        assert low <= outcome.wait_s < low + 1
        assert outcome.error is not None
        assert (outcome.error.type, outcome.error.message) == ("KeyError", "'missing'")
        assert "in handler" in (outcome.error.traceback or "")
        assert "taskflow/engine" not in (outcome.error.traceback or "")
    last = await bench.run(raising(KeyError("missing")), failures=3)
    assert (last.state, last.failure_reason, last.failures) == (State.FAILED, FailureReason.EXHAUSTED, 4)
    none = await bench.run(raising(KeyError("missing")), retries=0)
    assert (none.state, none.failure_reason) == (State.FAILED, FailureReason.EXHAUSTED)


@pytest.mark.parametrize(
    ("error", "state", "failures", "wait_s"),
    [
        (Retry(7.5), State.RETRYING, 1, 7.5),
        (Retry(math.nan), State.RETRYING, 1, 0.0),
        (Retry(math.inf), State.RETRYING, 1, MAX_DELAY_S),
        (Retry(-1), State.RETRYING, 1, 0.0),
        (Snooze(60), State.SCHEDULED, 0, 60.0),
        (Snooze(math.nan), State.SCHEDULED, 0, 0.0),
        (Cancel(), State.CANCELLED, 0, 0.0),
        (Permanent("no such address"), State.FAILED, 1, 0.0),
        (ExternalError("rejected", transient=False), State.FAILED, 1, 0.0),
        (ExternalError("busy", transient=True, retry_after_s=90), State.RETRYING, 1, 90.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else None,
)
async def test_what_a_handler_raises_decides_what_becomes_of_its_job(
    bench: Bench, error: Exception, state: State, failures: int, wait_s: float
) -> None:
    outcome = await bench.run(raising(error))
    assert (outcome.state, outcome.failures, outcome.wait_s) == (state, failures, wait_s)
    if state is State.FAILED:
        assert outcome.failure_reason is FailureReason.PERMANENT
        assert outcome.error is not None
        assert outcome.error.message == str(error)


async def test_an_external_error_that_may_pass_is_retried_on_schedule(bench: Bench) -> None:
    outcome = await bench.run(raising(ExternalError("busy", transient=True)))
    assert (outcome.state, outcome.failures) == (State.RETRYING, 1)
    assert 2 <= outcome.wait_s < 3


class _Abort(BaseException):
    """What some libraries raise to get past `except Exception`."""


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even my name fails")


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        _Abort("past you"),
        BaseExceptionGroup("many", [_Abort()]),
        ExceptionGroup("several", [KeyError("a"), KeyError("b")]),
        _Unprintable(),
        RecursionError(),
        ValueError("a NUL \x00 and half a pair \ud800"),
        asyncio.CancelledError(),
        TimeoutError(),
        StopAsyncIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_handler_raises_is_an_error_of_that_attempt_and_of_no_other(
    bench: Bench, error: BaseException
) -> None:
    async def patient(ctx: JobContext, payload: Nothing) -> str:
        await bench.let_go.wait()
        return "unharmed"

    bench.registry.job("bad", payload=Nothing)(raising(error))
    bench.registry.job("patient", payload=Nothing)(patient)
    bench.executor.start(make_claim("patient"))
    bench.executor.start(make_claim("bad"))
    bench.executor.start(make_claim("patient"))
    outcome = await bench.outcome()
    assert (outcome.claim.kind, outcome.kind, outcome.state) == ("bad", OutcomeKind.ERROR, State.RETRYING)
    assert outcome.error is not None
    msgspec.json.encode(outcome.error)
    assert "\x00" not in outcome.error.message
    bench.let_go.set()
    assert [(await bench.outcome()).result for _ in range(2)] == ['"unharmed"'] * 2


async def test_a_backoff_that_fails_is_replaced_by_the_default_and_the_jobs_own_error_kept(bench: Bench) -> None:
    def broken(failures: int) -> float:
        raise ZeroDivisionError

    for number, backoff in enumerate((broken, lambda failures: "soon", lambda failures: None)):
        bench.registry.job(f"unlucky{number}", payload=Nothing, backoff=backoff)(raising(KeyError("the error")))  # type: ignore[arg-type]
        bench.executor.start(make_claim(f"unlucky{number}"))
        outcome = await bench.outcome()
        assert (outcome.state, outcome.failures) == (State.RETRYING, 1)
        assert 2 <= outcome.wait_s < 3
        assert outcome.error is not None
        assert outcome.error.type == "KeyError"
    bench.registry.job("own", payload=Nothing, backoff=lambda failures: failures * 100.0)(raising(KeyError()))
    bench.executor.start(make_claim("own", failures=1))
    assert (await bench.outcome()).wait_s == 200.0


# Being stopped -------------------------------------------------------------------------------------------------------


async def test_of_many_attempts_each_is_stopped_at_its_own_time(bench: Bench) -> None:
    """One timer watches them all: the next one's turn comes after each, and after one that ended by itself."""

    async def work(ctx: JobContext, payload: Number) -> None:
        await asyncio.sleep(payload.number / 1000)

    bench.registry.job("work", payload=Number)(work)
    began = asyncio.get_running_loop().time()
    for sleeps_ms, timeout_s in ((3600_000, 30.0), (1, 0.02), (3600_000, 0.3), (3600_000, 0.1), (3600_000, 0.2)):
        bench.executor.start(make_claim("work", f'{{"number": {sleeps_ms}}}', timeout_s=timeout_s))
    outcomes = [await bench.outcome() for _ in range(4)]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.COMPLETED, *[OutcomeKind.TIMEOUT] * 3]
    assert [outcome.claim.timeout_s for outcome in outcomes[1:]] == [0.1, 0.2, 0.3]
    for outcome in outcomes[1:]:
        assert outcome.duration_s is not None
        assert outcome.claim.timeout_s - 0.002 <= outcome.duration_s
    assert asyncio.get_running_loop().time() - began >= 0.29
    assert len(bench.executor) == 1  # the one that has thirty seconds


@pytest.mark.covers("S2-21")
async def test_a_timeout_stops_the_coroutine_and_is_retried_like_an_error(bench: Bench) -> None:
    stopped = asyncio.Event()

    async def slow(ctx: JobContext, payload: Nothing) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    outcome = await bench.run(slow, timeout_s=0.02)
    assert stopped.is_set()
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.TIMEOUT, State.RETRYING, 1)
    assert outcome.error is not None
    assert "0.02 s" in outcome.error.message
    exhausted = await bench.run(slow, timeout_s=0.02, retries=0)
    assert (exhausted.kind, exhausted.failure_reason) == (OutcomeKind.TIMEOUT, FailureReason.EXHAUSTED)


def waiting(bench: Bench, *, swallow: bool = False, ending: Any = None) -> Any:
    """A handler that waits; when stopped it passes that on, or swallows it and returns, or raises *ending*."""

    async def handler(ctx: JobContext, payload: Nothing) -> str:
        bench.began.set()
        try:
            await bench.let_go.wait()
        except asyncio.CancelledError:
            if ending is not None:
                raise ending from None
            if not swallow:
                raise
        return f"cancelled={ctx.cancelled}"

    return handler


async def start_waiting(bench: Bench, **options: Any) -> Claim:
    bench.registry.job("waiting", payload=Nothing)(waiting(bench, **options))
    claim = make_claim("waiting")
    bench.executor.start(claim)
    await bench.began.wait()
    return claim


async def test_a_cancel_reaches_the_attempt_of_its_job_alone(bench: Bench) -> None:
    claim = await start_waiting(bench)
    bench.executor.start(make_claim("waiting"))
    bench.executor.cancel(JobId(uuid4()))
    bench.executor.cancel(claim.job_id)
    bench.executor.cancel(claim.job_id)
    outcome = await bench.outcome()
    assert (outcome.claim, outcome.kind, outcome.state) == (claim, OutcomeKind.CANCELLED, State.CANCELLED)
    assert len(bench.executor) == 1


async def test_a_handler_that_swallows_a_cancel_and_returns_has_completed(bench: Bench) -> None:
    """It may have been at its last line: what it did is done, and saying otherwise would be wrong."""
    claim = await start_waiting(bench, swallow=True)
    bench.executor.cancel(claim.job_id)
    outcome = await bench.outcome()
    assert (outcome.state, outcome.result) == (State.COMPLETED, '"cancelled=True"')
    await asyncio.sleep(GRACE_S * 2)
    assert not bench.stuck


@pytest.mark.parametrize("ending", [KeyError("clean-up failed"), Snooze(1), SystemExit(), _Abort()], ids=repr)
async def test_a_handler_that_fails_while_it_is_stopped_was_stopped(bench: Bench, ending: BaseException) -> None:
    claim = await start_waiting(bench, ending=ending)
    bench.executor.cancel(claim.job_id)
    assert (await bench.outcome()).state is State.CANCELLED


async def test_an_attempt_that_is_stopped_before_its_first_step_gives_its_place_back(bench: Bench) -> None:
    """The stop may come in the same turn of the loop as the claim."""
    bench.registry.job("waiting", payload=Nothing)(waiting(bench))
    claim = make_claim("waiting")
    bench.executor.start(claim)
    bench.executor.cancel(claim.job_id)
    assert (await bench.outcome()).state is State.CANCELLED
    bench.executor.start(make_claim("waiting"))
    bench.executor.hand_back_all()
    assert (await bench.outcome()).kind is OutcomeKind.HANDED_BACK
    lost = make_claim("waiting")
    bench.executor.start(lost)
    bench.executor.drop_leases({lost.lease_id})
    async with asyncio.timeout(8):
        await bench.executor.wait_idle()
    assert bench.outcomes.empty()
    assert bench.ends == 3
    assert not bench.began.is_set()


async def test_handing_back_charges_nothing(bench: Bench) -> None:
    await start_waiting(bench)
    bench.executor.hand_back_all()
    outcome = await bench.outcome()
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.HANDED_BACK, State.PENDING, 0)


async def test_an_attempt_whose_lease_is_gone_is_stopped_and_says_nothing(bench: Bench) -> None:
    claim = await start_waiting(bench)
    bench.executor.drop_leases({LeaseId(UUID(int=1))})
    assert bench.executor.lease_ids == {claim.lease_id}
    bench.executor.drop_leases({claim.lease_id})
    async with asyncio.timeout(8):
        await bench.executor.wait_idle()
    assert bench.outcomes.empty()
    assert bench.ends == 1


async def test_a_job_that_was_taken_back_and_claimed_again_runs_once_at_a_time_here(bench: Bench) -> None:
    """The old attempt is stopped, keeps its place until it has ended, and its outcome is dropped."""
    old = await start_waiting(bench, swallow=True)
    bench.registry.job("hanging", payload=Nothing)(hanging(bench))
    hung = make_claim("hanging")
    bench.began.clear()
    bench.executor.start(hung)
    await bench.began.wait()
    bench.executor.start(make_claim("hanging", job_id=hung.job_id, attempt=2))
    assert len(bench.executor) == 3
    new = make_claim("waiting", job_id=old.job_id, attempt=2)
    bench.executor.start(new)
    await eventually("the first attempt to end", lambda: bench.ends == 1)
    assert len(bench.executor) == 3
    bench.executor.cancel(new.job_id)
    assert (await bench.outcome()).claim == new
    await eventually("the superseded attempt to be called stuck", lambda: hung in bench.stuck)
    assert hung.lease_id in bench.executor.lease_ids
    assert [outcome.claim.attempt for outcome in bench.executor.abandon_all()] == [2]


def hanging(bench: Bench) -> Any:
    """A handler that will not be stopped until the test lets go."""

    async def handler(ctx: JobContext, payload: Nothing) -> None:
        bench.began.set()
        while not bench.let_go.is_set():
            try:
                await bench.let_go.wait()
            except asyncio.CancelledError:
                continue

    return handler


@pytest.mark.parametrize(
    ("why", "kind", "state"),
    [
        ("timeout", OutcomeKind.TIMEOUT, State.RETRYING),
        ("cancel", OutcomeKind.CANCELLED, State.CANCELLED),
        ("hand back", OutcomeKind.HANDED_BACK, State.PENDING),
        ("nothing", OutcomeKind.HANDED_BACK, State.PENDING),
    ],
)
async def test_a_handler_that_will_not_end_is_stuck_and_given_up_for_the_reason_it_was_stopped(
    bench: Bench, why: str, kind: OutcomeKind, state: State
) -> None:
    def broken(failures: int) -> float:
        raise ZeroDivisionError

    bench.registry.job("hanging", payload=Nothing, backoff=broken)(hanging(bench))
    claim = make_claim("hanging", timeout_s=0.01 if why == "timeout" else 30.0)
    bench.executor.start(claim)
    await bench.began.wait()
    match why:
        case "cancel":
            bench.executor.cancel(claim.job_id)
        case "hand back":
            bench.executor.hand_back_all()
    if why != "nothing":
        await eventually("the attempt to be called stuck", lambda: bench.stuck == [claim])
    [outcome] = bench.executor.abandon_all()
    assert (outcome.claim, outcome.kind, outcome.state) == (claim, kind, state)
    assert bench.executor.abandon_all() == []
    bench.let_go.set()
    async with asyncio.timeout(8):
        await bench.executor.wait_idle()
    assert bench.outcomes.empty()  # what it does from now on is ignored
