"""
Runs attempts of asyncio handlers: one task each, under its deadline, stoppable.

What an attempt came to is a value (`Outcome`) before anybody else hears of it, so one handler's failure never touches
its neighbours. An attempt is stopped by cancelling its task and saying why: its time is over, somebody cancelled the
job, the worker drains, or the lease is gone. A handler that does not end within `CANCEL_GRACE_S` of that is *stuck*;
Python cannot take a coroutine's thread away, so it costs the process (see `worker`).
"""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, assert_never

import msgspec

from taskflow.engine import policy
from taskflow.engine.job import Claim, JobError, JobId, LeaseId, Outcome, OutcomeKind
from taskflow.engine.registry import Cancel, JobContext, Kind, Registry, Retry, Sink, Snooze
from taskflow.kernel.errors import ExternalError, Permanent
from taskflow.telemetry.log import get_logger

CANCEL_GRACE_S = 5.0

_log = get_logger(__name__)


class Stop(Enum):
    """Why an attempt was told to end."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    HAND_BACK = "hand_back"
    LOST = "lost"


class _Slot:
    """One running attempt."""

    __slots__ = ("begun", "claim", "context", "expiry", "started_s", "stop", "task")

    def __init__(self, claim: Claim, context: JobContext) -> None:
        self.claim = claim
        self.context = context
        self.started_s = time.monotonic()
        self.begun = False  # whether its task has run at all
        self.stop: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.expiry: asyncio.TimerHandle | None = None


class Executor:
    """
    See the module.

    Args:
        on_outcome: called once for each attempt that ended while its lease stood.
        on_end: called after each attempt, whatever it came to: a place is free.
        on_stuck: called with the claim of an attempt that outlived its grace.
        sink: takes what handlers say.
        state: what handlers find at `ctx.state`.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        on_outcome: Callable[[Outcome], None],
        on_end: Callable[[], None],
        on_stuck: Callable[[Claim], None],
        sink: Sink,
        state: Mapping[str, Any],
        cancel_grace_s: float = CANCEL_GRACE_S,
    ) -> None:
        self._registry = registry
        self._on_outcome = on_outcome
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._sink = sink
        self._state = state
        self._cancel_grace_s = cancel_grace_s
        self._slots: dict[JobId, _Slot] = {}
        self._superseded: set[_Slot] = set()  # attempts whose job was taken back and claimed by us again
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many attempts are running."""
        return len(self._slots) + len(self._superseded)

    @property
    def _running(self) -> list[_Slot]:
        return [*self._slots.values(), *self._superseded]

    def start(self, claim: Claim) -> None:
        """
        Begin an attempt.

        Its task belongs to its slot and not to a task group: a group waits for its tasks, and one that would not end
        could then never be abandoned.
        """
        slot = _Slot(claim, JobContext(claim, self._state, self._sink))
        if (earlier := self._slots.get(claim.job_id)) is not None:
            self._superseded.add(earlier)  # it keeps its place until it has ended
            self._stop(earlier, Stop.LOST)
        self._slots[claim.job_id] = slot
        self._idle.clear()
        loop = asyncio.get_running_loop()
        slot.task = loop.create_task(self._run(slot))
        slot.expiry = loop.call_later(claim.timeout_s, self._stop, slot, Stop.TIMEOUT)

    def cancel(self, job_id: JobId, *, lease_id: LeaseId | None = None) -> None:
        """
        Stop the attempt of a job that somebody cancelled; another process's job is none of ours.

        With *lease_id*, only the attempt of that lease: the job may have failed, been replayed, and run again here.
        """
        slot = self._slots.get(job_id)
        if slot is not None and lease_id in (None, slot.claim.lease_id):
            slot.context.cancelled = True
            self._stop(slot, Stop.CANCEL)

    def drop_leases(self, lost: set[LeaseId]) -> None:
        """Stop attempts whose lease the database no longer has: their jobs are somebody else's."""
        for slot in self._running:
            if slot.claim.lease_id in lost:
                self._stop(slot, Stop.LOST)

    def hand_back_all(self) -> None:
        """Stop every attempt; its job goes back uncharged."""
        for slot in self._running:
            self._stop(slot, Stop.HAND_BACK)

    def abandon_all(self) -> list[Outcome]:
        """
        Give up on every attempt that still runs and return what it comes to; what it does from now on is ignored.

        An attempt that was told to end keeps the reason: its time was over, or its job was cancelled.
        """
        outcomes = []
        for slot in self._running:
            if slot.stop is not Stop.LOST:
                outcomes.append(_stopped(slot, slot.stop or Stop.HAND_BACK, self._registry[slot.claim.kind]))
            slot.stop = Stop.LOST
        return outcomes

    def kill_all(self) -> None:
        """Cancel every task and forget it: the process is being torn down."""
        for slot in self._running:
            slot.stop = Stop.LOST
            if slot.task is not None:
                slot.task.cancel()

    async def wait_idle(self) -> None:
        """Wait until nothing runs."""
        await self._idle.wait()

    @property
    def lease_ids(self) -> set[LeaseId]:
        return {slot.claim.lease_id for slot in self._running}

    def _stop(self, slot: _Slot, why: Stop) -> None:
        if slot.stop is not None or slot.task is None or slot.task.done():
            return
        slot.stop = why
        if slot.expiry is not None:
            slot.expiry.cancel()
        slot.expiry = asyncio.get_running_loop().call_later(self._cancel_grace_s, self._stuck, slot)
        if slot.begun:  # a task that is cancelled before its first step never runs, not even its clean-up
            slot.task.cancel()

    def _stuck(self, slot: _Slot) -> None:
        if slot.task is not None and not slot.task.done():
            self._on_stuck(slot.claim)

    async def _run(self, slot: _Slot) -> None:
        slot.begun = True
        kind = self._registry[slot.claim.kind]
        try:
            outcome = await self._attempt(slot, kind) if slot.stop is None else _stopped(slot, slot.stop, kind)
        finally:
            if slot.expiry is not None:
                slot.expiry.cancel()
            if self._slots.get(slot.claim.job_id) is slot:
                del self._slots[slot.claim.job_id]
            self._superseded.discard(slot)
            if not len(self):
                self._idle.set()
            self._on_end()
        if slot.stop is not Stop.LOST:
            self._on_outcome(outcome)

    async def _attempt(self, slot: _Slot, kind: Kind[Any]) -> Outcome:
        try:
            return await self._call(slot, kind)
        except Exception as error:  # noqa: BLE001 -- a payload's own checks failed, or we did: the job must not hang on it
            _log.exception("taskflow.attempt.exception", job_id=str(slot.claim.job_id), kind=slot.claim.kind)
            return policy.failed(slot.claim, OutcomeKind.ERROR, _describe(error, with_traceback=True), _elapsed_s(slot))

    async def _call(self, slot: _Slot, kind: Kind[Any]) -> Outcome:
        claim = slot.claim
        try:
            payload = kind.decode(claim.payload)
        except msgspec.ValidationError as error:
            return policy.failed_for_good(claim, JobError("InvalidPayload", str(error)), _elapsed_s(slot))
        try:
            result = await kind.handler(slot.context, payload)
        except asyncio.CancelledError:
            if slot.stop is None and slot.task is not None and slot.task.cancelling():
                raise  # the whole process is being torn down
            if slot.stop is None:
                escaped = JobError("CancelledError", "the handler let a cancellation of its own escape")
                return _failed(slot, kind, OutcomeKind.ERROR, escaped)
            return _stopped(slot, slot.stop, kind)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 -- the edge of an attempt: what it raises is its outcome
            if slot.stop is not None:  # it failed while winding down
                return _stopped(slot, slot.stop, kind)
            return _verdict(slot, error, kind)
        return policy.succeeded(claim, result, _elapsed_s(slot))


def _stopped(slot: _Slot, stop: Stop, kind: Kind[Any]) -> Outcome:
    """What an attempt comes to that was told to end."""
    claim, elapsed_s = slot.claim, _elapsed_s(slot)
    match stop:
        case Stop.TIMEOUT:
            error = JobError("Timeout", f"stopped after {claim.timeout_s:g} s, the job's timeout")
            return _failed(slot, kind, OutcomeKind.TIMEOUT, error)
        case Stop.CANCEL:
            return policy.cancelled(claim, elapsed_s)
        case Stop.HAND_BACK | Stop.LOST:
            return policy.handed_back(claim, elapsed_s)
        case _:
            assert_never(stop)


def _failed(
    slot: _Slot, kind: Kind[Any], outcome: OutcomeKind, error: JobError, *, retry_after_s: float | None = None
) -> Outcome:
    """Charge the attempt. If the kind's own backoff fails, the default one takes its place: the job must not hang."""
    claim, elapsed_s = slot.claim, _elapsed_s(slot)
    try:
        return policy.failed(claim, outcome, error, elapsed_s, backoff=kind.backoff, retry_after_s=retry_after_s)
    except Exception:  # noqa: BLE001 -- it is the application's function
        _log.exception("taskflow.attempt.exception", job_id=str(claim.job_id), kind=claim.kind)
        return policy.failed(claim, outcome, error, elapsed_s)


def _verdict(slot: _Slot, error: BaseException, kind: Kind[Any]) -> Outcome:
    """Turn what a handler raised into what becomes of its job."""
    claim, elapsed_s = slot.claim, _elapsed_s(slot)
    match error:
        case Snooze():
            return policy.snoozed(claim, error.for_s, elapsed_s)
        case Cancel():
            return policy.cancelled(claim, elapsed_s)
        case Retry():
            described = JobError("Retry", str(error))
            return _failed(slot, kind, OutcomeKind.ERROR, described, retry_after_s=error.after_s)
        case Permanent():
            return policy.failed_for_good(claim, _describe(error, with_traceback=False), elapsed_s)
        case ExternalError() if not error.transient:
            return policy.failed_for_good(claim, _describe(error, with_traceback=False), elapsed_s)
        case ExternalError():
            described = _describe(error, with_traceback=False)
            return _failed(slot, kind, OutcomeKind.ERROR, described, retry_after_s=error.retry_after_s)
        case _:
            return _failed(slot, kind, OutcomeKind.ERROR, _describe(error, with_traceback=True))


def _describe(error: BaseException, *, with_traceback: bool) -> JobError:
    own = error.__traceback__.tb_next if error.__traceback__ else None  # the first frame is ours, not the handler's
    trace = "".join(traceback.format_exception(type(error), error, own)) if with_traceback else None
    return JobError(type(error).__name__, str(error), trace)


def _elapsed_s(slot: _Slot) -> float:
    return time.monotonic() - slot.started_s
